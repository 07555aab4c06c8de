"""The documentation says what the code says; ``pytest tests/unit/test_docs.py --write-docs`` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.plugin_utils.apps import COLLECTION_ROOT, servers
from ansible_collections.baremetal.web.plugins.plugin_utils.command_line import word_problems

PAGE = Path(COLLECTION_ROOT) / "docs" / "servers.md"
BEGIN, END = "<!-- options -->\n", "<!-- /options -->\n"


def shown(value: Any) -> str:
    """Return a default as it is written in YAML, short enough for a table."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(value)
    text = '""' if value == "" else str(value)
    return "(a line)" if len(text) > 20 else text


def options_table() -> str:
    """Return the table of the options: a row for each, a column for each kind, a cell with its defaults."""
    kinds = list(servers().kinds)
    defaults: dict[str, dict[str, dict[str, list[str]]]] = {}
    for kind, worker_class in servers().variants():
        for interface in servers().variant(kind, worker_class, "")["interfaces"]:
            options = servers().variant(kind, worker_class, interface)["options"]
            for option, value in options.items():
                cell = defaults.setdefault(option, {}).setdefault(kind, {})
                for name in [worker_class] if worker_class else [interface]:
                    if name not in cell.setdefault(shown(value), []):
                        cell[shown(value)].append(name)
    everywhere = {
        kind: {worker_class or interface for (other, worker_class) in servers().variants() if other == kind
               for interface in servers().variant(kind, worker_class, "")["interfaces"]}
        for kind in kinds
    }  # fmt: skip
    lines = [f"| option | {' | '.join(f'`{kind}`' for kind in kinds)} |", f"| --- |{' --- |' * len(kinds)}"]
    for option in sorted(defaults):
        cells = []
        for kind in kinds:
            cell = defaults[option].get(kind, {})
            cells.append(
                ", ".join(
                    value if set(names) == everywhere[kind] else f"{value} ({', '.join(names)})"
                    for value, names in cell.items()
                )
            )
        lines.append(f"| `{option}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def test_the_table_of_the_servers_options_is_what_they_have(pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    current, _, after = rest.partition(END)
    if pytestconfig.getoption("write_docs"):
        PAGE.write_text(before + BEGIN + options_table() + END + after)
    else:
        assert current == options_table()


def test_every_command_in_the_documentation_says_words_that_its_playbook_reads() -> None:
    root = Path(COLLECTION_ROOT)
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "playbooks").glob("*.yml")]
    commands = [
        found
        for page in pages
        for found in re.findall(
            r"(?:ansible-playbook )?(baremetal\.web\.\w+|\bsite\.yml)([^\n`;]*-e [^\n`;]*)", page.read_text()
        )
    ]
    assert len(commands) > 20
    for playbook, words in commands:
        said = re.findall(r"-e ['\"]?(\w+)=", words)
        assert word_problems(said, [str(root / playbook) if playbook == "site.yml" else playbook], []) == [], words
