"""Run the checks, show their progress, and sum them up. ``python -m tools.check [GROUP [NAME]]``."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import matrix
from .fleet import machine
from .fleet.process import FleetError, say
from .matrix import Progress

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
# What tests drive on this machine, from the distribution: a browser, and what the sample app counts in.
PROGRAMS = {"chromium": "chromium", "chromium-driver": "chromedriver", "redis-server": "redis-server"}
# These share a fleet, which `default` has to meet clean and `remove` leaves so; the others bring hosts of their own.
SHARING = (
    "default",
    "artifact",
    "nginx",
    "supervisor",
    "refusals",
    "release",
    "bad_release",
    "reboot",
    "existing",
    "upgrade",
    "remove",
)
SCENARIOS = (*SHARING, "firewall", "offline", "fleet")


@dataclass(frozen=True)
class Check:
    """One command that has to succeed."""

    name: str
    command: tuple[str, ...]
    platforms: str = ""
    progress: Progress | None = None


GROUPS: dict[str, list[Check]] = {
    "lint": [
        Check("yamllint", ("yamllint", "--strict", ".")),
        Check("ansible-lint", ("ansible-lint", "--offline")),
        Check("ruff check", ("ruff", "check")),
        Check("ruff format", ("ruff", "format", "--check")),
        Check(
            "workflow", ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml")
        ),
    ],
    "sanity": [Check("ansible-test sanity", (PYTHON, "-m", "tools.sanity"))],
    "unit": [
        Check("unit tests", (PYTHON, "-m", "pytest", "-q", "tests/unit")),
        Check("sample app", (PYTHON, "-m", "pytest", "-q", "files/hello_flask/tests")),
    ],
    "scenario": [],
    "matrix": [],
}


def run(check: Check) -> bool:
    """Run one check with its output on the screen; tell whether it succeeded."""
    print(f"\n=== {check.name}: {' '.join(check.command)}", flush=True)
    surroundings = environment(check.platforms)
    if not check.progress:
        return subprocess.run(check.command, cwd=REPOSITORY, env=surroundings, check=False).returncode == 0
    with subprocess.Popen(
        check.command, cwd=REPOSITORY, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
            check.progress.read(line.decode(errors="replace"))
    check.progress.end()
    return process.returncode == 0


def environment(platforms: str = "") -> dict[str, str]:
    """Let every command find this repository's own programs first, and the platforms if it is told any."""
    path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"} | ({"PLATFORMS": platforms} if platforms else {})


def prepare() -> None:
    """Install what the hosts and the tests need."""
    machine.prepare()
    missing = [package for package, program in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        machine.install(missing)
    say("machine: ready")


def scenarios(names: tuple[str, ...], platforms: str = "") -> list[Check]:
    """Return the scenarios as checks: those that share a fleet are one."""
    sharing = tuple(name for name in names if name in SHARING)
    # What an interrupted run left behind would be taken for a fleet.
    checks = [Check("no fleet left from before", ("molecule", "destroy"), platforms)] if sharing else []
    for together in filter(None, [sharing, *((name,) for name in names if name not in SHARING)]):
        chosen = (word for name in together for word in ("--scenario-name", name))
        command = ("molecule", "test", "--report", "--no-command-borders", *chosen)
        title = f"{'scenarios' if len(together) > 1 else 'scenario'} {' '.join(together)}"
        progress = Progress(matrix.describe(together, environment(platforms)))
        checks.append(Check(f"{title} on {platforms}" if platforms else title, command, platforms, progress))
    return checks


def sum_up(results: list[tuple[str, bool, float]]) -> int:
    """Print one line for each check and one for all; return the exit status."""
    print("\n=== summary")
    for name, passed, seconds in results:
        print(f"{'passed' if passed else 'FAILED':<8}{seconds:6.0f} s  {name}")
    failed = sum(not passed for _, passed, _ in results)
    print(f"checks: {len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Run what is asked for, everything when nothing is; return the exit status."""
    group, name = ([*arguments, "", ""])[:2]
    try:
        if group in ("", "prepare", "scenario", "matrix"):
            prepare()
        checks = [check for key, checks in GROUPS.items() if group in ("", key) for check in checks]
        if group in ("", "scenario"):
            checks += scenarios((name,) if name else SCENARIOS)
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
    results, runs = [], []
    for check in checks:
        started = time.monotonic()
        results.append((check.name, run(check), time.monotonic() - started))
        if check.progress:
            runs.append(matrix.Run(check.progress.scenarios, results[-1][2], results[-1][1]))
    if runs:
        print(f"\n=== platforms and scenarios\n{matrix.text(runs)}")
    if runs and not name:
        matrix.save(runs)
    return sum_up(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
