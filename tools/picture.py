"""Draw docs/performance.svg, the picture in README.md. ``python -m tools.picture``.

The figures stand in a table of docs/performance.md alone, and the charts of the benchmark's report draw them.
"""

import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / ".collections"))

from ansible_collections.baremetal.web.roles.benchmark.lib import charts  # noqa: E402

PAGE = REPOSITORY / "docs" / "performance.md"
PICTURE = REPOSITORY / "docs" / "performance.svg"
REPORT = REPOSITORY / "roles" / "benchmark" / "lib" / "report.html.j2"
TABLE = "requests/s through nginx"
# The beginning of a column's heading, and the title of its chart.
COLUMNS = {"`/hello`": "An answer that takes 1 ms", "50 ms": "An answer that waits for 50 ms"}
# A bar's label, how it is filled, its row, and which of the row's settings it shows.
BARS = (
    ("gunicorn, as in older tutorials: sync x 16", "reference", r"gunicorn sync x 16", ""),
    ("gunicorn, the default: gthread 2 x 32", "default", r"\W*(?:gunicorn )?gthread 2 x 32\b", ""),
    ("uWSGI 2 x 32", "plain", r"uWSGI ", "2 x 32"),
    ("granian 2 x 32", "plain", r"granian ", "2 x 32"),
)
GAP, HEADING = 24, 28
TIMES = "\N{MULTIPLICATION SIGN}"


def cells(line: str) -> list[str]:
    """Return the cells of a table's row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def figures(page: str) -> dict[str, dict[str, str]]:
    """Return for each chart's title the figure of each bar, as the table has it."""
    lines = page.replace(TIMES, "x").splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith(f"| {TABLE}"))
    heading = cells(lines[start])
    rows = [cells(line) for line in lines[start + 2 : lines.index("", start)]]
    found: dict[str, dict[str, str]] = {}
    for column, title in COLUMNS.items():
        (index,) = (index for index, name in enumerate(heading) if name.startswith(column))
        for label, _fill, pattern, setting in BARS:
            row = next(row for row in rows if re.match(pattern, row[0]) and setting in row[0])
            values = re.split(r", (?=\d)", row[index])
            settings = re.findall(r"\d+ x \d+", row[0])
            found.setdefault(title, {})[label] = values[settings.index(setting) if setting else 0]
    return found


def draw(page: str) -> str:
    """Return the picture of a page's table, in the style of the report."""
    report = REPORT.read_text()
    patterns = re.findall(r"<pattern .*</pattern>", report)
    rules = [line for line in report.splitlines() if line.startswith((".chart ", "rect."))]
    drawn, left, height = [], 0, 0
    for title, values in figures(page).items():
        bars = [
            charts.Bar(
                label.replace(" x ", f" {TIMES} "), (float(values[label].replace(",", "")),), values[label], fill=fill
            )
            for label, fill, _pattern, _setting in BARS
        ]
        chart = charts.bars(title, "requests/s", bars)
        (size,) = re.findall(r'viewBox="0 0 (\d+) (\d+)"', chart)
        drawn.append(f'<text class="heading" x="{left + 10}" y="20">{title}</text>')
        drawn.append(f'<svg x="{left}" y="{HEADING}" width="{size[0]}" height="{size[1]}"{chart.removeprefix("<svg")}')
        left, height = left + int(size[0]) + GAP, HEADING + int(size[1])
    frame = f'width="{left - GAP}" height="{height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {frame} viewBox="0 0 {left - GAP} {height}">',
            "<style>",
            ".heading { font: bold 14px sans-serif; fill: #111; }",
            *rules,
            "</style>",
            "<defs>",
            *patterns,
            "</defs>",
            f'<rect {frame} fill="#fff"/>',
            *drawn,
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(PAGE.read_text()))
    print(f"wrote {PICTURE.relative_to(REPOSITORY)}")
