"""Run the checks, show their progress, and sum them up. ``python -m tools.check [GROUP [NAME]]``."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .fleet import machine
from .fleet.process import FleetError, say

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
# What the browser test drives; from the distribution, for no browser comes with a Python package.
BROWSER = {"chromium": "chromium", "chromium-driver": "chromedriver"}
SCENARIOS = ("default", "artifact", "nginx", "supervisor", "refusals", "release", "reboot")


@dataclass(frozen=True)
class Check:
    """One command that has to succeed."""

    name: str
    command: tuple[str, ...]


GROUPS: dict[str, list[Check]] = {
    "lint": [
        Check("yamllint", ("yamllint", "--strict", ".")),
        Check("ansible-lint", ("ansible-lint", "--offline")),
        Check("ruff check", ("ruff", "check")),
        Check("ruff format", ("ruff", "format", "--check")),
    ],
    "unit": [
        Check("unit tests", (PYTHON, "-m", "pytest", "-q", "tests/unit")),
        Check("sample app", (PYTHON, "-m", "pytest", "-q", "files/hello_flask/tests")),
    ],
    "scenario": [],
}


def run(check: Check) -> bool:
    """Run one check with its output on the screen; tell whether it succeeded."""
    print(f"\n=== {check.name}: {' '.join(check.command)}", flush=True)
    return subprocess.run(check.command, cwd=REPOSITORY, env=environment(), check=False).returncode == 0


def environment() -> dict[str, str]:
    """Let every command find this repository's own programs first."""
    return {**os.environ, "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


def prepare() -> None:
    """Install what the hosts and the browser test need."""
    machine.prepare()
    missing = [package for package, program in BROWSER.items() if not shutil.which(program)]
    if missing:
        machine.install(missing)
    say("machine: ready")


def scenarios(names: tuple[str, ...]) -> list[Check]:
    """Return the scenarios as one check: they share a fleet, which `default` has to meet clean."""
    chosen = (word for name in names for word in ("--scenario-name", name))
    return [
        # What an interrupted run left behind would be taken for a fleet.
        Check("no fleet left from before", ("molecule", "destroy")),
        Check(f"scenarios {' '.join(names)}", ("molecule", "test", "--report", "--no-command-borders", *chosen)),
    ]


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
        if group in ("", "prepare", "scenario"):
            prepare()
    except FleetError as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    if group == "prepare":
        return 0
    checks = [check for key, checks in GROUPS.items() if group in ("", key) for check in checks]
    if group in ("", "scenario"):
        checks += scenarios((name,) if name else SCENARIOS)
    if not checks:
        print(f"check: there is no group {group!r}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    results = []
    for check in checks:
        started = time.monotonic()
        results.append((check.name, run(check), time.monotonic() - started))
    return sum_up(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
