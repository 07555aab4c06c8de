# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runs of a benchmark say: cells, their medians, curves with their knees, goals, and the answer."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

FORMAT = 1
PARTS = ("workloads", "subjects", "runs", "claims", "missing")
# Rates so near each other are alike, and the lower p99 decides; the knee of a curve is where it comes so near its best.
ALIKE = 0.95
# Goals, each as a share of what it is compared with: requests/s of the best and of the default against the baseline, of
# the default against the best, and CPU seconds of its proxy against the least that nginx needs.
BEST_TO_BASELINE = {"hello": 2, "io": 5}
DEFAULT_TO_BASELINE = {"hello": 1.2, "io": 3}
DEFAULT_TO_BEST = 0.9
PROXY_TO_LEAST = 1.2
# From them a configuration is chosen; tutorials and limits are what it is compared with.
CHOSEN_FROM = ("servers", "sweep", "own")
CHARTED = ("servers", "own")
# nginx before nginx: never chosen from, nor compared with an app.
WITHOUT_APP = ("limits", "nginx")
# One subject has each of them.
ROLES = {"reference": "reference (the tutorials' baseline)", "default": "untouched default"}
THROUGH_NGINX = ("unix", "tcp")
TOOL = "wrk"
# They use one processor at most, whatever they send; siege has a thread for each of its users.
ONE_PROCESSOR = ("wrk", "ab")
# With so much of it in use, the tool may be what is slow.
BUSY = 0.9
PER = 1000

# Figures of a run by their names; each gives a number, or None where there is none.
FIGURES = {
    "rate": ("rate",),
    "seconds": ("seconds",),
    "p50": ("latency_ms", "p50"),
    "p95": ("latency_ms", "p95"),
    "p99": ("latency_ms", "p99"),
    "max": ("latency_ms", "max"),
    "memory_server": ("memory_bytes", "server"),
    "memory_proxy": ("memory_bytes", "proxy"),
    "start": ("start_seconds",),
    "client_cpu": ("client_cpu",),
}
# Those that are one number of a run over another, and by how much that is multiplied.
CPU_FIGURES = ("cpu_server", "cpu_proxy")
RATIOS: dict[str, tuple[tuple[str, ...], tuple[str, ...], int]] = {
    **{name: (("cpu_seconds", name.removeprefix("cpu_")), ("requests",), PER) for name in CPU_FIGURES},
    "throughput": (("bytes",), ("seconds",), 1),
}


def dig(value: Any, *keys: str) -> Any:
    """Return what stands below the keys, None where something lacks."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def number(value: float | None) -> str:
    """Return a figure with as many digits as say something."""
    if value is None:
        return "\N{EN DASH}"
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def times(value: float | None) -> str:
    return number(value) if value is None else f"{number(value)} times"


def ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def figure_of(run: Mapping[str, Any], figure: str) -> float | None:
    """Return a figure of one run."""
    if figure in RATIOS:
        one, other, factor = RATIOS[figure]
        share = ratio(dig(run, *one), dig(run, *other))
        return None if share is None else factor * share
    keys = FIGURES[figure]
    # Older data have 0 ms where nothing was answered.
    return None if keys[0] == "latency_ms" and not run.get("requests") else dig(run, *keys)


def concerns(
    entry: Mapping[str, Any],
    subject: str,
    access: str | None = None,
    workload: str | None = None,
    round_: int | None = None,
) -> bool:
    """Tell whether an entry of what is missing is about this; what either leaves out is all of the subject."""
    return (
        entry["subject"] == subject
        and access in (None, entry.get("access") or access)
        and workload in (None, *(entry.get("workloads") or [workload]))
        and round_ in (None, entry.get("round") or round_)
    )


def whereabouts(entry: Mapping[str, Any]) -> str:
    """Return the transport and round of an entry of what is missing, to be put after a name."""
    access, round_ = entry.get("access"), entry.get("round")
    return (f" ({access})" if access else "") + (f", round {round_}" if round_ else "")


def quantity(count: int | str, word: str) -> str:
    return f"{count} {word}{'' if str(count) == '1' else 's'}"


def listed(words: Iterable[str]) -> str:
    """Return words as a sentence has them."""
    *others, last = list(words)
    return f"{', '.join(others)} and {last}" if others else last


class Spread(NamedTuple):
    """The median of a figure over the rounds, and how far they are apart."""

    median: float | None
    least: float | None
    most: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        known = [value for value in values if value is not None]
        return cls(statistics.median(known), min(known), max(known)) if known else cls(None, None, None)

    def __str__(self) -> str:
        if self.least == self.most:
            return number(self.median)
        return f"{number(self.median)} ({number(self.least)} to {number(self.most)})"


class Key(NamedTuple):
    """What the rounds of a cell have in common."""

    subject: str
    access: str
    workload: str
    tool: str
    connections: int


@dataclass(frozen=True)
class Cell:
    """All rounds of one subject, asked over one transport."""

    key: Key
    runs: list[dict[str, Any]] = field(repr=False)
    # Something of its subject, asked over the same transport, could not be measured.
    lacking: bool = False

    def spread(self, figure: str) -> Spread:
        return Spread.of(figure_of(run, figure) for run in self.runs)

    def __getitem__(self, figure: str) -> float | None:
        return self.spread(figure).median

    @property
    def cpu(self) -> float | None:
        """Return the seconds that server and proxy together need for so many requests."""
        known = [self[figure] for figure in CPU_FIGURES if self[figure] is not None]
        return sum(known) if known else None

    @cached_property
    def errors(self) -> dict[str, int]:
        """Return what went wrong in all rounds together, by kind."""
        found: Counter[str] = Counter()
        for run in self.runs:
            found.update({kind: count for kind, count in (run.get("errors") or {}).items() if count})
        return dict(sorted(found.items()))

    @property
    def refused(self) -> int:
        """Return how many answers were none of the statuses 2xx."""
        return self.errors.get("status", 0)

    @property
    def failed(self) -> int:
        """Return how many requests had no answer at all."""
        return sum(self.errors.values()) - self.refused

    @cached_property
    def trouble(self) -> str:
        """Return what speaks against the cell, if anything."""
        silent = sum(not run.get("requests") for run in self.runs)
        some = f" in {silent} of {len(self.runs)} rounds" if silent < len(self.runs) else ""
        said = [f"nothing answered{some}"] if silent else []
        said += [f"{sum(self.errors.values())} errors"] if self.errors else []
        said += ["rounds missing"] if self.lacking else []
        return ", ".join(said)

    @property
    def clean(self) -> bool:
        return not self.trouble

    @property
    def at_least(self) -> bool:
        """Tell whether the tool had no more to give, so that the server may have."""
        return self.key.tool in ONE_PROCESSOR and (self["client_cpu"] or 0) >= BUSY


class Point(NamedTuple):
    x: int
    cell: Cell


@dataclass(frozen=True)
class Curve:
    """Rates over something that grows."""

    name: str
    workload: str
    points: list[Point]

    @property
    def best(self) -> float:
        return max((point.cell["rate"] or 0 for point in self.points if point.cell.clean), default=0)

    @property
    def knee(self) -> int | None:
        """Return the least x that comes near the best rate; only a clean cell does."""
        near = (p.x for p in self.points if p.cell.clean and (p.cell["rate"] or 0) >= ALIKE * self.best > 0)
        return min(near, default=None)


class Goal(NamedTuple):
    what: str
    wanted: str
    measured: str
    reached: bool | None
    note: str = ""


class Claim(NamedTuple):
    """What a tutorial says of itself, and what came of it here."""

    tutorial: str
    what: str
    how: str
    text: str
    unit: str
    claimed: float
    measured: float | None
    note: str

    @property
    def ratio(self) -> float | None:
        return ratio(self.measured, self.claimed)


class Figures:
    """A benchmark that was read."""

    def __init__(self, data: Mapping[str, Any]):
        self.data = data
        self.subjects: dict[str, dict[str, Any]] = {one["name"]: one for one in data["subjects"]}
        grouped: dict[Key, list[dict[str, Any]]] = {}
        for run in (run for run in data["runs"] if run["subject"] in self.subjects):
            key = Key(*(run[name] for name in Key._fields))
            grouped.setdefault(key, []).append(run)
        self.cells = {
            key: Cell(key, runs, any(concerns(one, key.subject, key.access) for one in data["missing"]))
            for key, runs in grouped.items()
        }
        self.reference = next((name for name, one in self.subjects.items() if one.get("reference")), "")
        self.default = next((name for name, one in self.subjects.items() if one.get("default")), "")

    # Names

    def title(self, subject: str) -> str:
        return dig(self.subjects, subject, "title") or subject

    def configuration(self, cell: Cell) -> str:
        """Return what to call a cell's subject where the transport matters: a unix socket goes without saying."""
        return self.title(cell.key.subject) + (", by TCP" if self._by_tcp(cell.key) else "")

    def _by_tcp(self, key: Key) -> bool:
        others = (other for other in self.cells if (other.subject, other.access) == (key.subject, "unix"))
        return key.access == "tcp" and any(others)

    def resolved(self, subject: str) -> str:
        """Return what was measured of a subject whose title does not tell."""
        one = dig(self.subjects, subject, "resolved") or {}
        name = " ".join(str(one[key]) for key in ("kind", "version", "worker_class") if one.get(key))
        counts = [quantity(one[f"{word}s"], word) for word in ("worker", "thread") if one.get(f"{word}s")]
        return ", ".join(filter(None, (name, " \N{MULTIPLICATION SIGN} ".join(counts))))

    def commands(self, subject: str) -> list[str]:
        """Return what was run for a subject; the command of its app is a list of words, or text."""
        own = dig(self.subjects, subject, "resolved", "command") or ""
        commands = [*(dig(self.subjects, subject, "commands") or []), own if isinstance(own, str) else shlex.join(own)]
        return [command for command in commands if command]

    @property
    def shared(self) -> str:
        """Return what the client shared with the servers, if anything."""
        if dig(self.data, "client", "same_host"):
            return "the measured host itself"
        return "the machine that the measured host is on" if dig(self.data, "client", "same_machine") else ""

    def workload(self, name: str) -> str:
        return dig(self.data, "workloads", name, "title") or name

    def patches(self, subject: str) -> bool:
        """Tell whether the subject changes the standard library below the app."""
        words = [subject, *map(str, (dig(self.subjects, subject, "server") or {}).values())]
        return any("gevent" in word for word in words)

    def fit(self, subject: str) -> bool:
        """Tell whether the subject can be chosen for an app as it is: in production, and not for an app of its own."""
        one = self.subjects[subject]
        chosen = one.get("set") in CHOSEN_FROM and subject != self.reference
        return chosen and not self.other_app(subject) and not dig(one, "server", "development_enabled")

    def other_app(self, subject: str) -> bool:
        """Tell whether the subject serves another app than the others, one for ASGI or Tornado."""
        return (dig(self.subjects, subject, "interface") or "wsgi") != "wsgi"

    # Cells

    @cached_property
    def workloads(self) -> list[str]:
        """Return the workloads that were asked through nginx, in the order of the data."""
        asked = {key.workload for key in self.cells if self._main(key)}
        return [*(name for name in self.data["workloads"] if name in asked)]

    def _main(self, key: Key) -> bool:
        without = dig(self.subjects, key.subject, "set") in WITHOUT_APP
        return key.tool == TOOL and key.access in THROUGH_NGINX and not without

    def connections(self, workload: str) -> int | None:
        """Return at how many connections most were asked, so that they can be compared."""
        counts = Counter(key.connections for key in self.cells if self._main(key) and key.workload == workload)
        return max(counts, key=lambda count: (counts[count], count), default=None)

    def compared(self, workload: str) -> list[Cell]:
        """Return the cells of a workload through nginx that can be compared, the quickest first."""
        at = self.connections(workload)
        found = [
            cell
            for key, cell in self.cells.items()
            if self._main(key) and key.workload == workload and key.connections == at
        ]
        return sorted(found, key=lambda cell: (-(cell["rate"] or 0), cell.key))

    def cell(self, subject: str, workload: str, accesses: Iterable[str] = THROUGH_NGINX) -> Cell | None:
        """Return what is compared of a subject; over a unix socket where there is both."""
        at = self.connections(workload)
        keys = (Key(subject, access, workload, TOOL, at or 0) for access in accesses)
        return next((self.cells[key] for key in keys if key in self.cells), None)

    def reference_cell(self, workload: str) -> Cell | None:
        return self.cell(self.reference, workload, ("tcp",))

    def candidates(self, workload: str, patched: bool = True) -> list[Cell]:
        """Return what may be chosen: never a cell with errors, nor one that lacks a round."""
        return [
            cell
            for cell in self.compared(workload)
            if cell.clean
            and cell["rate"]
            and self.fit(cell.key.subject)
            and (patched or not self.patches(cell.key.subject))
        ]

    def best(self, workload: str, patched: bool = True) -> Cell | None:
        """Return the one to choose: of those that are as quick as the quickest, the one with the lowest p99."""
        candidates = self.candidates(workload, patched)
        near = [cell for cell in candidates if (cell["rate"] or 0) >= ALIKE * (candidates[0]["rate"] or 0)]
        return min(near, key=lambda cell: (cell["p99"] is None, cell["p99"] or 0), default=None)

    def servers(self, workload: str) -> list[Cell]:
        """Return what the charts of a workload show: the servers, and whatever the answer speaks of."""
        named = {self.reference, self.default}
        named |= {cell.key.subject for cell in (self.best(workload), self.best(workload, False)) if cell}
        shown = {name for name, one in self.subjects.items() if one.get("set") in CHARTED} | named
        return [cell for cell in self.compared(workload) if cell.key.subject in shown]

    def of_subject(self, figure: str) -> dict[str, Spread]:
        """Return a figure of each subject that hardly depends on what is asked, over all its rounds."""
        found: dict[str, list[float | None]] = {}
        for cell in self.cells.values():
            found.setdefault(cell.key.subject, []).extend(figure_of(run, figure) for run in cell.runs)
        spreads = {subject: Spread.of(values) for subject, values in found.items()}
        return {subject: spread for subject, spread in spreads.items() if spread.median}

    @cached_property
    def settings(self) -> dict[str, list[Cell]]:
        """Return for each workload what nginx's own settings cost, in the order of the data."""
        found: dict[str, list[Cell]] = {}
        for key, cell in self.cells.items():
            if dig(self.subjects, key.subject, "set") == "nginx" and cell["cpu_proxy"]:
                found.setdefault(key.workload, []).append(cell)
        return found

    # Curves

    @cached_property
    def families(self) -> dict[str, list[Curve]]:
        """Return for each family its curves, one for each workload."""
        members: dict[str, dict[int, str]] = {}
        for name, one in self.subjects.items():
            for family, x in (one.get("families") or {}).items():
                members.setdefault(family, {})[x] = name
        found = {family: [*self._curves(family, ones)] for family, ones in members.items()}
        return {family: curves for family, curves in found.items() if curves}

    def _curves(self, family: str, ones: Mapping[int, str]) -> Iterator[Curve]:
        for workload in self.workloads:
            for access in THROUGH_NGINX:
                cells = ((x, self.cell(name, workload, (access,))) for x, name in sorted(ones.items()))
                points = [Point(x, cell) for x, cell in cells if cell]
                if len(points) > 1:
                    yield Curve(family, workload, points)
                    break

    @cached_property
    def over_connections(self) -> dict[str, list[Curve]]:
        """Return for each workload the curves of what was asked at several numbers of connections."""
        found: dict[tuple[str, str, str], list[Point]] = {}
        for key, cell in self.cells.items():
            if key.tool == TOOL and cell["rate"] is not None:
                found.setdefault((key.workload, key.subject, key.access), []).append(Point(key.connections, cell))
        curves: dict[str, list[Curve]] = {}
        for (workload, subject, access), points in found.items():
            if len(points) > 1:
                suffix = {"unix": "", "tcp": ", by TCP", "direct": ", without nginx"}[access]
                curve = Curve(self.title(subject) + suffix, workload, sorted(points, key=lambda point: point.x))
                curves.setdefault(workload, []).append(curve)
        return {workload: curves[workload] for workload in self.data["workloads"] if workload in curves}

    # What is compared

    @cached_property
    def claims(self) -> list[Claim]:
        return [self._claim(claim) for claim in self.data["claims"]]

    def _claim(self, claim: Mapping[str, Any]) -> Claim:
        key = Key(*(claim[name] for name in Key._fields))
        cell = self.cells.get(key)
        metric = claim["metric"]
        if metric == "multiple":
            one = self.cells.get(key._replace(connections=1))
            measured = ratio(cell["seconds"], one["seconds"]) if cell and one else None
        else:
            measured = cell[metric] if cell and metric in FIGURES else None
        access = {"direct": "", "tcp": " through nginx over TCP", "unix": " through nginx over a unix socket"}
        how = f"{self.workload(key.workload)}, {key.tool}, {key.connections} at a time{access[key.access]}"
        about = (key.subject, key.access, key.workload)
        why = next((one["why"] for one in self.data["missing"] if concerns(one, *about)), "not measured")
        note = (cell.trouble if cell else "") or (why if measured is None else "")
        text = claim.get("text") or ""
        return Claim(claim["tutorial"], claim["what"], how, text, claim["unit"], claim["value"], measured, note)

    @cached_property
    def limit(self) -> Cell | None:
        """Return nginx answering by itself."""
        cells = [
            cell
            for key, cell in self.cells.items()
            if dig(self.subjects, key.subject, "set") == "limits"
            and (key.access, key.tool) == ("direct", TOOL)
            and cell.clean
        ]
        return max(cells, key=lambda cell: cell["rate"] or 0, default=None)

    def hop(self, workload: str) -> Cell | None:
        """Return the least that nginx does between a client and a unix socket.

        Before an app and for the workload, if that was measured: the busier an nginx is, the less it costs per request.
        """
        cells = [
            cell
            for key, cell in self.cells.items()
            if dig(self.subjects, key.subject, "set") == "limits"
            and (key.access, key.tool) == ("unix", TOOL)
            and cell.clean
            and cell["cpu_proxy"]
        ]
        like = [cell for cell in cells if cell.key.workload == workload and self._before_an_app(cell)]
        return min(like or cells, key=lambda cell: cell["cpu_proxy"] or 0, default=None)

    def _before_an_app(self, cell: Cell) -> bool:
        return dig(self.subjects, cell.key.subject, "server") is not None

    def hop_of(self, cell_of: Any) -> tuple[str, float | None]:
        """Return what the proxy costs where the least else is done, and for which workload that is."""
        for workload in ("constant", "hello"):
            cell = cell_of(workload)
            if cell and cell["cpu_proxy"]:
                return workload, cell["cpu_proxy"]
        return "", None

    @cached_property
    def goals(self) -> list[Goal]:
        goals = []
        for workload, least in BEST_TO_BASELINE.items():
            best, reference = self.best(workload), self.reference_cell(workload)
            rates = ratio(best and best["rate"], reference and reference["rate"])
            p99s = ratio(best and best["p99"], reference and reference["p99"])
            what = f"the best on {workload}, against the tutorials' baseline"
            wanted = f"≥ {least} times the requests/s, at a lower p99"
            known = None not in (rates, p99s)
            reached = (rates or 0) >= least and (p99s or 0) < 1 if known else None
            note = self._note(best)
            goals.append(Goal(what, wanted, f"{times(rates)}, p99 {times(p99s)}", reached, note))
        for workload, least in DEFAULT_TO_BASELINE.items():
            own, reference = self.cell(self.default, workload), self.reference_cell(workload)
            rates = ratio(own and own["rate"], reference and reference["rate"])
            what = f"the untouched default on {workload}, against the same"
            reached = None if rates is None else rates >= least and own is not None and own.clean
            goals.append(Goal(what, f"≥ {least} times the requests/s", times(rates), reached, self._note(own)))
        goals += [self._behind(workload) for workload in ("io", "cpu", "mixed") if workload in self.data["workloads"]]
        workload, own_hop = self.hop_of(lambda name: self.cell(self.default, name))
        hop = self.hop(workload)
        share = ratio(own_hop, hop and hop["cpu_proxy"])
        least = self.title(hop.key.subject) if hop else "nginx to nginx"
        what = f"CPU of the proxy for the default, against {least}"
        note = f"on {workload}" if workload else ""
        reached = None if share is None else share <= PROXY_TO_LEAST
        goals.append(Goal(what, f"≤ {PROXY_TO_LEAST} times", times(share), reached, note))
        return goals

    def _behind(self, workload: str) -> Goal:
        own, candidates = self.cell(self.default, workload), self.candidates(workload)
        share = ratio(own and own["rate"], candidates[0]["rate"] if candidates else None)
        reached = None if share is None else share >= DEFAULT_TO_BEST and own is not None and own.clean
        note = self._note(own)
        if reached is False and own is not None and own.clean:
            note = f"the best: {self.configuration(candidates[0])}"
            if self.patches(candidates[0].key.subject):
                others = self.candidates(workload, patched=False)
                of_others = ratio(own["rate"], others[0]["rate"] if others else None)
                note += f", which patches the app's world; of the best that does not: {times(of_others)}"
        what = f"the untouched default on {workload}, against the best"
        return Goal(what, f"≥ {DEFAULT_TO_BEST} times the requests/s", times(share), reached, note)

    def _note(self, cell: Cell | None) -> str:
        if cell is None:
            return ""
        said = [self.configuration(cell)]
        said += ["patches the app's world"] if self.patches(cell.key.subject) else []
        said += [cell.trouble] if cell.trouble else []
        return ", ".join(said)

    # The answer

    @cached_property
    def answer(self) -> list[str]:
        """Return the three sentences that everything else bears out."""
        return [self._choice(), self._comparison(), self._distance()]

    def _choices(self, patched: bool, only: Iterable[str]) -> list[str]:
        """Return which configuration is for which workloads, those together that have the same."""
        chosen: dict[tuple[str, str], list[tuple[str, Cell]]] = {}
        for workload in only:
            if cell := self.best(workload, patched):
                chosen.setdefault((cell.key.subject, cell.key.access), []).append((workload, cell))
        return [
            f"{self.configuration(cells[0][1])} for "
            + listed(
                f"{name} ({number(cell['rate'])} requests/s, p99 {number(cell['p99'])} ms)" for name, cell in cells
            )
            for cells in chosen.values()
        ]

    def _choice(self) -> str:
        choices = self._choices(True, self.workloads)
        if not choices:
            return "No configuration answered through nginx in all rounds without an error, so none is to be chosen."
        known = {(cell.key.subject, cell.key.access) for name in self.workloads for cell in self.candidates(name)}
        text = f"Choose {'; '.join(choices)}: of {len(known)} configurations through nginx, each has the most "
        text += "requests/s without an error, or the lowest p99 among those that come within 5 % of the most"
        bests = {name: self.best(name) for name in self.workloads}
        patched = [name for name, cell in bests.items() if cell and self.patches(cell.key.subject)]
        if others := self._choices(False, patched):
            text += f"; where nothing may patch the app's world, as gevent does, {'; '.join(others)}"
        return f"{text}."

    def _comparison(self) -> str:
        parts = []
        for workload in ("hello", "io"):
            reference = self.reference_cell(workload)
            compared = []
            for who, cell in (
                ("the untouched default", self.cell(self.default, workload)),
                ("the best", self.best(workload)),
            ):
                rates = ratio(cell and cell["rate"], reference and reference["rate"])
                p99s = ratio(cell and cell["p99"], reference and reference["p99"])
                if cell and rates is not None:
                    trouble = f" with {cell.trouble}" if cell.trouble else ""
                    compared.append(f"{who} gives {times(rates)} the requests/s at {times(p99s)} the p99{trouble}")
            parts += [f"on {workload} {listed(compared)}"] if compared else []
        if not parts:
            return "Nothing can be compared with the tutorials' baseline, because one of the two was not measured."
        return f"Against the tutorials' baseline, {self.title(self.reference)}, {'; '.join(parts)}."

    def _distance(self) -> str:
        parts = []
        name = "constant" if "constant" in self.workloads else "hello"
        best = self.best(name)
        if self.limit and best:
            share = ratio(self.limit["rate"], best["rate"])
            least = "at least " if self.limit.at_least else ""
            parts.append(
                f"nginx answering by itself gives {least}{number(self.limit['rate'])} requests/s, {times(share)} what "
                f"{self.configuration(best)}, the best, gives on {name} ({number(best['rate'])})"
            )
        workload, own = self.hop_of(lambda name: self.cell(self.default, name))
        _workload, baseline = self.hop_of(self.reference_cell)
        if own:
            text = f"the hop through nginx costs the default {number(own)} CPU s per {PER:,} requests"
            if hop := self.hop(workload):
                least = hop["cpu_proxy"]
                text += f", {times(ratio(own, least))} {self.title(hop.key.subject)} ({number(least)})"
            text += f"; the baseline pays {number(baseline)}" if baseline else ""
            parts.append(text)
        if not parts:
            return "How far that is from the limit is not known, because nginx by itself was not measured."
        text = ", and ".join(parts)
        return f"{text[0].upper() if not text.startswith('nginx') else 'n'}{text[1:]}."


def problems(data: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that a benchmark lacks, or says in two ways; timings are none."""
    if data.get("format") != FORMAT:
        return [f"its format is {data.get('format')!r}; this version of the collection reads {FORMAT}."]
    lacking = [key for key in PARTS if key not in data]
    if lacking:
        return [f"it has no {listed(lacking)}."]
    found = (_subject_problems, _missing_problems, _run_problems, _comparison_problems)
    return [*dict.fromkeys(problem for some in found for problem in some(data))]


def _subject_problems(data: Mapping[str, Any]) -> Iterator[str]:
    names = Counter(one["name"] for one in data["subjects"])
    yield from (f"{name} is the name of {count} subjects." for name, count in names.items() if count > 1)
    for role, what in ROLES.items():
        chosen = [one["name"] for one in data["subjects"] if one.get(role)]
        if len(chosen) != 1:
            yield f"one subject has to be the {what}; here {listed(chosen) + ' are' if chosen else 'none is'}."
    asked = {run["subject"] for run in data["runs"]}
    missing = {one["subject"] for one in data["missing"]}
    for name in names:
        if name not in asked | missing:
            yield f"{name} has no runs, and nothing says why."
    for name in sorted(asked - set(names)):
        yield f"there are runs of {name}, which is no subject."


def _missing_problems(data: Mapping[str, Any]) -> Iterator[str]:
    named = {one["name"]: f"the {what}" for role, what in ROLES.items() for one in data["subjects"] if one.get(role)}
    for one in data["missing"]:
        name = one["subject"]
        if not one.get("why"):
            yield f"{name}{whereabouts(one)} is missing, and nothing says why."
        elif name in named or not one.get("allowed"):
            yield f"{named.get(name, name)}{whereabouts(one)} could not be measured: {one['why'].rstrip('.')}."


def _run_problems(data: Mapping[str, Any]) -> Iterator[str]:
    rounds = dig(data, "settings", "rounds") or 1
    found: dict[Key, list[int]] = {}
    for run in data["runs"]:
        key = Key(*(run[name] for name in Key._fields))
        found.setdefault(key, []).append(run["round"])
        if key.workload not in data["workloads"]:
            yield f"{_said(key)}: {key.workload} is no workload."
        if not run.get("requests") and not sum((run.get("errors") or {}).values()):
            yield f"{_said(key)}, round {run['round']}: no request was answered, and none failed."
        elif run.get("rate") is None:
            yield f"{_said(key)}, round {run['round']}: it has no rate."
    for key, numbers in found.items():
        if len(set(numbers)) < len(numbers):
            yield f"{_said(key)}: a round is there twice."
        about = (key.subject, key.access, key.workload)
        gone = set(range(1, rounds + 1)) - set(numbers)
        if any(not any(concerns(one, *about, round_) for one in data["missing"]) for round_ in gone):
            yield f"{_said(key)}: {len(set(numbers))} of {rounds} rounds."


def _comparison_problems(data: Mapping[str, Any]) -> Iterator[str]:
    figures = Figures(data)
    if data["runs"] and not figures.workloads:
        yield f"nothing was asked through nginx with {TOOL}, so there is nothing to choose from."
    for workload in figures.workloads:
        at = figures.connections(workload)
        for name, cell in (
            (figures.reference, figures.reference_cell(workload)),
            (figures.default, figures.cell(figures.default, workload)),
        ):
            told = any(concerns(one, name, workload=workload) for one in data["missing"])
            if name and cell is None and not told:
                yield f"{name} was not asked for {workload} through nginx with {at} connections, as the others were."
    for claim in figures.claims if figures.subjects else []:
        if claim.measured is None and claim.note == "not measured":
            yield f"nothing was measured for a claim of tutorial {claim.tutorial}: {claim.what} ({claim.how})."


def _said(key: Key) -> str:
    return f"{key.subject} ({key.access}), {key.workload}, {key.tool} with {key.connections} connections"
