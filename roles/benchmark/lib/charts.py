# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts as SVG for a page of ours: laid out by pygal, drawn so that black and white is enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree import ElementTree

from ansible.errors import AnsibleError

# So wide that its letters can be read when a phone shows it.
WIDTH = 400
ROW = 40
LABEL_LENGTH = 54
# The lines of a chart differ in dashes, in marks and in colour.
DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4", "4 2 1 2")
COLOURS = ("#000", "#1b5e92", "#a63a1e", "#2f6b34", "#6a3d9a", "#7a5c00")
MARKS = (
    "M-4-4H4V4H-4Z",
    "M0-5L5 4H-5Z",
    "M0-5L5 0L0 5L-5 0Z",
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "M0 5L5-4H-5Z",
    "M-5-2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
)
LINES = len(DASHES)


class Bar(NamedTuple):
    """One bar: its parts, how far its rounds are apart, and the class that says how it is filled."""

    label: str
    parts: tuple[float, ...]
    shown: str
    least: float | None = None
    most: float | None = None
    fill: str = "plain"


class Line(NamedTuple):
    """One line: y for each x; the x to mark, and those to leave open."""

    values: Mapping[int, float]
    knee: int | None = None
    open: frozenset[int] = frozenset()


def library() -> ModuleType:
    """Return pygal, which draws with the standard library's XML whatever else there is."""
    try:
        import pygal
        from pygal.etree import etree
    except ImportError:
        raise AnsibleError(
            f"The report's charts need pygal, which {sys.executable} does not have: run "
            f"`{sys.executable} -m pip install pygal` and try again."
        ) from None
    etree.to_etree()
    return pygal


def tick(value: float) -> str:
    return f"{value:,.10g}"


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Draw horizontal bars, the first on top, each below its label."""
    pygal = library()
    stacked = max(len(row.parts) for row in rows) > 1
    most = max(max(sum(row.parts), row.most or 0) for row in rows)
    chart = (pygal.HorizontalStackedBar if stacked else pygal.HorizontalBar)(
        **_settings(pygal, ROW * len(rows) + 60),
        x_labels=[""] * len(rows),
        y_title=None,
        x_title=unit,
        range=(0, most * 1.02 or 1),
    )
    # The upper part of a row is its label's.
    chart._series_margin = 0.29
    for part in range(len(rows[0].parts)):
        # From the bottom up.
        chart.add("", [_value(row, row.parts[part]) for row in reversed(rows)])
    root = _bare(chart.render_tree(), title)
    _label(root, [*reversed(rows)])
    for part, group in enumerate(_plot(root)):
        for drawn, row in zip(_all(group, "bar"), reversed(rows), strict=True):
            for rect in drawn.findall("rect"):
                rect.set("class", row.fill if not part else "proxy")
            ElementTree.SubElement(drawn, "title").text = f"{row.label}: {row.shown}"
    return ElementTree.tostring(root, encoding="unicode")


def lines(title: str, x_title: str, y_title: str, curves: Sequence[Line], most: float | None = None) -> str:
    """Draw lines over values that are set apart evenly, however far they are from each other."""
    pygal = library()
    xs = sorted({x for curve in curves for x in curve.values})
    top = most or max((max(curve.values.values()) for curve in curves), default=0) * 1.05 or 1
    chart = pygal.Line(
        **_settings(pygal, 290),
        x_labels=[tick(x) for x in xs],
        x_title=x_title,
        y_title=y_title,
        range=(0, top),
        allow_interruptions=False,
    )
    for curve in curves:
        chart.add("", [curve.values.get(x) for x in xs])
    root = _bare(chart.render_tree(), title)
    for group in (found for found in root.iter("g") if "series" in found.get("class", "").split()):
        index = next(int(name[6:]) for name in group.get("class", "").split() if name.startswith("serie-"))
        group.set("stroke", COLOURS[index])
        group.set("stroke-dasharray", DASHES[index])
        for dots, x in zip(_all(group, "dots"), sorted(curves[index].values), strict=False):
            _mark(dots, index, x, curves[index])
    return ElementTree.tostring(root, encoding="unicode")


def sample(index: int) -> str:
    """Draw a piece of a line, for the legend."""
    root = ElementTree.Element("svg", {"class": "sample", "viewBox": "0 0 44 12", "aria-hidden": "true"})
    line = {"d": "M0 6H44", "stroke": COLOURS[index], "stroke-dasharray": DASHES[index], "fill": "none"}
    ElementTree.SubElement(root, "path", line)
    mark = {"d": MARKS[index], "transform": "translate(22 6)", "fill": COLOURS[index]}
    ElementTree.SubElement(root, "path", mark)
    return ElementTree.tostring(root, encoding="unicode")


def _settings(pygal: ModuleType, height: int) -> dict[str, Any]:
    font = {"label_font_size": 12, "major_label_font_size": 12, "title_font_size": 12, "value_font_size": 12}
    return {
        "width": WIDTH,
        "height": height,
        "margin": 6,
        "margin_right": 18,
        "style": pygal.style.Style(font_family="sans-serif", **font),
        "css": (),
        # Nothing is fetched and nothing is run.
        "js": (),
        "no_prefix": True,
        "show_legend": False,
        "truncate_label": 25,
        "max_scale": 6,
        "value_formatter": tick,
    }


def _value(row: Bar, value: float) -> Any:
    if row.least is None or row.most is None or row.least == row.most or len(row.parts) > 1:
        return value
    return {"value": value, "ci": {"low": row.least, "high": row.most}}


def _bare(root: ElementTree.Element, title: str) -> ElementTree.Element:
    """Leave of pygal's drawing what is drawn: no date, script, style, or data for scripts."""
    for parent in [*root.iter()]:
        for child in [*parent]:
            foreign = not isinstance(child.tag, str) or child.tag in ("defs", "desc", "title")
            if foreign or "tooltip-overlay" in child.get("class", ""):
                parent.remove(child)
    for name in ("id", "xmlns"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("class", "chart")
    said = ElementTree.Element("title")
    said.text = title
    root.insert(0, said)
    return root


def _all(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (found for found in root.iter("g") if name in found.get("class", "").split())


def _plot(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the bars of each part, in the order of the parts; pygal draws them in either."""
    drawn = (group for group in _all(root, "series") if next(_all(group, "bars"), None) is not None)
    return sorted(drawn, key=lambda group: group.get("class", ""))


def _label(root: ElementTree.Element, rows: Sequence[Bar]) -> None:
    """Write above each bar what it is and what it shows."""
    (axis,) = (group for group in _all(root, "axis") if "y" in group.get("class", "").split())
    (plot,) = (group for group in root.iter("g") if group.get("class") == "plot")
    (background,) = plot.findall("rect")
    width = background.get("width", "")
    for guides, row in zip(_all(axis, "guides"), rows, strict=True):
        (text,) = guides.findall("text")
        y = f"{float(text.get('y', '0')) - 16:.1f}"
        label = row.label if len(row.label) <= LABEL_LENGTH else f"{row.label[: LABEL_LENGTH - 1]}…"
        for child in [*guides]:
            guides.remove(child)
        ElementTree.SubElement(guides, "text", {"x": "10", "y": y, "class": "what"}).text = label
        ElementTree.SubElement(guides, "text", {"x": width, "y": y, "class": "shown"}).text = row.shown


def _mark(dots: ElementTree.Element, index: int, x: int, curve: Line) -> None:
    (circle,) = dots.findall("circle")
    position = f"translate({circle.get('cx')} {circle.get('cy')})"
    dots.remove(circle)
    fill = "#fff" if x in curve.open else COLOURS[index]
    mark = {"d": MARKS[index], "transform": position, "fill": fill, "stroke-dasharray": ""}
    said = ElementTree.SubElement(ElementTree.SubElement(dots, "path", mark), "title")
    said.text = f"{tick(x)}: {tick(round(curve.values[x], 1))}"
    if x == curve.knee:
        ring = {"r": "9", "transform": position, "fill": "none", "class": "knee", "stroke-dasharray": ""}
        ElementTree.SubElement(dots, "circle", ring)
