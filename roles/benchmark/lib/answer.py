# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The meaning of a benchmark's figures, in sentences: its goals, and the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ansible_collections.baremetal.web.roles.benchmark.lib.figures import (
    PER,
    Cell,
    Figures,
    listed,
    number,
    ratio,
    times,
)

# Goals, each as a share of what it is compared with: requests/s of the best and of the default against the baseline, of
# the default against the best, and CPU seconds of its proxy against the least that nginx needs.
BEST_TO_BASELINE = {"hello": 2, "io": 5}
DEFAULT_TO_BASELINE = {"hello": 1.2, "io": 3}
DEFAULT_TO_BEST = 0.9
PROXY_TO_LEAST = 1.2


class Goal(NamedTuple):
    what: str
    wanted: str
    measured: str
    reached: bool | None
    note: str = ""


def goals(figures: Figures) -> list[Goal]:
    return [
        *(_best_to_baseline(figures, workload, least) for workload, least in BEST_TO_BASELINE.items()),
        *(_default_to_baseline(figures, workload, least) for workload, least in DEFAULT_TO_BASELINE.items()),
        *(_default_to_best(figures, name) for name in ("io", "cpu", "mixed") if name in figures.data["workloads"]),
        _proxy_to_least(figures),
    ]


def _best_to_baseline(figures: Figures, workload: str, least: float) -> Goal:
    best, reference = figures.best(workload), figures.reference_cell(workload)
    rates = ratio(best and best["rate"], reference and reference["rate"])
    p99s = ratio(best and best["p99"], reference and reference["p99"])
    what = f"the best on {workload}, against the tutorials' baseline"
    wanted = f"≥ {least} times the requests/s, at a lower p99"
    reached = rates >= least and p99s < 1 if rates is not None and p99s is not None else None
    return Goal(what, wanted, f"{times(rates)}, p99 {times(p99s)}", reached, _note(figures, best))


def _default_to_baseline(figures: Figures, workload: str, least: float) -> Goal:
    own, reference = figures.cell(figures.default, workload), figures.reference_cell(workload)
    rates = ratio(own and own["rate"], reference and reference["rate"])
    what = f"the untouched default on {workload}, against the same"
    reached = None if rates is None else rates >= least and own is not None and own.clean
    return Goal(what, f"≥ {least} times the requests/s", times(rates), reached, _note(figures, own))


def _proxy_to_least(figures: Figures) -> Goal:
    workload, own = figures.hop_of(lambda name: figures.cell(figures.default, name))
    hop = figures.hop(workload)
    share = ratio(own, hop and hop["cpu_proxy"])
    what = f"CPU of the proxy for the default, against {figures.title(hop.key.subject) if hop else 'nginx to nginx'}"
    reached = None if share is None else share <= PROXY_TO_LEAST
    return Goal(what, f"≤ {PROXY_TO_LEAST} times", times(share), reached, f"on {workload}" if workload else "")


def _default_to_best(figures: Figures, workload: str) -> Goal:
    own, candidates = figures.cell(figures.default, workload), figures.candidates(workload)
    share = ratio(own and own["rate"], candidates[0]["rate"] if candidates else None)
    reached = None if share is None else share >= DEFAULT_TO_BEST and own is not None and own.clean
    note = _note(figures, own)
    if reached is False and own is not None and own.clean:
        note = f"the best: {figures.configuration(candidates[0])}"
        if figures.patches(candidates[0].key.subject):
            others = figures.candidates(workload, patched=False)
            of_others = ratio(own["rate"], others[0]["rate"] if others else None)
            note += f", which patches the app's world; of the best that does not: {times(of_others)}"
    what = f"the untouched default on {workload}, against the best"
    return Goal(what, f"≥ {DEFAULT_TO_BEST} times the requests/s", times(share), reached, note)


def _note(figures: Figures, cell: Cell | None) -> str:
    if cell is None:
        return ""
    said = [figures.configuration(cell)]
    said += ["patches the app's world"] if figures.patches(cell.key.subject) else []
    said += [cell.trouble] if cell.trouble else []
    return ", ".join(said)


def answer(figures: Figures) -> list[str]:
    """Return the three sentences that everything else bears out."""
    return [_choice(figures), _comparison(figures), _distance(figures)]


def _choices(figures: Figures, patched: bool, only: Iterable[str]) -> list[str]:
    """Return which configuration is for which workloads, those together that have the same."""
    chosen: dict[tuple[str, str], list[tuple[str, Cell]]] = {}
    for workload in only:
        if cell := figures.best(workload, patched):
            chosen.setdefault((cell.key.subject, cell.key.access), []).append((workload, cell))
    return [
        f"{figures.configuration(cells[0][1])} for "
        + listed(f"{name} ({number(cell['rate'])} requests/s, p99 {number(cell['p99'])} ms)" for name, cell in cells)
        for cells in chosen.values()
    ]


def _choice(figures: Figures) -> str:
    choices = _choices(figures, True, figures.workloads)
    if not choices:
        return "No configuration answered through nginx in all rounds without an error, so none is to be chosen."
    known = {(cell.key.subject, cell.key.access) for name in figures.workloads for cell in figures.candidates(name)}
    text = f"Choose {'; '.join(choices)}: of {len(known)} configurations through nginx, each has the most "
    text += "requests/s without an error, or the lowest p99 among those that come within 5 % of the most"
    bests = {name: figures.best(name) for name in figures.workloads}
    patched = [name for name, cell in bests.items() if cell and figures.patches(cell.key.subject)]
    if others := _choices(figures, False, patched):
        text += f"; where nothing may patch the app's world, as gevent does, {'; '.join(others)}"
    return f"{text}."


def _comparison(figures: Figures) -> str:
    parts = []
    for workload in ("hello", "io"):
        reference = figures.reference_cell(workload)
        compared = []
        for who, cell in (
            ("the untouched default", figures.cell(figures.default, workload)),
            ("the best", figures.best(workload)),
        ):
            rates = ratio(cell and cell["rate"], reference and reference["rate"])
            p99s = ratio(cell and cell["p99"], reference and reference["p99"])
            if cell and rates is not None:
                trouble = f" with {cell.trouble}" if cell.trouble else ""
                compared.append(f"{who} gives {times(rates)} the requests/s at {times(p99s)} the p99{trouble}")
        parts += [f"on {workload} {listed(compared)}"] if compared else []
    if not parts:
        return "Nothing can be compared with the tutorials' baseline, because one of the two was not measured."
    return f"Against the tutorials' baseline, {figures.title(figures.reference)}, {'; '.join(parts)}."


def _distance(figures: Figures) -> str:
    parts = []
    name = "constant" if "constant" in figures.workloads else "hello"
    best = figures.best(name)
    if figures.limit and best:
        share = ratio(figures.limit["rate"], best["rate"])
        least = "at least " if figures.limit.at_least else ""
        parts.append(
            f"nginx answering by itself gives {least}{number(figures.limit['rate'])} requests/s, {times(share)} what "
            f"{figures.configuration(best)}, the best, gives on {name} ({number(best['rate'])})"
        )
    workload, own = figures.hop_of(lambda name: figures.cell(figures.default, name))
    _workload, baseline = figures.hop_of(figures.reference_cell)
    if own:
        text = f"the hop through nginx costs the default {number(own)} CPU s per {PER:,} requests"
        if hop := figures.hop(workload):
            least = hop["cpu_proxy"]
            text += f", {times(ratio(own, least))} {figures.title(hop.key.subject)} ({number(least)})"
        text += f"; the baseline pays {number(baseline)}" if baseline else ""
        parts.append(text)
    if not parts:
        return "How far that is from the limit is not known, because nginx by itself was not measured."
    text = ", and ".join(parts)
    return f"{text[0].upper() if not text.startswith('nginx') else 'n'}{text[1:]}."
