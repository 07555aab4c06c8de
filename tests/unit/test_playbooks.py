"""What steers a playbook: the command line, and variables of the inventory that bear the name of their part alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, meta

from ansible_collections.baremetal.web.plugins.plugin_utils._controller import command_line
from conftest import ROOT

PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# Ansible's own, and what a loop or a prompt sets.
MAGIC = {"ansible_facts", "group_names", "groups", "hostvars", "inventory_dir", "inventory_hostname", "item", "omit"}
PREFIXES = ("ansible_", "said_", "__", *(f"{path.name}_" for path in (ROOT / "roles").iterdir()))
PREFIXES += tuple(f"{path.stem}_" for path in PLAYBOOKS)
FACTS: set[str] = set()  # that a task sets: those of an inventory come after them
KEYS_WITHOUT_BRACES = ("when", "that", "failed_when", "changed_when", "until")


def plays(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the plays of a playbook; those of the benchmark stand beside its role."""
    for play in yaml.safe_load(path.read_text()):
        imported = play.get("ansible.builtin.import_playbook", "")
        yield from plays(path.parent / imported) if imported.startswith("../") else [play]


def read(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each expression of a playbook and of what it includes, with the variables that are set there."""
    for play in plays(path):
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
                for task in yaml.safe_load((ROOT / "playbooks/tasks" / Path(name).name).read_text()):
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


def ask(
    place: Path, *words: str, inventory: str = "", hosts: int = 1, what: str = "", **options: str
) -> tuple[int, str]:
    """Run a play that shows what the command line says of the app; return its exit status and what it printed."""
    lines = [f"host{number} ansible_connection=local {inventory}\n" for number in range(hosts)]
    place.joinpath("hosts.ini").write_text("".join(lines))
    more = "".join(f", {key}={value}" for key, value in options.items())
    what = what or f"lookup('baremetal.web.command_line', 'app'{more})"
    said = f"{{{{ {what} | to_json }}}}"
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


def registered(node: Any) -> Iterator[str]:
    """Yield the names that tasks register."""
    if isinstance(node, dict):
        if "register" in node:
            yield node["register"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from registered(value)


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_table_has_the_words_that_a_playbook_reads(path: Path) -> None:
    tasks = [yaml.safe_load(file.read_text()) for file in (ROOT / "playbooks/tasks").glob("*.yml")]
    made = set(registered([*plays(path), *tasks]))
    expressions = list(read(path))
    found = {
        word
        for _, expression in expressions
        for word in re.findall(r"baremetal\.web\.command_line',\s*'(\w+)'", expression)
    }
    for play in plays(path):
        found |= {prompt["name"] for prompt in play.get("vars_prompt", [])}
        made |= set(play.get("vars", {}))
    for known, expression in expressions:
        own = {name for name in variables(expression) if name.startswith(f"{path.stem}_")}
        found |= own - made - FACTS - set(known) - set(command_line.settings(command_line.ROLES))
    assert found == set(command_line.WORDS[path.stem])


def problems(playbook: str, *said: str, **inventory: Any) -> list[str]:
    return command_line.word_problems(said, [playbook], [inventory])


@pytest.mark.parametrize(
    ("playbook", "said", "meant"),
    [
        *((name, said, "app") for name in ("site", "deploy", "status") for said in ("apps", "App", "APP", "aap", "ap")),
        ("deploy", "verison", "version"),
        ("site", "versoin", "version"),
        ("deploy", "massage", "message"),
        ("deploy", "lock-wait", "lock_wait"),
        ("rollback", "too", "to"),
        ("rollback", "To", "to"),
        ("rollback", "froce", "force"),
        ("remove", "confrim", "confirm"),
        ("remove", "remvoe", "remove"),
        ("remove", "remove_dat", "remove_data"),
        ("remove", "unpublsih", "unpublish"),
        ("history", "line", "lines"),
        ("deploy", "deploy_seral", "deploy_serial"),
        ("upgrade", "upgrade_timout", "upgrade_timeout"),
        ("site", "wsgi_appz", "wsgi_apps"),
        ("site", "wgsi_apps", "wsgi_apps"),
        ("site", "supervisor_web_prot", "supervisor_web_port"),
        ("upgrade", "packages_upgrade_enable", "packages_upgrade_enabled"),
        ("benchmark", "benchmark_secons", "benchmark_seconds"),
    ],
)
def test_a_misspelt_word_is_refused_with_the_one_that_is_meant(playbook: str, said: str, meant: str) -> None:
    assert problems(f"baremetal.web.{playbook}", said) == [
        f"-e {said} has no effect: no playbook or role of baremetal.web reads it (did you mean {meant}?). Correct it, "
        "or give a variable of your own another name."
    ]


def test_a_word_of_another_playbook_is_refused() -> None:
    assert problems("baremetal.web.site", "app", "version") == [
        "-e version has no effect: deploy reads it, and site reads app, site_survey and unpublish from the command "
        "line. Leave it out, or run the playbook that you mean."
    ]
    assert "status reads no word of the command line" in problems("baremetal.web.status", "app")[0]
    for playbook, word in (("deploy", "to"), ("rollback", "version"), ("rollback", "deploy_serial"), ("lock", "force")):
        assert problems(str(ROOT / f"playbooks/{playbook}.yml"), word)[0].startswith(f"-e {word} has no effect: ")


@pytest.mark.parametrize(
    ("playbook", "word", "value", "said"),
    [
        ("deploy", "app", {"shop": 1}, "the name of an app"),
        ("deploy", "app", "shop blog", "the name of an app"),
        ("rollback", "app", "shop,blog", "rollback takes one app. Run it once for each."),
        ("lock", "app", ["shop", "blog"], "lock takes one app. Run it once for each."),
        ("site", "unpublish", "a b", "the name of an app"),
        ("site", "site_survey", "maybe", "true or false"),
        *(("deploy", "deploy_serial", value, "a share of them") for value in ("abc", 0, -1, "0", "101%", "1,x", 1.5)),
        ("rollback", "rollback_serial", "half", "a share of them"),
        ("upgrade", "upgrade_serial", "0%", "a share of them"),
        ("deploy", "redeploy", "maybe", "true or false"),
        ("deploy", "deploy_switch_back", "never", "true or false"),
        ("rollback", "force", ["x"], "true or false"),
        ("remove", "remove_data", "all", "true or false"),
        ("deploy", "lock_wait", "5m", "a number of seconds, 0 or more"),
        ("rollback", "lock_wait", -1, "a number of seconds, 0 or more"),
        ("upgrade", "upgrade_timeout", "long", "a number of seconds, 1 or more"),
        ("history", "lines", 0, "a number of lines"),
        ("deploy", "version", {"shop": "v2"}, "a branch, tag or commit"),
        ("deploy", "version", "v2 v3", "a branch, tag or commit"),
        ("rollback", "to", ["v1"], "a text"),
        ("lock", "message", {"a": 1}, "a text"),
    ],
)
def test_a_word_with_a_value_that_it_cannot_have_is_refused(playbook: str, word: str, value: Any, said: str) -> None:
    (problem,) = command_line.value_problems({word: value}, [f"baremetal.web.{playbook}"])
    assert problem.startswith(f"-e {word} is {value!r}; ")
    assert said in problem


@pytest.mark.parametrize(
    ("playbook", "values"),
    [
        ("deploy", {"app": "shop, blog", "deploy_serial": "1,30%", "redeploy": "yes", "lock_wait": "60", "version": 2}),
        ("deploy", {"app": ["shop"], "deploy_serial": [1, "25.5%", "100%"], "redeploy": True, "deploy_switch_back": 0}),
        ("deploy", {"app": "", "message": "the new\nbasket", "version": ""}),  # an empty one is told by its reader
        ("rollback", {"app": "shop", "to": "my app 1.0.zip", "force": "TRUE", "rollback_serial": 5}),
        ("site", {"app": "shop", "lines": "own", "wsgi_apps": []}),
    ],
)
def test_a_value_that_a_word_can_have_is_taken(playbook: str, values: dict[str, Any]) -> None:
    assert command_line.value_problems(values, [f"baremetal.web.{playbook}"]) == []


def test_a_playbook_refuses_a_value_before_a_host_is_asked(tmp_path: Path) -> None:
    said = json.dumps({"many": ["shop", "blog"], "app": "{{ many }}", "force": "maybe"})
    done = subprocess.run(
        ["ansible-playbook", "-i", "no-such-host.invalid,", str(ROOT / "playbooks" / "rollback.yml"), "-e", said],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 2
    assert "-e app is ['shop', 'blog']; rollback takes one app. Run it once for each." in output
    assert "-e force is 'maybe'; it must be true or false." in output
    assert "UNREACHABLE" not in output


OWN = [
    *("git_sha", "api", "env", "map", "tag", "top", "branch", "release", "remote", "config", "deploy", "number"),
    *("target", "host", "user", "stage", "migration", "away", "fails", "forge", "links", "redis_host", "redis_url"),
    *("nginx_vhosts", "python_bin", "wsgi_apps_common", "app_version", "wsgi_root", "nginx_site", "ansible_user"),
]


@pytest.mark.parametrize("said", OWN)
def test_a_variable_of_somebody_s_own_is_left_alone(said: str) -> None:
    assert problems("baremetal.web.site", said) == []
    assert command_line.setting_problems({said: 1}, []) == []


def test_a_name_that_the_inventory_or_a_playbook_of_yours_uses_is_left_alone(tmp_path: Path) -> None:
    used = {"wsgi_apps": [{"source": {"git": {"version": "{{ version }}", "repo": "{{ apps ~ '/shop' }}"}}}]}
    assert problems("baremetal.web.site", "version", "apps", **used) == []
    assert problems("baremetal.web.site", "version", version="{{ version }}", name="version") != []
    own = tmp_path / "site.yml"
    own.write_text("# apps\n- import_playbook: baremetal.web.site\n")
    assert len(problems(str(own), "apps", "version")) == 2
    own.write_text("- import_playbook: baremetal.web.site\n- import_playbook: baremetal.web.deploy\n")
    assert len(problems(str(own), "apps", "version")) == 1
    own.write_text("- import_playbook: baremetal.web.site\n- hosts: all\n  tasks: [{debug: {var: apps}}]\n")
    assert problems(str(own), "apps", "version") == []
    assert len(problems(str(own), "confrim")) == 1


@pytest.mark.parametrize(("old", "new"), command_line.RENAMED.items())
def test_a_name_of_an_earlier_version_is_refused_with_the_one_that_is_read_now(old: str, new: str) -> None:
    assert new in (*command_line.ALL_WORDS, *command_line.settings(command_line.ROLES))
    assert problems("baremetal.web.upgrade", old) == [
        f"-e {old} has no effect: its name is now {new}. Say -e {new} instead."
    ]
    (told,) = command_line.setting_problems({old: 300}, [])
    assert told.endswith(f"reads: its name is now {new}. Rename it.")
    own = {"upgrade_timeout": f"{{{{ {old} }}}}", old: 300}
    assert problems("baremetal.web.upgrade", old, **own) == command_line.setting_problems(own, []) == []


def test_a_misspelt_setting_of_an_inventory_is_said_once(tmp_path: Path) -> None:
    code, output = ask(
        tmp_path, what="query('baremetal.web.unread', settings=true)", hosts=2, inventory="wsgi_rot=/srv"
    )
    assert (code, output.count("a variable wsgi_rot, which no role or playbook of baremetal.web reads")) == (0, 1)
    assert "(did you mean wsgi_root?)" in output
    assert "said [] end" in output
    own = {"python_version": "3.12", "wsgi_apps": [{"python": {"version": "{{ python_version }}"}}]}
    assert command_line.setting_problems(own, []) == []
    assert command_line.setting_problems({"wsgi_rot": "/srv"}, ["wsgi_rot"]) == []  # refused by itself


def test_every_playbook_refuses_words_before_a_host_is_asked() -> None:
    for path in PLAYBOOKS:
        first = next(plays(path))
        tasks = first.get("pre_tasks", first.get("tasks"))
        files = {"tasks/check_words.yml", "tasks/check_apps.yml"}
        name = tasks[0]["ansible.builtin.import_tasks"].removeprefix("../../playbooks/")
        assert name in files, path.stem
