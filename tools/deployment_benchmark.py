"""Measure deployments: seconds, tasks and the controller's CPU seconds, on fleets that it makes and removes.

``python -m tools.deployment_benchmark [--hosts 1,4] [--cases noop,deploy] [--rounds 3]``; timings never make it fail,
runs that fail do. The figures of each fleet are written before the next one is made.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.release import __version__ as ansible_version

from tests.fleet import hosts, images, inventory
from tests.fleet.process import FleetError, say, state_directory, write

REPOSITORY = Path(__file__).resolve().parent.parent
NAME = "deployments"
SUBNET = "10.89.94"
SIZES = (1, 4, 10, 16)
FIRST_ADDRESS = 11
GRACE = 10
# What is different from ansible.cfg of this checkout.
VARIATIONS: dict[str, dict[str, str]] = {
    "noop": {},
    "forks-5": {"ANSIBLE_FORKS": "5"},
    "no-pipelining": {"ANSIBLE_PIPELINING": "false"},
    "fact-cache": {"ANSIBLE_CACHE_PLUGIN": "jsonfile"},
    "free": {"ANSIBLE_STRATEGY": "free"},
}
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
    profile: list[dict[str, Any]] = field(default_factory=list)


def description(size: int, state: Path) -> dict[str, Any]:
    """Return the inventory of a fleet of so many hosts."""
    members = {
        f"app{number:02}": {
            "ansible_host": f"{SUBNET}.{FIRST_ADDRESS + number}",
            "fleet_host": {"platform": "debian13"},
        }
        for number in range(size)
    }
    app = {
        "name": "hello",
        "source": {"path": str(REPOSITORY / "files/hello_flask")},
        "entrypoint": "hello_flask:create_app()",
        "site": {"server_names": ["{{ inventory_hostname }}"], "listen": 8080, "prefix": "/gunicorn"},
        "health": {"path": "/healthz"},
        "environment": {"NUMBER": "{{ number | default(0) }}"},
    }
    common = {
        "fleet": {"name": NAME, "subnet": f"{SUBNET}.0/24"},
        "ansible_user": "ops",
        "ansible_ssh_common_args": f"-F {state / 'ssh_config'}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "wsgi_apps": [app],
    }
    return {"all": {"vars": common, "children": {"wsgi": {"hosts": members}}}}


class Bench:
    """The runs on one fleet, whose hosts are new."""

    def __init__(self, size: int, place: Path, timeout: float):
        self.size = size
        self.place = place
        self.timeout = timeout
        self.inventory = place / "hosts.yml"
        self.runs: list[Run] = []

    def __enter__(self) -> "Bench":
        write(self.inventory, yaml.safe_dump(description(self.size, state_directory(NAME))))
        self.fleet = inventory.load(self.inventory, images.platforms())
        hosts.down(self.fleet, remove_images=False, all_traces=False)
        try:
            hosts.up(self.fleet)
        except BaseException as problem:
            # Some hosts may be there, and a `with` that was not entered is not left either.
            self.__exit__(problem)
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        try:
            hosts.down(self.fleet, remove_images=False, all_traces=False)
        except FleetError as error:
            if not problem[0]:
                raise
            # What was wrong before says more, and is raised on.
            say(f"fleet {NAME}: not removed, the next benchmark does it: {error}")

    def play(self, case: str, number: int, playbook: str, *words: str, settings: dict[str, str] | None = None) -> Run:
        """Run a playbook and keep what it took."""
        profile, log = self.place / "profile.json", self.place / f"{case}-{self.size}-{number}.log"
        profile.unlink(missing_ok=True)
        command = ["ansible-playbook", playbook, "-i", str(self.inventory), *words]
        own = {"TASK_PROFILE": str(profile), "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tools/callback")}
        if settings and "ANSIBLE_CACHE_PLUGIN" in settings:
            own["ANSIBLE_CACHE_PLUGIN_CONNECTION"] = str(self.place / "facts")
        before, started = spent(), time.monotonic()
        status = finish(command, {**os.environ, **own, **(settings or {})}, log, self.timeout)
        seconds, used = time.monotonic() - started, spent() - before
        shown = " ".join(word.replace(str(self.inventory), "INVENTORY") for word in command)
        run = Run(self.size, case, number, shown, settings or {}, round(seconds, 2), round(used, 2), status)
        if profile.exists():
            run.profile, run.changed, run.tasks = read_profile(profile)
            run.tasks_per_host = round(run.tasks / self.size, 1)
        self.runs.append(run)
        say(f"{self.size} hosts, {case}: {seconds:.1f} s, CPU {used:.1f} s, {run.tasks_per_host:g} tasks, {status}")
        if status != "ok":
            sys.stderr.write("".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:]))
        return run


def spent() -> float:
    """Return the CPU seconds of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def finish(command: list[str], environment: dict[str, str], log: Path, timeout: float) -> str:
    """Run a command within its time; return ``ok`` or what went wrong."""
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"not done after {timeout:g} s"
        finally:
            end(process)
    return f"exit status {code}" if code else "ok"


def end(process: subprocess.Popen[bytes]) -> None:
    """Let nothing of a command go on, whatever ended the wait for it: its hosts are removed next."""
    # The workers of ansible-playbook have sessions of their own. It hands SIGTERM on to them; SIGKILL it cannot.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def read_profile(path: Path) -> tuple[list[dict[str, Any]], int, int]:
    """Return the tasks, and how many of all hosts changed something and ran (or were left out)."""
    told = json.loads(path.read_text())
    summaries = told["hosts"].values()
    ran = sum(host[what] for host in summaries for what in ("ok", "skipped", "failures", "unreachable"))
    return told["tasks"], sum(host["changed"] for host in summaries), ran


def measure(bench: Bench, cases: list[str], rounds: int) -> None:
    """Do what is asked for on one fleet; the variations take turns."""
    site, words = "site.yml", ("-e", "app=hello")
    if bench.play("fresh", 1, site).status != "ok":
        return
    variations = [name for name in VARIATIONS if name in cases]
    if "fact-cache" in variations:
        filler = bench.play("fact-cache", 0, site, settings=VARIATIONS["fact-cache"])
        if filler.status == "ok":
            bench.runs.remove(filler)  # it found the cache empty
        else:
            variations.remove("fact-cache")  # the next one would only fill it
    for number in range(1, rounds + 1):
        for name in variations:
            bench.play(name, number, site, settings=VARIATIONS[name])
    for number in range(1, rounds + 1):
        if {"deploy", "rollback"} & {*cases}:
            bench.play("deploy", number, "baremetal.web.deploy", *words, "-e", f"number={number}")
        if "rollback" in cases:
            bench.play("rollback", number, "baremetal.web.rollback", *words)


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


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""

    def chosen(known: Iterable[Any], kind: type) -> Any:
        def read(text: str) -> list[Any]:
            try:
                values = [kind(word) for word in text.split(",") if word]
            except ValueError:
                raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,4") from None
            if unknown := [value for value in values if known and value not in known]:
                raise argparse.ArgumentTypeError(f"{unknown[0]!r} is unknown; there are {', '.join(known)}")
            return values

        return read

    top = argparse.ArgumentParser(prog="python -m tools.deployment_benchmark", description=__doc__)
    top.add_argument("--hosts", type=chosen((), int), default=list(SIZES), help="sizes of the fleets (1,4,10,16)")
    top.add_argument("--cases", type=chosen(TITLES, str), default=list(TITLES), help=", ".join(TITLES))
    top.add_argument("--rounds", type=int, default=1, help="how often each case is run, fresh hosts excepted (1)")
    top.add_argument("--timeout", type=float, default=900, help="seconds that one run may take (900)")
    top.add_argument("--output", type=Path, default=REPOSITORY / "build/deployments", help="directory of the results")
    return top


def keep(place: Path, data: dict[str, Any], runs: list[Run]) -> str:
    """Write the results for programs and for people; return the latter."""
    text = report(data, runs)
    told = {**data, "figures": figures(runs), "runs": [asdict(run) for run in runs]}
    write(place / "deployments.json", json.dumps(told, indent=1) + "\n", 0o644)
    write(place / "deployments.md", text, 0o644)
    return text


def main(argv: list[str] | None = None) -> int:
    """Measure, write what was found, and return the exit status."""
    options = parser().parse_args(argv)
    runs: list[Run] = []
    data: dict[str, Any] = {
        "format": 1,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ansible": ansible_version,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()},
        "rounds": options.rounds,
        "unfinished": list(options.hosts),
    }
    text, status = "", 0
    try:
        with tempfile.TemporaryDirectory(prefix="deployments-") as place:
            for size in options.hosts:
                bench = Bench(size, Path(place), options.timeout)
                try:
                    with bench:
                        measure(bench, options.cases, options.rounds)
                        data["unfinished"].remove(size)
                finally:
                    runs += bench.runs
                    # A fleet that cannot be made takes nothing of what the others gave, nor of earlier results.
                    if runs:
                        text = keep(options.output, data, runs)
    except FleetError as error:
        print(f"deployment benchmark: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    if text:
        print(text)
    return status or (1 if any(run.status != "ok" for run in runs) else 0)


if __name__ == "__main__":
    sys.exit(main())
