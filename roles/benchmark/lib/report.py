# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a benchmark: one page, a table of its runs and a summary; the same data give the same bytes."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.roles.benchmark.lib import charts
from ansible_collections.baremetal.web.roles.benchmark.lib.answer import answer, goals
from ansible_collections.baremetal.web.roles.benchmark.lib.figures import (
    ALIKE,
    CHARTED,
    FORMAT,
    PARTS,
    Cell,
    Curve,
    Figures,
    Spread,
    dig,
    number,
    ratio,
    times,
    whereabouts,
)
from ansible_collections.baremetal.web.roles.benchmark.lib.problems import problems

DATA = "benchmark.json"
TEMPLATE = "report.html.j2"
MEBI = 1024 * 1024

# A column of the table of runs, and where a run has it.
COLUMNS: dict[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in ("subject", "access", "workload", "tool", "connections", "round", "client", "seconds", "requests")
    },
    "rate": ("rate",),
    **{f"{name}_ms": ("latency_ms", name) for name in ("p50", "p95", "p99", "max")},
    "bytes": ("bytes",),
    **{f"errors_{kind}": ("errors", kind) for kind in ("connect", "read", "write", "timeout", "failed", "status")},
    **{f"cpu_seconds_{group}": ("cpu_seconds", group) for group in ("server", "proxy")},
    "client_cpu": ("client_cpu",),
    **{f"memory_bytes_{group}": ("memory_bytes", group) for group in ("server", "proxy")},
    "start_seconds": ("start_seconds",),
    "command": ("command",),
}


def read(directory: str) -> dict[str, Any]:
    """Return the data of a benchmark."""
    path = os.path.join(directory, DATA)
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except FileNotFoundError:
        raise AnsibleError(f"There is no {path}; `path` has to be the directory of a benchmark.") from None
    except ValueError as error:
        raise AnsibleError(f"{path} is no JSON ({error}); was the benchmark cut off?") from None
    if not isinstance(data, dict):
        raise AnsibleError(f"{path} holds no benchmark: it has to be an object.")
    return _renamed(data)


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with the keys of today; the number of a tutorial was C(seed) once."""
    for part in ("subjects", "claims", "claims_not_chosen"):
        for one in data.get(part) or []:
            if "seed" in one:
                one["tutorial"] = one.pop("seed")
    return data


def legible(data: Mapping[str, Any]) -> bool:
    """Tell whether there is enough to make a report of, complete or not."""
    return data.get("format") == FORMAT and all(key in data for key in PARTS)


def write(path: str, text: str, check_mode: bool) -> bool:
    """Write a file when its text is another; return whether it is."""
    wanted = text.encode()
    try:
        with open(path, "rb") as stream:
            if stream.read() == wanted:
                return False
    except FileNotFoundError:
        pass
    if not check_mode:
        with open(f"{path}.new", "wb") as stream:
            stream.write(wanted)
        os.replace(f"{path}.new", path)
    return True


def files(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each file of the report by its name."""
    figures = Figures(data)
    return {"index.html": page(figures), "runs.csv": runs_table(data["runs"]), "summary.md": summary(figures)}


def runs_table(runs: Iterable[Mapping[str, Any]]) -> str:
    """Return the runs as CSV, one in a line; what a tool does not tell is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([dig(run, *keys) for keys in COLUMNS.values()] for run in runs)
    return stream.getvalue()


def summary(figures: Figures) -> str:
    """Return what a pull request has to say, as Markdown."""
    lines = [
        f"## Benchmark {_plain(figures.data.get('name', ''))}",
        "",
        *(f"{_plain(one)}\n" for one in answer(figures)),
    ]
    lines += _markdown(
        ("goal", "wanted", "measured", "reached", ""),
        ((one.what, one.wanted, one.measured, reached(one.reached), one.note) for one in goals(figures)),
    )
    lines.append("")
    lines += _markdown(
        ("workload", "who", "configuration", "requests/s", "p99 ms", "CPU s per 1,000", "errors"),
        (
            (name, who, figures.configuration(cell), cell.spread("rate"), cell.spread("p99"), number(cell.cpu),
             cell.trouble or 0)
            for name in figures.workloads
            for who, cell in _named(figures, name)
        ),
    )  # fmt: skip
    target = figures.data.get("target") or {}
    where = (
        ", ".join(str(target[key]) for key in ("platform", "model", "machine") if target.get(key))
        + f", {target.get('cpus', '?')} CPUs"
    )
    lines += ["", f"Through nginx, median (least to most) of the rounds; measured on {_plain(where)}."]
    if figures.shared:
        lines.append(f"The load came from {figures.shared}, so CPU per request is the figure to trust.")
    return "\n".join(lines) + "\n"


def reached(value: bool | None) -> str:
    return "not measured" if value is None else "yes" if value else "no"


def _markdown(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [columns, ("---",) * len(columns), *rows]
    return [f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines]


def _plain(value: Any) -> str:
    """Return a text that Markdown takes for nothing but text."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return text


def _named(figures: Figures, workload: str) -> list[tuple[str, Cell]]:
    """Return the cells that the answer speaks of."""
    named = [("best", figures.best(workload))]
    if named[0][1] and figures.patches(named[0][1].key.subject):
        named.append(("best that patches nothing", figures.best(workload, patched=False)))
    named += [("default", figures.cell(figures.default, workload)), ("reference", figures.reference_cell(workload))]
    return [(who, cell) for who, cell in named if cell]


# The page


def page(figures: Figures) -> str:
    # ansible-core brings it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, times=times, reached=reached, mebi=mebi, pretty=pretty)
    return environment.get_template(TEMPLATE).render(
        data=figures.data,
        figures=figures,
        alike=ALIKE,
        named=[(name, _named(figures, name)) for name in figures.workloads],
        claims=_claims(figures),
        workload_charts=_workload_charts(figures),
        subject_charts=_subject_charts(figures),
        settings_charts=_settings_charts(figures),
        curves=_family_charts(figures),
        connections=_connection_charts(figures),
        cells=_cells(figures),
        ratio=ratio,
        marks=lambda subject: marks(figures, subject),
        problems=problems(figures.data),
        answer=answer(figures),
        goals=goals(figures),
        whereabouts=whereabouts,
    )


def mebi(value: Spread | float | None) -> str:
    if isinstance(value, Spread):
        return str(Spread(*(None if one is None else one / MEBI for one in value)))
    return number(None if value is None else value / MEBI)


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _safe(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)


def _claims(figures: Figures) -> list[tuple[str, list[Any], list[str]]]:
    """Return for each tutorial its claims, and those whose set was not chosen."""
    tutorials: dict[str, tuple[list[Any], list[str]]] = {}
    for claim in figures.claims:
        tutorials.setdefault(claim.tutorial, ([], []))[0].append(claim)
    for one in figures.data.get("claims_not_chosen") or []:
        tutorials.setdefault(one["tutorial"], ([], []))[1].append(one["what"])
    return [(tutorial, *of) for tutorial, of in sorted(tutorials.items())]


def _fill(figures: Figures, cell: Cell, best: Cell | None) -> tuple[str, str]:
    """Return the class of a cell's bar, and what to call it."""
    name, title = cell.key.subject, figures.configuration(cell)
    title += marks(figures, name)
    if not cell.clean:
        return "errors", f"{title} ✗ {cell.trouble}"
    if best and cell.key == best.key:
        return "best", f"★ {title}"
    if name == figures.default:
        return "default", title
    return ("reference", f"reference: {title}") if name == figures.reference else ("plain", title)


def marks(figures: Figures, subject: str) -> str:
    """Return the signs that the page explains."""
    return ("\N{DAGGER}" if figures.patches(subject) else "") + (
        "\N{DOUBLE DAGGER}" if figures.other_app(subject) else ""
    )


def _workload_charts(figures: Figures) -> list[dict[str, Any]]:
    """Return for each workload its charts, the quickest on top in all of them."""
    found = []
    for name in figures.workloads:
        cells, best = figures.servers(name), figures.best(name)
        rows = [(cell, *_fill(figures, cell, best)) for cell in cells]
        drawn = []
        for title, unit, figure in (("Rate", "requests/s", "rate"), ("99th percentile", "p99, ms", "p99")):
            spreads = [(cell.spread(figure), fill, label) for cell, fill, label in rows]
            bars = [
                charts.Bar(label, (one.median,), number(one.median), one.least, one.most, fill)
                for one, fill, label in spreads
                if one.median is not None
            ]
            drawn += [(title, _safe(charts.bars(f"{title}, {name}", unit, bars)))] if bars else []
        stacks = [
            charts.Bar(label, (cell["cpu_server"] or 0, cell["cpu_proxy"] or 0), number(cell.cpu), fill="plain")
            for cell, _fill_class, label in rows
            if cell.cpu is not None
        ]
        if stacks:
            svg = charts.bars(f"CPU, {name}", "CPU s per 1,000 requests", stacks)
            drawn.append(("CPU: server, and proxy after it", _safe(svg)))
        found.append({"name": name, "connections": figures.connections(name), "charts": drawn})
    return found


def _subject_charts(figures: Figures) -> list[tuple[str, Any]]:
    """Return the charts of what is the same whatever is asked."""
    drawn = []
    for title, unit, figure, scale in (
        ("Memory of the server", "PSS of all its processes, MiB", "memory_server", MEBI),
        ("Start", "s from the start to the first answer", "start", 1),
    ):
        spreads = figures.of_subject(figure)
        bars = []
        for name, spread in sorted(spreads.items(), key=lambda item: (item[1].median, item[0])):
            one = figures.subjects.get(name, {})
            if one.get("set") in CHARTED or name in (figures.default, figures.reference):
                fill = "default" if name == figures.default else "reference" if one.get("reference") else "plain"
                label = figures.title(name) + marks(figures, name)
                median, least, most = (value / scale for value in spread if value is not None)
                bars.append(charts.Bar(label, (median,), number(median), least, most, fill))
        drawn += [(title, _safe(charts.bars(title, unit, bars)))] if bars else []
    return drawn


def _settings_charts(figures: Figures) -> list[tuple[str, Any]]:
    """Return for each workload a chart of what nginx's own settings cost."""
    drawn = []
    for workload, cells in figures.settings.items():
        bars = []
        for cell in cells:
            one = cell.spread("cpu_proxy")
            fill, label = _fill(figures, cell, None)
            bars.append(charts.Bar(label, (one.median,), number(one.median), one.least, one.most, fill))
        svg = charts.bars(f"CPU of nginx, {workload}", "CPU s per 1,000 requests", bars)
        drawn.append((figures.workload(workload), _safe(svg)))
    return drawn


def _family_charts(figures: Figures) -> list[dict[str, Any]]:
    """Return for each family a chart of its curves, each in per cent of its own best."""
    found = []
    for family, curves in figures.families.items():
        for some in _some(curves):
            drawn = [
                charts.Line(
                    {point.x: 100 * (point.cell["rate"] or 0) / (curve.best or 1) for point in curve.points},
                    curve.knee,
                    frozenset(point.x for point in curve.points if not point.cell.clean),
                )
                for curve in some
                if curve.best
            ]
            kept = [curve for curve in some if curve.best]
            if drawn:
                most = max(106, *(1.03 * value for line in drawn for value in line.values.values()))
                svg = charts.lines(f"Scaling: {family}", family, "% of the best rate", drawn, most)
                said = [_curve_said(curve, curve.workload) for curve in kept]
                found.append({"title": family, "svg": _safe(svg), "legend": _legend(said)})
    return found


def _connection_charts(figures: Figures) -> list[dict[str, Any]]:
    found = []
    for workload, curves in figures.over_connections.items():
        for some in _some(curves):
            drawn = [
                charts.Line(
                    {point.x: point.cell["rate"] or 0 for point in curve.points},
                    curve.knee,
                    frozenset(point.x for point in curve.points if not point.cell.clean),
                )
                for curve in some
            ]
            svg = charts.lines(f"Connections, {workload}", "connections at a time", "requests/s", drawn)
            said = [_curve_said(curve, curve.name) for curve in some]
            found.append({"title": figures.workload(workload), "svg": _safe(svg), "legend": _legend(said)})
    return found


def _curve_said(curve: Curve, name: str) -> str:
    if curve.knee is None:
        return f"{name}: errors or missing rounds everywhere"
    return f"{name}: best {number(curve.best)} requests/s, knee at {charts.tick(curve.knee)}"


def _some(curves: list[Curve]) -> list[list[Curve]]:
    """Return as many at a time as one chart can tell apart."""
    return [curves[start : start + charts.LINES] for start in range(0, len(curves), charts.LINES)]


def _legend(said: list[str]) -> list[tuple[Any, str]]:
    return [(_safe(charts.sample(index)), text) for index, text in enumerate(said)]


def _cells(figures: Figures) -> list[tuple[str, list[Cell]]]:
    """Return all cells by workload, in the order of the data, the quickest first."""
    found: dict[str, list[Cell]] = {name: [] for name in figures.data["workloads"]}
    for cell in figures.cells.values():
        found.setdefault(cell.key.workload, []).append(cell)
    return [
        (name, sorted(cells, key=lambda cell: (cell.key.tool, cell.key.connections, -(cell["rate"] or 0), cell.key)))
        for name, cells in found.items()
        if cells
    ]
