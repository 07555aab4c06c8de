"""What steers a playbook: the command line, and variables of the inventory that bear the name of their part alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, meta

from conftest import ROOT

PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# Ansible's own, and what a loop or a prompt sets.
MAGIC = {"ansible_facts", "group_names", "groups", "hostvars", "inventory_dir", "inventory_hostname", "item", "omit"}
PREFIXES = ("ansible_", "said_", "__", *(f"{path.name}_" for path in (ROOT / "roles").iterdir()))
PREFIXES += tuple(f"{path.stem}_" for path in PLAYBOOKS)
FACTS: set[str] = set()  # that a task sets: those of an inventory come after them
KEYS_WITHOUT_BRACES = ("when", "that", "failed_when", "changed_when", "until")


def read(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each expression of a playbook and of what it includes, with the variables that are set there."""
    for play in yaml.safe_load(path.read_text()):
        yield from _expressions(play, {})


def _expressions(node: Any, known: dict[str, Any], bare: bool = False) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(node, dict):
        known = {**known, **(node.get("vars") or {})}
        known |= {prompt["name"]: "" for prompt in node.get("vars_prompt", [])}
        for key, value in node.items():
            if key == "ansible.builtin.set_fact":
                FACTS.update(value)
            if key in ("ansible.builtin.include_tasks", "ansible.builtin.import_tasks"):
                name = value if isinstance(value, str) else value["file"]
                folder = ROOT / "playbooks" / ("" if name.startswith("tasks/") else "tasks")
                for task in yaml.safe_load((folder / name).read_text()):
                    yield from _expressions(task, known)
            else:
                yield from _expressions(value, known, bare=key in KEYS_WITHOUT_BRACES)
    elif isinstance(node, list):
        for value in node:
            yield from _expressions(value, known, bare)
    elif isinstance(node, str):
        yield known, f"{{{{ {node} }}}}" if bare else node


class Lenient(dict):  # type: ignore[type-arg]
    """Filters and tests of any name, for the parser alone."""

    def __contains__(self, _name: object) -> bool:
        return True

    def get(self, _name: Any, _default: Any = None) -> Any:
        return lambda *_: None


def variables(expression: str) -> set[str]:
    environment = Environment()
    environment.filters, environment.tests = Lenient(), Lenient()
    return meta.find_undeclared_variables(environment.parse(expression)) - {"lookup", "query", "now"}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_no_variable_of_an_inventory_steers_a_playbook_by_chance(path: Path) -> None:
    found = {
        name
        for known, expression in list(read(path))
        for name in variables(expression)
        if name not in known and name not in MAGIC | FACTS and not name.startswith(PREFIXES)
    }
    assert found == set()


def ask(place: Path, *words: str, inventory: str = "", **options: str) -> tuple[int, str]:
    """Run a play that shows what the command line says of the app; return its exit status and what it printed."""
    place.joinpath("hosts.ini").write_text(f"localhost ansible_connection=local {inventory}\n")
    more = "".join(f", {key}={value}" for key, value in options.items())
    said = f"{{{{ lookup('baremetal.web.command_line', 'app'{more}) | to_json }}}}"
    task = {"ansible.builtin.debug": {"msg": f"said {said} end"}}
    place.joinpath("play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    done = subprocess.run(
        ["ansible-playbook", "-i", "hosts.ini", "play.yml", *words],
        cwd=place,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    "words",
    [["-e", "app=shop"], ["-e", '{"app": "shop"}'], ["-e", "@more.yml"], ["-e", "name=shop", "-e", "app={{ name }}"]],
)
def test_the_command_line_counts_in_whatever_form(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "more.yml").write_text("app: shop\n")
    code, output = ask(tmp_path, *words, inventory="app=blog")
    assert (code, 'said \\"shop\\" end' in output or 'said "shop" end' in output) == (0, True), output
    assert "no effect" not in output


def test_a_variable_of_the_inventory_has_no_effect_and_that_is_said(tmp_path: Path) -> None:
    code, output = ask(tmp_path, inventory="app=blog")
    assert code == 0
    assert 'said "" end' in output.replace("\\", "")
    assert "The inventory has a variable app, which has no effect here" in output


def test_an_empty_value_is_refused_and_a_list_is_one(tmp_path: Path) -> None:
    code, output = ask(tmp_path, "-e", "app=")
    assert code == 2
    assert "-e app has no value. Give it one, or leave it out." in output
    code, output = ask(tmp_path, "-e", "app=shop,blog", elements="true")
    assert 'said ["shop", "blog"] end' in output.replace("\\", "")


@pytest.mark.parametrize("said", ["app=shop,", "app=,", '{"app": [""]}', '{"app": [3]}'])
def test_a_list_with_a_part_that_is_no_name_is_refused(tmp_path: Path, said: str) -> None:
    code, output = ask(tmp_path, "-e", said, elements="true")
    assert code == 2
    assert "has a part that is no name. Write -e app=one,two." in output
