"""Measure deployments: seconds, tasks and the controller's CPU seconds, on fleets that it makes and removes.

``python -m tools.deployment_benchmark [--hosts 1,4] [--cases noop,deploy] [--rounds 3]``; timings never make it fail,
runs that fail do. The figures of each fleet are written before the next one is made.

``python -m tools.deployment_benchmark --against COMMIT [--hosts 1,4] [--rounds 3]`` compares this tree with a commit.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible.release import __version__ as ansible_version

from tests.fleet.process import FleetError, write

from . import deployment_comparison
from .deployment_comparison import Comparison, Plan, checked_out, resolve, size_problem, this_tree
from .deployment_figures import TITLES, Run, comparison_report, figures, ratios, report
from .deployment_fleet import REPOSITORY, Bench

SIZES = (1, 4, 10, 16)
COMPARED_SIZES = (1, 4)
# What is different from ansible.cfg of this checkout.
VARIATIONS: dict[str, dict[str, str]] = {
    "noop": {},
    "forks-5": {"ANSIBLE_FORKS": "5"},
    "no-pipelining": {"ANSIBLE_PIPELINING": "false"},
    "fact-cache": {"ANSIBLE_CACHE_PLUGIN": "jsonfile"},
    "free": {"ANSIBLE_STRATEGY": "free"},
}


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


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""

    def chosen(known: Iterable[str]) -> Callable[[str], list[str]]:
        def read(text: str) -> list[str]:
            values = [word for word in text.split(",") if word]
            if unknown := [value for value in values if value not in known]:
                raise argparse.ArgumentTypeError(f"{unknown[0]!r} is unknown; there are {', '.join(known)}")
            return values

        return read

    def sizes(text: str) -> list[int]:
        words = [word for word in text.split(",") if word]
        if not words or not all(word.isdecimal() and int(word) for word in words):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,4")
        return [int(word) for word in words]

    def positive(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
        return int(text)

    top = argparse.ArgumentParser(
        prog="python -m tools.deployment_benchmark",
        description=__doc__,
        epilog=deployment_comparison.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--hosts", type=sizes, help="sizes of the fleets (1,4,10,16; with --against 1,4)")
    top.add_argument("--cases", type=chosen(TITLES), help=", ".join(TITLES))
    top.add_argument("--rounds", type=positive, default=1, help="how often each case is run (1)")
    top.add_argument("--timeout", type=float, default=900, help="seconds that one run may take (900)")
    top.add_argument("--output", type=Path, default=REPOSITORY / "build/deployments", help="directory of the results")
    top.add_argument(
        "--against",
        metavar="COMMIT",
        help="compare this tree with a commit: both run in turn on hosts of their own, and the result is ratios",
    )
    top.add_argument(
        "--simulated",
        metavar="N",
        type=positive,
        default=0,
        help="with --against, also run with nothing to do on N names of one host, 200 or more",
    )
    return top


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line, and refuse what does not go together before there is any host."""
    top = parser()
    options = top.parse_args(argv)
    if options.against is None and options.simulated:
        top.error("--simulated needs --against")
    if options.against is not None and options.cases:
        top.error("--cases cannot go with --against, which has cases of its own")
    options.hosts = options.hosts or list(SIZES if options.against is None else COMPARED_SIZES)
    options.cases = options.cases or list(TITLES)
    if options.against is not None and (problem := size_problem(options.hosts, options.rounds)):
        top.error(problem)
    return options


def described(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the results say of the machine and the measurement."""
    return {
        "format": 1,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ansible": ansible_version,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()},
        "rounds": options.rounds,
    }


@dataclass
class Results:
    """The runs so far, and the report that they make."""

    place: Path
    runs: list[Run] = field(default_factory=list)
    text: str = ""

    def keep(self, name: str, data: dict[str, Any], text: str) -> None:
        """Write the results for programs and for people."""
        self.text = text
        told = {**data, "runs": [asdict(run) for run in self.runs]}
        write(self.place / f"{name}.json", json.dumps(told, indent=1) + "\n", 0o644)
        write(self.place / f"{name}.md", text, 0o644)


def measure_fleets(options: argparse.Namespace, results: Results) -> None:
    """Measure one fleet after another, and keep the results after each one."""
    data = {**described(options), "unfinished": list(options.hosts)}
    with tempfile.TemporaryDirectory(prefix="deployments-") as place:
        for size in options.hosts:
            bench = Bench(size, Path(place), options.timeout)
            try:
                with bench:
                    measure(bench, options.cases, options.rounds)
                    data["unfinished"].remove(size)
            finally:
                results.runs += bench.runs
                # A fleet that cannot be made takes nothing of what the others gave, nor of earlier results.
                if results.runs:
                    told = {**data, "figures": figures(results.runs)}
                    results.keep("deployments", told, report(data, results.runs))


def compare(options: argparse.Namespace, results: Results) -> None:
    """Compare this tree with a commit, and keep the ratios, after an interruption as well."""
    theirs = resolve(options.against)
    with tempfile.TemporaryDirectory(prefix="deployments-") as place, checked_out(theirs, Path(place)) as tree:
        plan = Plan(tuple(options.hosts), options.rounds, options.simulated, this_tree(), tree)
        comparison = Comparison(plan, Path(place), options.timeout)
        trees = [{"key": one.key, "title": one.title, "commit": one.commit} for one in (plan.ours, plan.theirs)]
        data = {**described(options), "trees": trees, "hosts": options.hosts, "finished": False}
        try:
            with comparison:
                comparison.measure()
                data["finished"] = len(comparison.runs) == plan.count()
        finally:
            results.runs += comparison.runs
            if results.runs:
                rows = [row.told() for row in ratios(results.runs, plan.ours.key, plan.theirs.key)]
                results.keep("comparison", {**data, "ratios": rows}, comparison_report(data, results.runs))


def interrupt(*_signal: object) -> None:
    """End as after Ctrl-C."""
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Measure, write what was found, and return the exit status."""
    options = parse(argv)
    results = Results(options.output)
    status = 0
    # A shell lets a command in the background ignore SIGINT.
    usual = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        (measure_fleets if options.against is None else compare)(options, results)
    except FleetError as error:
        print(f"deployment benchmark: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if results.text:
        print(results.text)
    return status or (1 if any(run.status != "ok" for run in results.runs) else 0)


if __name__ == "__main__":
    sys.exit(main())
