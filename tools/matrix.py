"""The result of each scenario on each platform: a table for people, Markdown and JSON for others."""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.fleet import images, inventory
from tests.fleet.process import STATE, FleetError, hand_over, write
from tests.fleet.tables import columns

REPOSITORY = Path(__file__).resolve().parent.parent
# Together they have every platform that is not a rebuild of another one, and one rebuild.
SETS = ("centos9 ubuntu2404 debian13", "centos10 ubuntu2204 debian12", "rocky9 ubuntu2604 debian13")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
EVENT = re.compile(r"\w+ +(?P<scenario>[\w/-]+) ➜ (?P<action>\w+): (?P<event>Executing|Executed: (?P<state>.+))\s*$")
BLAME = re.compile(
    r"(?P<recap>[\w-]+) +: ok=.* (?:unreachable|failed)=[1-9]"
    r"|(?:FAILED|ERROR) .*\[ssh://(?P<test>[\w-]+)"
    r"|\* \[(?P<changed>[\w-]+)] =>"
)
PASSED, FAILED, NOT_RUN, NO_PART = "passed", "FAILED", "not run", "-"
WORST = (FAILED, NOT_RUN, PASSED)


@dataclass
class Scenario:
    """The facts of one scenario: its hosts with their platforms, then its result."""

    platforms: dict[str, str]
    actions: dict[str, float] = field(default_factory=dict)
    verified: bool = False
    failed: set[str] = field(default_factory=set)

    @property
    def seconds(self) -> float:
        """How long all its actions took."""
        return sum(self.actions.values())

    def result(self, platform: str) -> str:
        """Say what the scenario means for a platform."""
        if platform not in self.platforms.values():
            return NO_PART
        if platform in self.failed:
            return FAILED
        return PASSED if self.verified else NOT_RUN


@dataclass
class Progress:
    """Reads what molecule prints, because it keeps no report for programs."""

    scenarios: dict[str, Scenario]
    clock: Callable[[], float] = time.monotonic
    _running: str = ""
    _since: float = 0
    _blamed: set[str] = field(default_factory=set)

    def read(self, line: str) -> None:
        """Take in one line of the output."""
        line = COLOUR.sub("", line)
        if match := EVENT.match(line):
            scenario = self.scenarios.get(match["scenario"])
            if not scenario:
                return
            if not match["state"]:
                self._running, self._since, self._blamed = match["scenario"], self.clock(), set()
                return
            took = self.clock() - self._since
            scenario.actions[match["action"]] = scenario.actions.get(match["action"], 0) + took
            self._running = ""
            # The tests go on to the other hosts when they fail on one.
            scenario.verified |= match["action"] == "verify"
            if "failed" in match["state"].lower():
                self._fail(scenario)
        elif match := BLAME.search(line):
            self._blamed.add(next(filter(None, match.groups())))

    def end(self) -> None:
        """Count what was cut off as failed."""
        if self._running:
            self._fail(self.scenarios[self._running])

    def _fail(self, scenario: Scenario) -> None:
        # A test's parameters follow the name of its host after a dash.
        guilty = {
            platform
            for host, platform in scenario.platforms.items()
            if any(name == host or name.startswith(f"{host}-") for name in self._blamed)
        }
        scenario.failed |= guilty or set(scenario.platforms.values())


@dataclass(frozen=True)
class Run:
    """All scenarios once, on one set of platforms."""

    scenarios: dict[str, Scenario]
    seconds: float
    passed: bool

    @property
    def platforms(self) -> list[str]:
        """The platforms of the hosts, in the order of the inventory."""
        return list(dict.fromkeys(name for scenario in self.scenarios.values() for name in scenario.platforms.values()))


def describe(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, Scenario]:
    """Find the hosts that each scenario verifies, and their platforms in this environment."""
    base = yaml.safe_load((REPOSITORY / ".config/molecule/config.yml").read_text())
    found = {}
    for name in names:
        directory = REPOSITORY / "molecule" / name
        if not (directory / "molecule.yml").exists():
            known = ", ".join(sorted(path.parent.name for path in REPOSITORY.glob("molecule/*/molecule.yml")))
            raise FleetError(f"there is no scenario {name!r}; there are {known}")
        own = yaml.safe_load((directory / "molecule.yml").read_text()) or {}
        options = {**base["verifier"]["options"], **own.get("verifier", {}).get("options", {})}
        wanted = re.findall(r"ssh://([\w-]+)", options.get("hosts", ""))
        inventories = (directory / "inventory/hosts.yml", REPOSITORY / "molecule/inventory/hosts.yml")
        path = next(path for path in inventories if path.exists())
        fleet = inventory.load(path, images.platforms(environment))
        known = {host.name: host.platform for host in fleet.hosts}
        found[name] = Scenario({host: known[host] for host in wanted if host in known} or known)
    return found


def image(platform: str) -> str:
    """Say what a platform's hosts are made of here."""
    chosen = images.choose(platform)
    return f"{chosen.kind}, made of {chosen.origin}" if chosen.kind == "stand-in" else f"real, from {chosen.origin}"


def cells(runs: list[Run]) -> dict[str, dict[str, str]]:
    """Return the result of each platform and scenario, the worst of all runs."""
    platforms = dict.fromkeys(platform for run in runs for platform in run.platforms)
    names = dict.fromkeys(name for run in runs for name in run.scenarios)

    def worst(platform: str, name: str) -> str:
        results = {run.scenarios[name].result(platform) for run in runs if name in run.scenarios}
        return next((result for result in WORST if result in results), NO_PART)

    return {platform: {name: worst(platform, name) for name in names} for platform in platforms}


def rows(runs: list[Run]) -> list[list[str]]:
    """Compose the table with its heading."""
    table = cells(runs)
    names = list(next(iter(table.values()), {}))
    times = [
        " + ".join(f"{run.scenarios[name].seconds:.0f}" for run in runs if name in run.scenarios) for name in names
    ]
    body = [[platform, image(platform), *results.values()] for platform, results in table.items()]
    return [["platform", "image", *names], *body, ["seconds", "", *times]]


def text(runs: list[Run]) -> str:
    """Lay the table out for a terminal."""
    return "\n".join([*columns(rows(runs)), "", *(summary(run) for run in runs)])


def profile(runs: list[Run]) -> str:
    """Lay out the seconds of each scenario's actions, the longest scenario first."""
    found = sorted(
        ((name, scenario) for run in runs for name, scenario in run.scenarios.items()),
        key=lambda pair: -pair[1].seconds,
    )
    known = list(dict.fromkeys(action for _, scenario in found for action in scenario.actions))
    body = [
        [name, *(f"{scenario.actions.get(action, 0):.0f}" for action in known), f"{scenario.seconds:.0f}"]
        for name, scenario in found
    ]
    sums = [f"{sum(scenario.actions.get(action, 0) for _, scenario in found):.0f}" for action in known]
    total = f"{sum(scenario.seconds for _, scenario in found):.0f}"
    return "\n".join(columns([["seconds", *known, "all"], *body, ["all", *sums, total]]))


def markdown(runs: list[Run]) -> str:
    """Write the table for a page."""
    heading, *body = rows(runs)
    lines = [heading, ["---"] * len(heading), *body]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([table, "", *(f"* {summary(run)}" for run in runs), ""])


def summary(run: Run) -> str:
    """Say in one line what came of a run."""
    return f"{', '.join(run.platforms)}: {PASSED if run.passed else FAILED}, {run.seconds:.0f} s of wall time"


def save(runs: list[Run]) -> None:
    """Write both reports beside the state of the fleets."""
    report = {
        "platforms": {
            platform: {"kind": (chosen := images.choose(platform)).kind, "from": chosen.origin, "results": results}
            for platform, results in cells(runs).items()
        },
        "runs": [
            {
                "platforms": run.platforms,
                "passed": run.passed,
                "seconds": round(run.seconds),
                "scenarios": {name: round(scenario.seconds) for name, scenario in run.scenarios.items()},
            }
            for run in runs
        ],
    }
    STATE.mkdir(mode=0o700, exist_ok=True)
    write(STATE / "matrix.json", json.dumps(report, indent=2) + "\n", 0o644)
    write(STATE / "matrix.md", markdown(runs), 0o644)
    hand_over(STATE)
