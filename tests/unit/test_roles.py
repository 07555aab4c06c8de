"""The roles' argument specs, defaults and tables agree with each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.baremetal.web.plugins.module_utils._host.venv import LEAST_VERSION
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from conftest import ROOT

ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def load(role: str, path: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / path).read_text())


def entry_points(role: str) -> dict[str, Any]:
    return load(role, "meta/argument_specs.yml")["argument_specs"]


def walk(options: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every option at any depth with its dotted name."""
    for name, option in options.items():
        path = (*above, name)
        yield ".".join(path), option
        yield from walk(option.get("options", {}), path)


OPTIONS = [
    pytest.param(option, id=f"{role}-{entry_point}-{name}")
    for role in ROLES
    for entry_point, spec in entry_points(role).items()
    for name, option in walk(spec["options"])
]


def test_every_role_says_what_it_takes() -> None:
    assert sorted(path.name for path in (ROOT / "roles").iterdir()) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_of_a_role_are_those_of_its_spec(role: str) -> None:
    options = [item for spec in entry_points(role).values() for item in spec["options"].items()]
    expected = {name: option["default"] for name, option in options if "default" in option}
    assert load(role, "defaults/main.yml") == expected


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_has_its_tasks_and_its_options_bear_its_name(role: str) -> None:
    # Steps of a role hand the same variables on.
    counts = Counter(name for spec in entry_points(role).values() for name in spec["options"])
    shared = {name for name, count in counts.items() if count > 1 and name.startswith(f"{role}_")}
    for entry_point, spec in entry_points(role).items():
        assert (ROOT / "roles" / role / "tasks" / f"{entry_point}.yml").is_file()
        if entry_point != "main":
            own = [name for name in spec["options"] if name not in shared]
            assert [name for name in own if not name.startswith(f"{role}_{entry_point}")] == []


@pytest.mark.parametrize("role", sorted({*ROLES} - {"benchmark", "wsgi"}))
def test_the_main_tasks_of_a_mechanism_are_a_table_of_contents(role: str) -> None:
    for entry in load(role, "tasks/main.yml"):
        assert entry["name"].split()[0] in ("Check", "Install", "Prepare", "Configure", "Open")
        assert {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks"} & entry.keys()
        assert entry["tags"] == [role]


def called() -> Iterator[tuple[str, str]]:
    """Yield each entry point of a role that a playbook calls."""
    for path in [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/*/playbook.yml")]:
        yield from re.findall(r"name: baremetal\.web\.(\w+)\n +tasks_from: (\w+)", path.read_text())


def test_every_entry_point_that_a_playbook_calls_has_a_spec() -> None:
    found = set(called())
    assert len(found) > 8
    assert [pair for pair in found if pair[1] not in entry_points(pair[0])] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_public_variable_that_the_tasks_of_a_role_read_is_in_a_spec(role: str) -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "roles" / role).glob("tasks/*.yml"))
    text = re.sub(r"^ *#.*|name: .*|-e \w+=", "", text, flags=re.MULTILINE)
    read = set(re.findall(rf"(?<![\w.'/]){role}_[a-z_]+\b(?=[^:\w(])", text))
    known = {name for spec in entry_points(role).values() for name in spec["options"]}
    assert read - known == set()


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_say_where_those_of_nested_keys_stand(role: str) -> None:
    comments = (ROOT / "roles" / role / "defaults" / "main.yml").read_text().partition("\n" + role)[0]
    assert "README.md" in comments
    assert "meta/argument_specs.yml" in comments


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_bears_its_name(role: str) -> None:
    own = load(role, "vars/main.yml") if (ROOT / "roles" / role / "vars" / "main.yml").exists() else {}
    names = [*entry_points(role)["main"]["options"], *(name.removeprefix("__") for name in own)]
    assert [name for name in names if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_a_description_and_a_type(option: Mapping[str, Any]) -> None:
    assert option["description"]
    assert option["type"]


@pytest.mark.parametrize("option", OPTIONS)
def test_a_default_is_of_its_type_and_among_its_choices(option: Mapping[str, Any]) -> None:
    types = {"str": str, "path": str, "int": int, "bool": bool, "list": list, "dict": dict}
    if "default" in option:
        assert type(option["default"]) is types[option["type"]]
        chosen = option["default"] if option["type"] == "list" else [option["default"]]
        assert [value for value in chosen if value not in option.get("choices", chosen)] == []
        assert not option.get("required")
    if option["type"] == "list":
        assert option["elements"] in types


def leaves(options: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, option in walk(options) if "options" not in option)


# Options of the server are data of the table of servers, and each is tested on the real server.
APP_KEYS = [key for key in leaves(role_options("wsgi")["wsgi_apps"]["options"]) if not key.startswith("server.")]


@pytest.mark.parametrize("key", APP_KEYS)
def test_every_key_of_an_app_is_read_by_some_code(key: str) -> None:
    """Of a key that nothing reads, no code has the name."""
    name = key.rpartition(".")[2]
    code = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/*/templates/**/*.j2")]
    assert any(re.search(rf"""["'.]{name}\b""", path.read_text()) for path in code)


# These are a protocol and an interface as well.
AMBIGUOUS = {"uwsgi", "tornado"}
ROOMS = ("plugins", "playbooks", "roles/wsgi/defaults", "roles/wsgi/tasks", "roles/wsgi/vars")
SHARED_BY_SERVERS = [ROOT / "roles/wsgi/files/baremetal_web" / name for name in ("entry.py", "launch.py")]


def test_no_file_but_the_table_names_a_kind_of_server() -> None:
    table = ROOT / "plugins/plugin_utils/_apps/servers.yml"
    names = "|".join(set(servers().kinds) - AMBIGUOUS)
    kind = re.compile(rf"(?i)\b({names})\b|\bkind\W{{1,12}}({'|'.join(AMBIGUOUS)})\b|\buwsgi\W+in sys\.modules")
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".yml", ".j2")]
    assert table in files
    named = {str(path.relative_to(ROOT)) for path in [*files, *SHARED_BY_SERVERS] if kind.search(path.read_text())}
    assert named == {str(table.relative_to(ROOT))}


def test_every_server_and_worker_class_that_can_be_chosen_is_known() -> None:
    options = role_options("wsgi")["wsgi_apps"]["options"]["server"]["options"]
    assert sorted(servers().kinds) == sorted(options["kind"]["choices"])
    classes = {worker_class for _kind, worker_class in servers().variants()} - {""}
    assert classes == set(options["worker_class"]["choices"]) - {""}


@pytest.mark.parametrize("pair", [*servers().variants()], ids=" ".join)
def test_a_server_has_its_template_or_its_launcher_and_its_locked_packages(pair: tuple[str, str]) -> None:
    variant, role = servers().variant(*pair, "wsgi"), ROOT / "roles" / "wsgi"
    template = f"templates/server/{variant['template']}.j2"
    assert (role / (template if variant["template"] else f"files/baremetal_web/{pair[0]}.py")).is_file()
    lock = (role / "files" / "servers" / variant["lock"]).read_text()
    assert "--hash=sha256:" in lock


def requirements() -> list[Path]:
    return sorted({*ROOT.glob("roles/*/files/**/*.txt"), *ROOT.glob("files/*/requirements.txt")})


@pytest.mark.parametrize("path", requirements(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_that_reaches_a_host_is_locked_by_version_and_hash(path: Path) -> None:
    logical = path.read_text().replace("\\\n", " ").splitlines()
    lines = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_the_platforms_own_python_is_one_that_it_offers_and_new_enough_for_every_server() -> None:
    for platform, offer in load("python", "vars/main.yml")["__python_platforms"].items():
        assert offer["auto"] in offer["packages"], platform
        assert offer["compiler"].keys() == offer["packages"].keys(), platform
        for version in offer["packages"]:
            assert tuple(map(int, version.split("."))) >= LEAST_VERSION, platform
