# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in one room of the collection imports nothing of a room that builds upon it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

PLUGINS = ROOT / "plugins"
PREFIX = "ansible_collections.baremetal.web.plugins."
MECHANISMS = ("apache", "nginx", "packages", "python", "redis", "supervisor")
# Each builds upon those before it.
ROOMS = ("_spec", "_controller", "_mechanisms", "_apps")


def imports(file: Path) -> Iterator[Path]:
    """Yield the files of the collection that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            base = PLUGINS.joinpath(*node.module.removeprefix(PREFIX).split("."))
            found = [base.with_suffix(".py")] if base.with_suffix(".py").exists() else []
            found += [path for alias in node.names if (path := base / f"{alias.name}.py").exists()]
            assert found, f"{file} imports {node.module}"
            yield from found


def reached(file: Path) -> dict[Path, Path]:
    """Return all files of the collection that come with one, each with a file that imports it."""
    found: dict[Path, Path] = {}
    waiting = [file]
    while waiting:
        importer = waiting.pop()
        for imported in imports(importer):
            if imported not in found:
                found[imported] = importer
                waiting.append(imported)
    return found


def plugins_of(role: str) -> set[Path]:
    """Return the plugins of the collection that a role names."""
    names = {
        name
        for file in (ROOT / "roles" / role).rglob("*")
        if file.suffix in (".yml", ".j2") and file.parent.name != "meta"
        for name in re.findall(r"\bbaremetal\.web\.([a-z_]+)", file.read_text())
    }
    return {file for name in names for file in PLUGINS.glob(f"*/{name}.py")}


@pytest.mark.parametrize("role", MECHANISMS)
def test_the_role_of_a_mechanism_uses_nothing_that_knows_apps(role: str) -> None:
    used = plugins_of(role)
    assert used
    foreign = {
        f"{plugin.relative_to(PLUGINS)}: {importer.relative_to(PLUGINS)} imports {file.relative_to(PLUGINS)}"
        for plugin in used
        for file, importer in reached(plugin).items()
        if {"_apps", "_release"} & set(file.parts)
    }
    assert foreign == set()


def test_the_room_of_hosts_imports_nothing_that_knows_releases() -> None:
    files = list((PLUGINS / "module_utils" / "_host").rglob("*.py"))
    assert any(file.parent.name == "modules" for file in files)
    foreign = {
        f"{file.name} imports {found.relative_to(PLUGINS)}"
        for file in files
        for found in imports(file)
        if "_host" not in found.parts
    }
    assert foreign == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_controller_imports_only_rooms_below_it(room: str) -> None:
    files = list((PLUGINS / "plugin_utils" / room).glob("*.py"))
    assert files
    above = ROOMS[ROOMS.index(room) + 1 :]
    for file in files:
        for imported in imports(file):
            assert imported.parent.name not in above, f"{file.name} imports {imported}"
            assert room != "_spec" or imported.parent.name == "_spec", f"{file.name} imports {imported}"
