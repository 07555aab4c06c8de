"""The figures of deployments: one run, what several runs have in common, and tables of them."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

TITLES = {
    "fresh": "site.yml, fresh hosts",
    "noop": "site.yml, nothing to do",
    "forks-5": "the same, 5 forks in place of 20",
    "no-pipelining": "the same, without pipelining",
    "fact-cache": "the same, facts from a cache",
    "free": "the same, strategy free",
    "deploy": "deploy, a new release",
    "rollback": "rollback to the one before",
}
# A large fleet, which is only calculated.
LARGE, CORES, LARGE_FORKS = 1000, 8, 80


@dataclass
class Run:
    """One run of a playbook."""

    hosts: int
    case: str
    round: int
    command: str
    settings: dict[str, str]
    seconds: float
    cpu_seconds: float
    status: str = "ok"
    tasks_per_host: float = 0
    tasks: int = 0
    changed: int = 0
    # Of these CPU seconds, those of the run's own process, which makes the others.
    parent_cpu_seconds: float = 0
    # The tree that was run, and what the hosts themselves took, where trees are compared.
    of: str = ""
    host_seconds: float = 0
    round_trips: int = 0
    profile: list[dict[str, Any]] = field(default_factory=list)


def median(runs: Iterable[Run], what: str) -> float:
    """Return the median of a figure."""
    return statistics.median(getattr(run, what) for run in runs)


def slope(points: list[tuple[float, float]]) -> float:
    """Return how much a figure grows with each host, by least squares."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def cells(runs: list[Run]) -> dict[tuple[str, int], list[Run]]:
    """Group the runs that went well by case and number of hosts."""
    found: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        if run.status == "ok":
            found[run.case, run.hosts].append(run)
    return found


def spread(runs: list[Run], what: str) -> str:
    """Write a median with the least and the most."""
    values = [getattr(run, what) for run in runs]
    around = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.1f}{around}"


def figures(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the median, the least and the most of each case on each fleet."""
    return [
        {"case": case, "hosts": size, "runs": len(group)}
        | {
            what: {"median": round(median(group, what), 2), "least": min(values), "most": max(values)}
            for what in ("seconds", "cpu_seconds")
            for values in [[getattr(run, what) for run in group]]
        }
        for (case, size), group in cells(runs).items()
    ]


def profile(runs: list[Run]) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return what the roles cost, and the tasks, the dearest first: seconds, CPU seconds, how often they ran."""
    roles: dict[str, Counter[str]] = defaultdict(Counter)
    tasks: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for run in runs:
        for task in run.profile:
            for total in (roles[task["role"]], tasks[task["role"], task["name"]]):
                total.update(seconds=task["seconds"] / len(runs), cpu=task["cpu_seconds"] / len(runs))
    rows = sorted(tasks.items(), key=lambda item: -item[1]["seconds"])
    return (
        [
            [role or "(playbook)", cost["seconds"], cost["cpu"]]
            for role, cost in sorted(roles.items(), key=lambda item: -item[1]["seconds"])
        ],
        [[role or "(playbook)", name, cost["seconds"], cost["cpu"]] for (role, name), cost in rows],
    )


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Write a table in Markdown."""
    head = list(head)
    lines = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return ["", *(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines]), ""]


def report(data: dict[str, Any], runs: list[Run]) -> str:
    """Write the figures for people."""
    grouped = cells(runs)
    lines = [
        "# Deployments",
        "",
        f"{data['machine']['cpus']} processors shared by controller and hosts, ansible-core {data['ansible']}, Python "
        f"{data['machine']['python']}. CPU seconds are the controller's: ansible-playbook and the processes that it "
        "waits for. ssh's connections detach themselves and are not in them. Of several runs: the median (the least "
        "to the most).",
    ]
    if unfinished := data.get("unfinished"):
        lines += ["", f"Not measured to the end: fleets of {', '.join(map(str, unfinished))} hosts."]
    head = ("what", "hosts", "runs", "seconds", "CPU seconds", "tasks per host", "tasks", "changed")
    rows = [
        [
            TITLES[case],
            size,
            len(group),
            spread(group, "seconds"),
            spread(group, "cpu_seconds"),
            *(f"{median(group, what):g}" for what in ("tasks_per_host", "tasks", "changed")),
        ]
        for case in TITLES
        for (name, size), group in sorted(grouped.items())
        if name == case
    ]
    lines += table(head, rows)
    growth = []
    for case in TITLES:
        sizes = sorted(size for name, size in grouped if name == case)
        if len(sizes) > 1:
            points = {what: [(n, median(grouped[case, n], what)) for n in sizes] for what in ("seconds", "cpu_seconds")}
            growth.append([TITLES[case], slope(points["seconds"]), slope(points["cpu_seconds"])])
    if growth:
        lines += ["## With each host more", *table(("what", "seconds", "CPU seconds"), growth)]
    noops = {size: group for (case, size), group in grouped.items() if case == "noop"}
    for size in sorted({min(noops), max(noops)} if noops else ()):
        roles, tasks = profile(noops[size])
        lines += [f"## Nothing to do, {size} {'host' if size == 1 else 'hosts'}: roles"]
        lines += table(("role", "seconds", "CPU seconds"), roles)
        lines += [f"## Nothing to do, {size} {'host' if size == 1 else 'hosts'}: the slowest tasks"]
        lines += table(("role", "task", "seconds", "CPU seconds"), tasks[:15])
    if broken := [run for run in runs if run.status != "ok"]:
        lines += ["## Failed runs", *table(("what", "hosts", "status"), [(r.case, r.hosts, r.status) for r in broken])]
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class Estimate:
    """Calculated seconds of a large fleet: it takes at least the longest of the three."""

    by_cpu: float
    one_process: float
    by_waiting: float

    @property
    def least(self) -> float:
        return max(self.by_cpu, self.one_process, self.by_waiting)


class Costs:
    """The costs of one tree; a figure that was not measured is not a number."""

    def __init__(self, runs: Iterable[Run], of: str):
        self.runs = [run for run in runs if run.of == of and run.status == "ok"]
        self.sizes = sorted({run.hosts for run in self.runs if run.case == "noop"})

    def value(self, case: str, what: str, size: int = 1) -> float:
        """Return the median of a figure."""
        values = [getattr(run, what) for run in self.runs if run.case == case and run.hosts == size]
        return statistics.median(values) if values else math.nan

    def further(self, what: str) -> float:
        """Return what each further host adds to a run with nothing to do."""
        most = max(self.sizes, default=1)
        return (self.value("noop", what, most) - self.value("noop", what)) / (most - 1) if most > 1 else math.nan

    def cpu(self, size: int, what: str = "cpu_seconds") -> float:
        """Return the CPU seconds of a run with nothing to do on so many hosts, calculated."""
        return self.value("noop", what) + (size - 1) * self.further(what)

    def overhead(self, case: str) -> float:
        """Return the seconds of a release over those of the host itself."""
        values = [run.seconds - run.host_seconds for run in self.runs if run.case == case]
        return statistics.median(values) if values else math.nan

    def estimate(self, size: int = LARGE, cores: int = CORES, forks: int = LARGE_FORKS) -> Estimate:
        """Calculate a run with nothing to do on many hosts, as tools/deployment_comparison.py says."""
        trips = self.value("counted", "round_trips")
        wait = (self.value("noop", "seconds") - self.value("noop", "cpu_seconds")) / trips
        by_waiting = trips * math.ceil(size / forks) * max(wait, 0) if not math.isnan(wait) else math.nan
        return Estimate(self.cpu(size) / cores, self.cpu(size, "parent_cpu_seconds"), by_waiting)


@dataclass(frozen=True)
class Ratio:
    """A figure of two trees."""

    what: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else math.nan

    def told(self) -> dict[str, Any]:
        """Return it for programs; JSON has no value for what is not a number."""
        values = {"this": self.ours, "that": self.theirs, "ratio": self.ratio}
        return {"what": self.what} | {
            key: None if math.isnan(value) else round(value, 3) for key, value in values.items()
        }


def ratios(runs: list[Run], ours: str, theirs: str) -> list[Ratio]:
    """Return the figures of two trees side by side."""
    pair = [Costs(runs, ours), Costs(runs, theirs)]
    large = [costs.estimate() for costs in pair]
    title = f"{LARGE:,} hosts, nothing to do, {CORES} cores, calculated"
    rows = [
        ("nothing to do, 1 host: seconds", [costs.value("noop", "seconds") for costs in pair]),
        ("nothing to do, 1 host: CPU seconds", [costs.value("noop", "cpu_seconds") for costs in pair]),
        ("nothing to do, each further host: CPU seconds", [costs.further("cpu_seconds") for costs in pair]),
        ("nothing to do, 1 host: tasks", [costs.value("noop", "tasks") for costs in pair]),
        ("nothing to do, 1 host: round trips", [costs.value("counted", "round_trips") for costs in pair]),
        ("one changed key, site.yml: seconds over the host's own", [costs.overhead("site") for costs in pair]),
        ("one changed key, site.yml: the host's own seconds", [costs.value("site", "host_seconds") for costs in pair]),
        ("one changed key, deploy: seconds over the host's own", [costs.overhead("deploy") for costs in pair]),
        ("one changed key, deploy: the host's own seconds", [costs.value("deploy", "host_seconds") for costs in pair]),
        ("fresh host: seconds", [costs.value("fresh", "seconds") for costs in pair]),
        (f"{title}: seconds by CPU", [estimate.by_cpu for estimate in large]),
        (f"{title}: seconds of the run's own process", [estimate.one_process for estimate in large]),
        (f"{title}: seconds by waiting, {LARGE_FORKS} forks", [estimate.by_waiting for estimate in large]),
        (f"{title}: seconds, at least", [estimate.least for estimate in large]),
    ]
    for size in sorted({run.hosts for run in runs if run.case == "simulated"}):
        title = f"{size} simulated hosts, nothing to do"
        rows += [
            (f"{title}: seconds", [costs.value("simulated", "seconds", size) for costs in pair]),
            (f"{title}: CPU seconds", [costs.value("simulated", "cpu_seconds", size) for costs in pair]),
            (f"{title}: CPU seconds, calculated", [costs.cpu(size) for costs in pair]),
            (
                f"{title}: CPU seconds of the run's own process",
                [costs.value("simulated", "parent_cpu_seconds", size) for costs in pair],
            ),
            (
                f"{title}: CPU seconds of the run's own process, calculated",
                [costs.cpu(size, "parent_cpu_seconds") for costs in pair],
            ),
        ]
    return [Ratio(what, *values) for what, values in rows]


def shown(value: float) -> str:
    """Write a figure, or that there is none."""
    return "not measured" if math.isnan(value) else f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def comparison_report(data: dict[str, Any], runs: list[Run]) -> str:
    """Write the ratios for people."""
    machine, (ours, theirs) = data["machine"], data["trees"]
    rows = [
        (row.what, shown(row.ours), shown(row.theirs), "" if math.isnan(row.ratio) else f"{row.ratio:.2f}")
        for row in ratios(runs, ours["key"], theirs["key"])
    ]
    lines = [
        f"# Deployments of this tree and of {theirs['title']}",
        "",
        f"This tree is {ours['commit']}. {machine['cpus']} processors shared by controller and hosts, ansible-core "
        f"{data['ansible']}, Python {machine['python']}. Fleets of {' and '.join(map(str, data['hosts']))} hosts. "
        f"Medians of {data['rounds']} {'round' if data['rounds'] == 1 else 'rounds'}. "
        "The docstring of tools/deployment_comparison.py defines each figure.",
        *table(("what", ours["title"], theirs["title"], "ratio"), rows),
    ]
    if not data["finished"]:
        lines += ["Not measured to the end.", ""]
    if broken := [run for run in runs if run.status != "ok"]:
        titles = {tree["key"]: tree["title"] for tree in data["trees"]}
        failed = [(titles[run.of], run.case, run.hosts, run.status) for run in broken]
        lines += ["## Failed runs", *table(("tree", "what", "hosts", "status"), failed)]
    return "\n".join(lines).rstrip() + "\n"
