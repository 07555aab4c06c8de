# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a benchmark's runs: cells, their medians, curves with their knees."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers

FORMAT = 1
PARTS = ("workloads", "subjects", "runs", "claims", "missing")
# Rates so near each other are alike, and the lower p99 decides; the knee of a curve is where it comes so near its best.
ALIKE = 0.95
# From them a configuration is chosen; tutorials and limits are what it is compared with.
CHOSEN_FROM = ("servers", "sweep", "own")
CHARTED = ("servers", "own")
# nginx before nginx: never chosen from, nor compared with an app.
WITHOUT_APP = ("limits", "nginx")
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
    """The key that the rounds of a cell share."""

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


class Claim(NamedTuple):
    """The claim of a tutorial, and the figure measured here."""

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
        return any(name in word for word in words for name in servers().patching())

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
