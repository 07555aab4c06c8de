"""Run the checks, show their progress, and sum them up. ``python -m tools.check [GROUP [NAME]]``."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tests.fleet import machine
from tests.fleet.process import FleetError, say

from . import matrix
from .matrix import Progress

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
# What tests drive on this machine, from the distribution: a browser, the web servers, what the sample app counts in.
PROGRAMS = {
    "chromium": "chromium",
    "chromium-driver": "chromedriver",
    "nginx": "nginx",
    "apache2-bin": "apache2",
    "redis-server": "redis-server",
    "redis-tools": "redis-cli",
}
# Where one of these is missing, unit tests are skipped; the others are for scenarios.
UNIT_PROGRAMS = ("nginx", "apache2", "redis-server", "redis-cli")
# These share a fleet, which `default` has to meet clean and `remove` leaves so; the others bring hosts of their own.
SHARING = (
    "default",
    "artifact",
    "nginx",
    "supervisor",
    "release",
    "reboot",
    "existing",
    "upgrade",
    "remove",
)
SCENARIOS = (
    *SHARING,
    # The longest first, so that none is left alone at the end.
    "fleet",
    "servers",
    "bad_release",
    "offline",
    "redis",
    "third_party",
    "managers",
    "firewall",
    "refusals",
    "earlier_version",
    "apache",
    "benchmark",
)
# What `make check` provisions; in `make test`, `default` shows the same and more.
QUICK = "families"
# One more than processors, because a scenario waits for a part of its time; not so many that their hosts need more
# inotify instances than a machine has by default.
ROWS = min(4, 1 + (os.cpu_count() or 1))
WORKFLOWS = (".github/workflows/ci.yml", ".github/workflows/release.yml")
PRINTING = threading.Lock()
FAILURE = re.compile(r"(?:FAILED|ERROR):? \S+\.py")


@dataclass(frozen=True)
class Check:
    """One command that has to succeed."""

    name: str
    command: tuple[str, ...]
    platforms: str = ""
    progress: Progress | None = None
    # Whether it runs beside those that share a fleet: it needs no host, or has hosts of its own.
    beside: bool = False


@dataclass(frozen=True)
class Result:
    """The result of a check."""

    check: Check
    passed: bool
    seconds: float
    # What pytest lists at its end, because the summary of a long run may be all that is kept of it.
    failures: tuple[str, ...] = ()


UNIT_TESTS = Check(
    "unit tests", (PYTHON, "-m", "pytest", "-q", "--numprocesses=auto", "--dist=worksteal", "tests/unit")
)
GROUPS: dict[str, list[Check]] = {
    "lint": [
        Check("yamllint", ("yamllint", "--strict", ".")),
        Check("ansible-lint", ("ansible-lint", "--offline")),
        Check("ruff check", ("ruff", "check")),
        Check("ruff format", ("ruff", "format", "--check")),
        Check("changelog", ("antsibull-changelog", "lint")),
        Check("released changes", ("antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml")),
        Check("workflows", ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)),
    ],
    "sanity": [Check("ansible-test sanity", (PYTHON, "-m", "tools.sanity"))],
    "unit": [
        UNIT_TESTS,
        Check("other versions of ansible-core", (PYTHON, "-m", "tools.cores")),
        Check("sample app", (PYTHON, "-m", "pytest", "-q", "files/hello_flask/tests")),
    ],
    "check": [],
    "scenario": [],
    "matrix": [],
}


def run(check: Check) -> Result:
    """Run one check with its output on the screen, at its end when it runs beside others."""
    show(f"\n=== {check.name}: {' '.join(check.command)}{' (beside, shown when it ends)' if check.beside else ''}\n")
    started = time.monotonic()
    held, failures = [], []
    with subprocess.Popen(
        check.command,
        cwd=REPOSITORY,
        env=environment(check.platforms),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        for line in process.stdout or ():
            text = line.decode(errors="replace")
            held.append(text) if check.beside else show(text)
            if FAILURE.match(text):
                failures.append(text.rstrip())
            if check.progress:
                check.progress.read(text)
    if check.progress:
        check.progress.end()
    if check.beside:
        show("".join([f"\n=== {check.name}: what it said\n", *held, f"=== end of {check.name}\n"]))
    return Result(check, process.returncode == 0, time.monotonic() - started, tuple(failures))


def show(text: str) -> None:
    """Write to the screen, nothing in between."""
    with PRINTING:
        sys.stdout.write(text)
        sys.stdout.flush()


def run_all(checks: list[Check]) -> list[Result]:
    """Run the checks in rows; the first has those that cannot be beside others, and a free row takes what is left."""
    waiting = deque(check for check in checks if check.beside)

    def work_off() -> Iterator[Result]:
        with suppress(IndexError):
            while True:
                yield run(waiting.popleft())

    with ThreadPoolExecutor(ROWS - 1) as pool:
        rows = [pool.submit(lambda: [*work_off()]) for _ in range(ROWS - 1)]
        results = [*(run(check) for check in checks if not check.beside), *work_off()]
    results += [result for row in rows for result in row.result()]
    return sorted(results, key=lambda result: checks.index(result.check))


def environment(platforms: str = "") -> dict[str, str]:
    """Let every command find this repository's own programs first, and the platforms if it is told any."""
    # Tests have to find what `prepare` found, under plain `su` as well.
    path = f"{Path(PYTHON).parent}{os.pathsep}{machine.SEARCH}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"} | ({"PLATFORMS": platforms} if platforms else {})


def prepare() -> None:
    """Install what the hosts and the tests need."""
    machine.prepare()
    if missing := lacking():
        machine.install([*missing])
    if missing := lacking():
        raise FleetError(
            f"no {', '.join(missing.values())} in {machine.SEARCH}, although apt installed {', '.join(missing)}"
        )
    say("machine: ready")


def lacking() -> dict[str, str]:
    """Return the packages whose programs this machine lacks, and these programs."""
    return {package: program for package, program in PROGRAMS.items() if not shutil.which(program, path=machine.SEARCH)}


def scenarios(names: tuple[str, ...], platforms: str = "", beside: bool = False) -> list[Check]:
    """Return the scenarios as checks: those that share a fleet are one; the others may run beside it."""
    sharing = tuple(name for name in names if name in SHARING)
    # What an interrupted run left behind would be taken for a fleet.
    checks = [Check("no fleet left from before", ("molecule", "destroy"), platforms)] if sharing else []
    for together in filter(None, [sharing, *((name,) for name in names if name not in SHARING)]):
        chosen = (word for name in together for word in ("--scenario-name", name))
        command = ("molecule", "test", "--report", "--no-command-borders", *chosen)
        title = f"{'scenarios' if len(together) > 1 else 'scenario'} {' '.join(together)}"
        progress = Progress(matrix.describe(together, environment(platforms)))
        name = f"{title} on {platforms}" if platforms else title
        checks.append(Check(name, command, platforms, progress, beside and together != sharing))
    return checks


def processor() -> tuple[int, int]:
    """Return how long the processors of this machine were busy, and how long they were there."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def sum_up(results: list[Result]) -> int:
    """Print one line for each check and one for all; return the exit status."""
    print("\n=== summary")
    for result in results:
        print(f"{'passed' if result.passed else 'FAILED':<8}{result.seconds:6.0f} s  {result.check.name}")
        for failure in result.failures:
            print(f"{'':19}{failure}")
    failed = sum(not result.passed for result in results)
    print(f"checks: {len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Run what is asked for, everything when nothing is; return the exit status."""
    group, name = ([*arguments, "", ""])[:2]
    try:
        if group in ("", "check", "prepare", "scenario", "matrix"):
            prepare()
        if group in ("", "check"):
            # Everything is there now: a test that is skipped for want of it would hide that it is not.
            os.environ["TEST_PROGRAMS_REQUIRED"] = "1"
        if group == "unit" and (missing := [name for name in lacking().values() if name in UNIT_PROGRAMS]):
            say(f"unit tests that need {', '.join(missing)} are skipped: `sudo make prepare` installs what is missing")
        checks = [check for key, checks in GROUPS.items() if group in ("", key) for check in checks]
        if group == "check":
            # The longest first, so that none is left alone at the end.
            checks = [*scenarios((QUICK,)), UNIT_TESTS, *GROUPS["lint"]]
        if group in ("", "check"):
            checks = [replace(check, beside=True) for check in checks]
        if group in ("", "scenario"):
            checks += scenarios((name,) if name else SCENARIOS, beside=not name)
        if group == "matrix":
            checks += [check for platforms in matrix.SETS for check in scenarios(SCENARIOS, platforms)]
    except FleetError as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    if group == "prepare":
        return 0
    if not checks:
        print(f"check: there is no group {group!r}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    before = processor()
    results = run_all(checks)
    busy, total = (now - then for now, then in zip(processor(), before, strict=True))
    runs = [
        matrix.Run(result.check.progress.scenarios, result.seconds, result.passed)
        for result in results
        if result.check.progress
    ]
    if runs:
        print(f"\n=== platforms and scenarios\n{matrix.text(runs)}")
        print(f"\n=== where the time went\n{matrix.profile(runs)}")
    if runs and not name and group != "check":
        matrix.save(runs)
    print(f"\nprocessors: busy for {100 * busy / max(total, 1):.0f} % of the time")
    return sum_up(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
