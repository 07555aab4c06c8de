# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of a benchmark's report: missing figures, and statements that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.roles.benchmark.lib.figures import (
    FORMAT,
    PARTS,
    TOOL,
    Figures,
    Key,
    concerns,
    dig,
    listed,
    whereabouts,
)

# One subject has each of them.
ROLES = {"reference": "reference (the tutorials' baseline)", "default": "untouched default"}


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
