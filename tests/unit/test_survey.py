"""What roles want of a host is read from their task files, asked in one question, and asked again by no task."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins import loader as plugins
from ansible.template import Templar
from jinja2 import Environment, TemplateError

from ansible_collections.baremetal.web.plugins.action.firewall import ActionModule as Firewall
from ansible_collections.baremetal.web.plugins.action.packages import ActionModule as Packages
from ansible_collections.baremetal.web.plugins.action.selinux import ActionModule as Selinux
from ansible_collections.baremetal.web.plugins.action.service_config import ActionModule as ServiceConfig
from ansible_collections.baremetal.web.plugins.action.venv import ActionModule as Venv
from ansible_collections.baremetal.web.plugins.filter.platform import SUPPORTED
from ansible_collections.baremetal.web.plugins.module_utils._host import pending_marker, services
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.module_utils._release.modules import survey as host_survey
from ansible_collections.baremetal.web.plugins.module_utils._release.modules.survey import encoded
from ansible_collections.baremetal.web.plugins.plugin_utils._controller import compiled, surveyed, wanted_parts
from conftest import GROUP, OWNER, PLUGINS, ROOT, run_ansible

Answer = dict[str, Any]
ROLES = ["python", "supervisor", "nginx", "wsgi"]
ECHO = {"source": {"path": str(ROOT / "molecule" / "echo")}, "entrypoint": "echo:wsgi"}
DEBIAN, EL = "Debian 13", "EL 9"


def facts(platform: str, **more: Any) -> dict[str, Any]:
    """Return the facts of a host as the module host_facts gives them."""
    distribution, version = platform.split()
    debian = distribution != "EL"
    return {
        "os_family": "Debian" if debian else "RedHat",
        "distribution": distribution if debian else "CentOS",
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
        "pkg_mgr": "apt" if debian else "dnf",
        "selinux": {"status": "disabled"} if debian else {"status": "enabled", "mode": "enforcing"},
        **{"architecture": "x86_64", "processor_nproc": 2, "memtotal_mb": 4096},
        **more,
    }


def app(name: str = "shop", **more: Any) -> dict[str, Any]:
    return {"name": name, **ECHO, "site": {"server_names": [f"{name}.example"]}, **more}


class Reader:
    """The process that reads roles."""

    def __init__(self, place: Path):
        self.place = place
        command = [sys.executable, str(ROOT / "tests" / "unit" / "surveying.py"), str(place)]
        self.said = (place / "said").open("w+")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.said, text=True, cwd=place)

    def ask(self, **asked: Any) -> Answer:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, (self.place / "said").read_text()
        told = json.loads(answer)
        assert "error" not in told, told["error"]
        return told

    def host(
        self, *apps: dict[str, Any], platform: str = DEBIAN, roles: list[str] | None = None, **more: Any
    ) -> Answer:
        """Ask what the roles want of a host with these apps, all of which were released before."""
        names = [each["name"] for each in apps]
        orphans = {"rows": [], "described": names, "databases": [], **more.pop("orphans", {})}
        known = {"facts": facts(platform), "roles": roles or ROLES, "slots": {name: {} for name in names}}
        variables = {"wsgi_apps": list(apps), **more.pop("variables", {})}
        return self.ask(**{**known, **more, "variables": variables, "orphans": orphans})

    def tasks(self, *tasks: Mapping[str, Any], **more: Any) -> Answer:
        """Ask what a task file wants."""
        path = self.place / "tasks" / "main.yml"
        path.parent.mkdir(exist_ok=True)
        # Each is another file to the process, which reads one only once.
        path = path.with_name(f"{len(list(path.parent.iterdir()))}.yml")
        path.write_text(yaml.safe_dump(list(tasks), sort_keys=False))
        return self.ask(files=[str(path)], questions=False, **more)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    found = Reader(tmp_path_factory.mktemp("reader"))
    yield found
    assert found.process.stdin
    found.process.stdin.close()
    assert found.process.wait() == 0
    found.said.close()


def modules(answer: Answer) -> list[str]:
    assert "parts" in answer, answer
    return [module for _name, module, _args in answer["parts"]]


def names(answer: Answer) -> list[str]:
    assert "parts" in answer, answer
    return [name for name, _module, _args in answer["parts"]]


def args(answer: Answer, name: str) -> dict[str, Any]:
    """Return what the only task of this name asks."""
    (found,) = [args for task, _module, args in answer["parts"] if task == name]
    return found


def of(answer: Answer, module: str) -> list[dict[str, Any]]:
    return [args for _name, kind, args in answer["parts"] if kind == module]


# Whole roles.

PYTHON = ["packages", "venv", "service_config"]
SUPERVISOR = ["venv", "service_config"]
NGINX = ["packages", "service_config"]
STAGED = ["service_config", "release_stage_info"]
SITES = ["service_config", "firewall"]
# What SELinux allows the sites of the apps comes after what it allows the web server.
SITES_WITH_SELINUX = ["selinux", "selinux", *SITES]


@pytest.mark.parametrize("platform", SUPPORTED)
def test_the_roles_of_a_host_are_one_question_in_the_order_of_their_tasks(reader: Reader, platform: str) -> None:
    sites = SITES_WITH_SELINUX if platform.startswith("EL") else SITES
    answer = reader.host(app(), platform=platform)
    assert modules(answer) == [*PYTHON, *SUPERVISOR, *NGINX, *STAGED, *sites]
    packages = [name for asked in of(answer, "packages") for name in asked["names"]]
    offer = SUPPORTED[platform]
    assert packages == [*offer["packages"][offer["auto"]], "nginx"]
    assert {asked["version"] for asked in of(answer, "venv")} == {offer["auto"]}


def test_a_part_bears_the_name_of_its_task(reader: Reader) -> None:
    assert names(reader.host(app(), platform=EL)) == [
        "Install python3.12, python3.12-pip",
        "Provide the tool environment",
        "Write the profile baremetal-web",
        "Provide the environment /opt/baremetal",
        "Configure and run supervisord",
        "Install nginx",
        "Configure and run nginx",
        "Add the accounts, and the commands of apps to the PATH of login shells",
        "Stage each app",
        "Let SELinux allow nginx to reach the apps",
        "Let SELinux allow the sites of wsgi",
        "Publish the sites of wsgi",
        "Open the ports of the sites of wsgi",
    ]


def test_files_are_rendered_with_the_variables_of_their_role_and_of_the_host(reader: Reader) -> None:
    answer = reader.host(app(), variables={"nginx_keepalive_timeout": 77, "supervisor_web_port": 9123})
    files = {
        file["path"]: file["content"]
        for asked in of(answer, "service_config")
        for file in [*asked.get("files", []), *asked.get("secret_files", [])]
    }
    assert "keepalive_timeout 77s;" in files["/etc/nginx/nginx.conf"]
    assert "/opt/baremetal/bin" in files["/etc/profile.d/baremetal-web.sh"]
    assert "127.0.0.1:9123" in files["/etc/supervisord/supervisord.conf"]
    (site,) = [text for path, text in files.items() if path.startswith("/etc/nginx/conf.d/")]
    assert "server_name shop.example;" in site
    own = ROOT / "roles" / "supervisor" / "files" / "launch.py"
    assert files["/opt/baremetal/libexec/launch.py"] == own.read_text()
    assert not [path for path, text in files.items() if "{{" in text and not path.endswith(".py")]


def test_each_app_is_a_part(reader: Reader) -> None:
    answer = reader.host(app(), app("blog"))
    asked = of(answer, "release_stage_info")
    assert [each["app"]["name"] for each in asked] == ["shop", "blog"]
    assert len({each["release"] for each in asked}) == 2
    assert modules(answer) == [*PYTHON, *SUPERVISOR, *NGINX, *STAGED, "release_stage_info", *SITES]


def test_a_host_without_apps_is_asked_about_the_rest(reader: Reader) -> None:
    assert modules(reader.host()) == [*PYTHON, *SUPERVISOR, *NGINX, "service_config", *SITES]


@pytest.mark.parametrize("platform", SUPPORTED)
def test_redis_is_asked_about_where_it_is_wanted(reader: Reader, platform: str) -> None:
    answer = reader.host(platform=platform, roles=["redis"])
    assert modules(answer) == ["packages", "service_config", "firewall"]
    assert of(answer, "firewall")[0]["ports"] == []
    wide = reader.host(platform=platform, roles=["redis"], variables={"redis_address": "10.0.0.1"})
    assert of(wide, "firewall")[0]["ports"] == [6379]


@pytest.mark.parametrize("lines", [[], ["Listen 80"]])
def test_the_sites_of_apache_need_what_the_host_says_of_its_ports(reader: Reader, lines: list[str]) -> None:
    site = {"server_names": ["*"], "listen": 80, "proxy": "apache"}
    roles = ["python", "supervisor", "apache", "wsgi"]
    answer = reader.host(app(site=site), roles=roles, gathered={"apache_ports_info": {"listen": lines}})
    text = "".join(file["content"] for file in args(answer, "Publish the sites of wsgi")["files"])
    assert ("Listen 80" in text) == (lines == [])


def test_more_settings_are_more_parts_in_their_place(reader: Reader) -> None:
    conda = {"python_conda": {"url": "https://x.example/m.sh", "checksum": f"sha256:{'0' * 64}"}}
    conda |= {"python_conda_versions": ["3.12"]}
    answer = reader.host(roles=["python"], variables=conda)
    assert modules(answer) == [*PYTHON, "conda", "service_config"]
    assert of(answer, "conda")[0]["versions"] == ["3.12"]

    answer = reader.host(roles=["nginx"], variables={"nginx_manager": "supervisor"})
    assert names(answer) == [
        "Install nginx",
        "Let a program of supervisord listen on ports below 1024",
        "Provide what runs nginx in the foreground",
        "Configure and run nginx",
    ]
    assert of(answer, "service_config")[-1]["program"]["command"] == "/usr/local/share/nginx/run.sh"


def test_packages_come_from_the_repositories_of_the_host(reader: Reader) -> None:
    mirror = {"name": "own", "url": "https://mirror.example/debian", "suites": ["trixie"], "components": ["main"]}
    variables = {"packages_repositories": [mirror], "packages_exclusive_enabled": True, "packages_cache_seconds": 60}
    for asked in of(reader.host(roles=["python", "nginx"], variables=variables), "packages"):
        assert [each["url"] for each in asked["repositories"]] == ["https://mirror.example/debian"]
        assert (asked["exclusive"] in (True, "True"), int(asked["cache_seconds"])) == (True, 60)
    proxy = {"python_proxy": {"url": "http://proxy.example:3128"}}
    assert {asked["proxy_url"] for asked in of(reader.host(variables=proxy), "venv")} == {"http://proxy.example:3128"}


def test_what_is_omitted_is_in_no_question(reader: Reader) -> None:
    (asked,) = of(reader.host(roles=["python"]), "packages")
    assert not {"streams", "refused_with"} & set(asked)
    assert "omit" not in json.dumps(asked)


@pytest.mark.parametrize(
    ("variables", "known", "kept"),
    [
        ({}, {}, SITES_WITH_SELINUX),
        ({"nginx_firewall_enabled": False}, {}, SITES_WITH_SELINUX[:-1]),
        ({"nginx_selinux_enabled": False}, {}, ["selinux", *SITES]),
        ({"wsgi_selinux_enabled": False}, {}, ["selinux", *SITES]),
        ({}, {"selinux": {"status": "disabled"}}, SITES),
        ({}, {"selinux": {"status": "Missing selinux Python library"}}, SITES_WITH_SELINUX),
    ],
)
def test_firewall_and_selinux_are_asked_about_as_their_tasks_have_it(
    reader: Reader, variables: dict[str, Any], known: dict[str, Any], kept: list[str]
) -> None:
    answer = reader.host(app(), facts=facts(EL, **known), variables=variables)
    found = modules(answer)
    assert found[found.index("release_stage_info") + 1 :] == kept


def test_slots_that_a_host_has_are_in_the_sites(reader: Reader) -> None:
    port = {slot: {"protocol": "http", "port": 5000 + index} for index, slot in enumerate("ab")}
    (asked,) = of(reader.host(app(), slots={"shop": port}), "service_config")[-1:]
    assert "127.0.0.1:5000" in json.dumps(asked["files"])
    (asked,) = of(reader.host(app()), "service_config")[-1:]
    assert "127.0.0.1:5000" not in json.dumps(asked["files"])


# The tasks that a converged host would reach with other settings, and that are left to themselves.
LEFT = {
    "wsgi": {
        "Activate each release",
        "Ask how the web server reaches the apps that are not released now",
        "Ask whether the web server publishes the apps of this run",
        "Find apps that are not described",
        "Run the hooks {{ __wsgi_round.kind ~ ' for ' ~ scope }}",
        "Fail when an app is not as it is described",
        "Note that the web server is configured for the endpoints",
        "Abandon the staged releases of excluded apps",
        "Roll back to the release that was live before",
        "Show that the sites stay as they are",
    },
    "apache": {"Find the ports of other configuration"},
}


def reached(path: Path, tasks: list[dict[str, Any]] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the role and each task that a file has or takes, but none that a failure leads to."""
    for task in yaml.safe_load(path.read_text()) if tasks is None else tasks:
        yield path.parts[-3], task
        yield from reached(path, [*task.get("block", []), *task.get("always", [])])
        for kind in ("import_tasks", "include_tasks"):
            if file := task.get(f"ansible.builtin.{kind}"):
                yield from reached((path.parent / (file if isinstance(file, str) else file["file"])).resolve())
        if role := task.get("ansible.builtin.include_role"):
            name = role["name"].removeprefix("baremetal.web.")
            for each in ("nginx", "apache") if "{{" in name else [name]:
                yield from reached(ROOT / "roles" / each / "tasks" / f"{role['tasks_from']}.yml")


@pytest.mark.parametrize("role", [*ROLES, "packages", "redis", "apache"])
def test_the_tasks_of_the_roles_stay_readable(role: str) -> None:
    """Each is of a kind that is read, or is known to be left to itself."""
    left: dict[str, set[str]] = {}
    kinds = ("set_fact", "assert", "import_tasks", "include_tasks", "include_role")
    known = {"block", *(f"ansible.builtin.{kind}" for kind in kinds)}
    for where, task in reached(ROOT / "roles" / role / "tasks" / "main.yml"):
        try:
            action = wanted_parts._action(task)
        except wanted_parts.Unsurveyed:
            action = ""
        name = action.removeprefix("baremetal.web.")
        asks = name != action and find_spec(f"{PLUGINS}.action.{name}")
        if asks:
            kind = import_module(f"{PLUGINS}.action.{name}").ActionModule
            asks = hasattr(kind, "host_args") or name in ("sites", "release_stage")
        if not asks and action not in known:
            left.setdefault(where, set()).add(task["name"])
    assert left == {where: LEFT[where] for where in left}
    assert set(left) == ({"wsgi", "apache"} if role == "wsgi" else set()), left


# What leaves it to the tasks.

ORPHAN = {"app": "old", "described": False, "published": True, "release": "none", "places": ["/"]}


def test_an_app_that_would_be_unpublished_is_left_to_the_tasks(reader: Reader) -> None:
    answer = reader.host(app(), orphans={"rows": [ORPHAN]})
    assert answer == {"unsurveyed": "Refuse to unpublish an app that wsgi_unpublished does not name"}
    answer = reader.host(app(), orphans={"rows": [ORPHAN]}, variables={"wsgi_unpublished": ["old"]})
    assert modules(answer)[-2:] == SITES


def test_a_database_that_its_host_no_longer_claims_is_left_to_the_tasks(reader: Reader) -> None:
    path = str(ROOT / "playbooks" / "tasks" / "say_databases.yml")
    orphans = {"databases": ["redis.service"]}
    said = "Show databases that go on although their host has left the group redis"
    assert reader.host(files=[path], orphans=orphans) == {"unsurveyed": said}
    assert modules(reader.host(files=[path], orphans=orphans, groups=["redis"]))
    assert modules(reader.host(files=[path]))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"nginx_manager": "upstart"}, "the variables of the role nginx: "),
        ({"supervisor_web_port": "web"}, "the variables of the role supervisor: "),
        ({"python_versions": {"a": 1}}, "the variables of the role python: "),
        ({"python_versions": ["2.7"]}, "Refuse a Python version that the platform does not offer"),
        ({"supervisor_web_password": "short"}, "Refuse a web UI that cannot be reached or guarded"),
    ],
)
def test_what_a_task_would_refuse_is_left_to_it(reader: Reader, variables: dict[str, Any], said: str) -> None:
    assert reader.host(app(), variables=variables)["unsurveyed"].startswith(said)


def test_an_app_whose_source_cannot_be_read_is_left_to_its_task(reader: Reader) -> None:
    """The other apps of the host go on there."""
    answer = reader.host(app(), app("blog", source={"git": {"repo": "/nonexistent/blog", "version": "main"}}))
    assert "app blog: stage: " in answer["unsurveyed"]


def test_a_value_that_cannot_be_worked_out_is_left_to_its_task_and_nothing_of_it_is_said(reader: Reader) -> None:
    """Up to ansible-core 2.18, the reason begins with the whole value."""
    secret = {"supervisor_web_user": "{{ 'hunter2' ~ no_such_name }}"}
    told = reader.host(app(), variables=secret)["unsurveyed"]
    assert "cannot be worked out" in told
    assert "hunter2" not in told
    path = {"file": "{{ 'hunter2' ~ no_such_name }}"}
    assert "hunter2" not in reader.tasks({"name": "Go on", "ansible.builtin.include_tasks": path})["unsurveyed"]


def test_a_host_of_no_supported_platform_is_left_to_the_tasks(reader: Reader) -> None:
    assert "unsurveyed" in reader.host(app(), facts=facts("Debian 8"))
    assert "unsurveyed" in reader.host(app(), facts={})


UNKNOWN = [
    {"ansible.builtin.debug": {"msg": "look"}},
    {"ansible.builtin.shell": "true"},
    {"ansible.builtin.command": {"cmd": "true"}, "changed_when": False},
    {"ansible.builtin.copy": {"content": "", "dest": "/etc/x"}},
    {"ansible.builtin.meta": "end_host"},
    {"baremetal.web.supervisor_program": {"program": {}, "environment": ""}},
    {"baremetal.web.no_such_module": {}},
    {"baremetal.web.host_facts": {}, "delegate_to": "localhost"},
    {"baremetal.web.packages": {"names": ["x"]}, "become": False},
    {"baremetal.web.packages": {"names": ["x"]}, "environment": {"A": "b"}},
    {"baremetal.web.packages": {"names": ["x"]}, "run_once": True},
    {"baremetal.web.packages": {"names": ["x"]}, "ignore_errors": True},
    {"baremetal.web.packages": {"names": ["x"]}, "notify": "it"},
    {"baremetal.web.packages": {"names": ["x"]}, "until": "false"},
    {"baremetal.web.packages": {"names": ["x"]}, "with_items": [1]},
    {"baremetal.web.packages": {"names": ["x"]}, "args": {"state": "absent"}},
    {"action": "baremetal.web.packages names=x"},
    {"block": [], "become": True},
    {"ansible.builtin.include_role": {"name": "baremetal.web.python", "tasks_from": "check", "vars_from": "other"}},
    {"ansible.builtin.include_role": {"name": "somebody.else.web"}},
    {"ansible.builtin.include_tasks": {"file": "install.yml", "apply": {"when": False}}},
    {"ansible.builtin.include_tasks": "no-such-file.yml"},
    {"ansible.builtin.include_vars": "more.yml"},
]


@pytest.mark.parametrize("task", UNKNOWN, ids=lambda task: "-".join(task))
def test_a_task_of_another_kind_in_a_role_is_never_left_out_in_silence(
    reader: Reader, tmp_path: Path, task: dict[str, Any]
) -> None:
    file = shutil.copytree(ROOT / "roles", tmp_path / "roles") / "nginx" / "tasks" / "configure.yml"
    task = {"name": "Do it", **task}
    file.write_text(yaml.safe_dump([*yaml.safe_load(file.read_text()), task], sort_keys=False))
    assert "Do it" in reader.host(place=str(tmp_path / "roles"), roles=["nginx"])["unsurveyed"]


def test_a_changed_role_is_read_where_it_is(reader: Reader, tmp_path: Path) -> None:
    """So it is the changed task alone that the test before this one is about."""
    file = shutil.copytree(ROOT / "roles", tmp_path / "roles") / "nginx" / "tasks" / "configure.yml"
    file.write_text(yaml.safe_dump([*yaml.safe_load(file.read_text()), ask()], sort_keys=False))
    assert modules(reader.host(place=str(tmp_path / "roles"), roles=["nginx"])) == [*NGINX, "packages"]


# Task files.


def ask(name: str = "x", **more: Any) -> dict[str, Any]:
    """Return a task that asks for a package."""
    return {"name": f"Install {name}", "baremetal.web.packages": {"names": [name]}, **more}


def wanted(answer: Answer) -> list[str]:
    assert "parts" in answer, answer
    return [name for _task, _module, args in answer["parts"] for name in args["names"]]


def test_a_condition_decides_whether_a_task_asks(reader: Reader) -> None:
    tasks = [
        ask("a", when=True),
        ask("b", when=False),
        ask("c", when="flag"),
        ask("d", when=["flag", "number > 2"]),
        ask("e", when=["flag", "number > 3"]),
        ask("f", when="number == 3 and kind | default('') == 'web'"),
        ask("g", when="not flag or ansible_facts['os_family'] == 'Debian'"),
    ]
    variables = {"flag": True, "number": 3, "kind": "{{ 'we' ~ 'b' }}"}
    assert wanted(reader.tasks(*tasks, variables=variables, facts=facts(DEBIAN))) == ["a", "c", "d", "f", "g"]


def test_a_condition_on_what_is_not_defined_is_left_to_its_task(reader: Reader) -> None:
    assert "unsurveyed" in reader.tasks(ask(when="no_such_name"))
    assert "unsurveyed" in reader.tasks(ask(when=["true", "no_such_name.key == 1"]))


def test_variables_of_a_task_are_its_own_and_those_of_a_block_are_its_tasks(reader: Reader) -> None:
    tasks = [
        {"vars": {"outer": "a", "both": "b"}, "block": [ask("{{ outer }}"), ask("{{ both }}", vars={"both": "c"})]},
        ask("{{ outer | default('d') }}"),
        ask("{{ first }}", vars={"first": "{{ second }}e", "second": "{{ third }}"}),
    ]
    assert wanted(reader.tasks(*tasks, variables={"third": "f"})) == ["a", "c", "d", "fe"]


def test_a_loop_asks_for_each_item(reader: Reader) -> None:
    tasks = [
        ask("{{ item }}", loop=["a", "b"], when="item != 'b'"),
        ask(
            "{{ each.name ~ more }}",
            loop="{{ rows }}",
            loop_control={"loop_var": "each"},
            vars={"more": "{{ each.n }}"},
        ),
        ask("{{ item }}", loop=[]),
    ]
    rows = [{"name": "c", "n": 1}, {"name": "d", "n": 2}]
    assert wanted(reader.tasks(*tasks, variables={"rows": rows})) == ["a", "c1", "d2"]


def test_blocks_go_on_as_where_nothing_fails(reader: Reader) -> None:
    tasks = [
        {"block": [ask("a"), {"block": [ask("b")]}], "rescue": [ask("c")], "always": [ask("d")]},
        {"block": [ask("e")], "when": "false", "always": [ask("f")]},
    ]
    assert wanted(reader.tasks(*tasks)) == ["a", "b", "d"]


def test_a_task_registers_that_all_is_as_wanted(reader: Reader) -> None:
    tasks = [
        ask("a", register="one"),
        ask("b", register="two", when="false"),
        ask("c{{ item }}", register="three", loop=[1, 2]),
        ask("d", register="four", loop=[]),
        ask("e", when=["not one.changed", "one is not failed", "one is not skipped"]),
        ask("f", when=["two is skipped", "not two.changed"]),
        ask("g", when=["three.results | map(attribute='item') | list == [1, 2]", "three is not changed"]),
        ask("h", when=["four is skipped", "four.results == []"]),
        ask("i", when="one is changed or two is changed or three is changed"),
    ]
    assert wanted(reader.tasks(*tasks)) == ["a", "c1", "c2", "e", "f", "g", "h"]


def test_what_a_task_would_answer_beside_that_is_left_to_the_tasks(reader: Reader) -> None:
    assert "unsurveyed" in reader.tasks(ask("a", register="one"), ask("b", when="one.stdout == ''"))


def test_a_fact_is_set_for_the_tasks_that_follow(reader: Reader) -> None:
    tasks = [
        ask("{{ note | default('a') }}"),
        {"ansible.builtin.set_fact": {"note": "{{ kind }}", "more": "{{ [1] + [2] }}"}, "vars": {"kind": "b"}},
        ask("{{ note }}{{ more | sum }}"),
        {"ansible.builtin.set_fact": {"note": "c"}, "when": "false"},
        ask("{{ note }}", vars={"note": "d"}),
    ]
    assert wanted(reader.tasks(*tasks)) == ["a", "b3", "b"]


@pytest.mark.parametrize(
    ("that", "kept"), [("flag", True), (["flag", "1 > 2"], False), ("not flag", False), ("no_such_name", False)]
)
def test_an_assertion_holds_or_is_left_to_its_task(reader: Reader, that: Any, kept: bool) -> None:
    task = {"name": "Refuse {{ what }}", "ansible.builtin.assert": {"that": that}, "vars": {"what": "it"}}
    answer = reader.tasks(task, ask(), variables={"flag": True})
    assert wanted(answer) == ["x"] if kept else answer["unsurveyed"].startswith("Refuse ")


def test_files_are_included_from_beside_the_one_that_does(reader: Reader) -> None:
    place = reader.place / "tasks" / "more"
    place.mkdir(parents=True, exist_ok=True)
    texts = {
        "one.yml": [ask("{{ told }}1"), {"ansible.builtin.import_tasks": "two.yml"}],
        "two.yml": [ask("{{ told }}2", when="flag")],
        "back.yml": [{"ansible.builtin.include_tasks": "../more/two.yml", "vars": {"told": "c"}}],
    }
    for name, tasks in texts.items():
        (place / name).write_text(yaml.safe_dump(tasks))
    (place.parent / "empty.yml").write_text("---\n")
    answer = reader.tasks(
        {"ansible.builtin.import_tasks": "more/one.yml", "vars": {"told": "a"}},
        {
            "ansible.builtin.include_tasks": {"file": "{{ dir }}/two.yml", "apply": {"tags": ["x"]}},
            "vars": {"told": "b"},
        },
        {"ansible.builtin.include_tasks": "more/back.yml", "when": "flag"},
        {"ansible.builtin.include_tasks": "more/one.yml", "when": "not flag"},
        {"ansible.builtin.include_tasks": "{{ item }}.yml", "loop": ["more/two"], "vars": {"told": "{{ item }}"}},
        {"ansible.builtin.import_tasks": "empty.yml"},
        variables={"flag": True, "dir": "more"},
    )
    assert wanted(answer) == ["a1", "a2", "b2", "c2", "more/two2"]


def test_a_role_is_included_with_its_variables(reader: Reader) -> None:
    include = {"name": "baremetal.web.{{ which }}", "tasks_from": "install", "rolespec_validate": False}
    task = {"ansible.builtin.include_role": include, "vars": {"packages_install": {"names": ["a", "b"]}}}
    answer = reader.tasks(task, variables={"which": "packages", "packages_upgrade_enabled": True}, facts=facts(DEBIAN))
    assert [(name, asked["state"]) for name, _module, asked in answer["parts"]] == [("Install a, b", "latest")]


def test_what_a_task_omits_is_left_out_wherever_it_stands(reader: Reader) -> None:
    files = [{"path": "/a", "content": "{{ text | default(omit) }}", "mode": "{{ mode | default(omit) }}"}]
    given = {"name": "{{ unit | default(omit) }}", "files": files, "check": ["a", "{{ more | default(omit) }}"]}
    answer = reader.tasks({"name": "Write", "baremetal.web.service_config": given}, variables={"text": "t"})
    assert args(answer, "Write") == {"files": [{"path": "/a", "content": "t"}], "check": ["a"]}


def test_values_keep_their_types(reader: Reader) -> None:
    given = {"cache_seconds": 5, "exclusive": "{{ flag }}", "names": "{{ ['a'] + more }}", "streams": "{{ none_such }}"}
    variables = {"flag": True, "more": ["b"], "none_such": None}
    asked = args(reader.tasks({"name": "Ask", "baremetal.web.packages": given}, variables=variables), "Ask")
    assert (asked["cache_seconds"], asked["exclusive"], asked["names"]) == (5, True, ["a", "b"])


# Templates that are compiled once.


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_COMPILED", {})


@pytest.mark.usefixtures("nothing_compiled")
def test_a_text_is_compiled_once_while_templates_are_reused() -> None:
    environment, same = Environment(), Environment()
    other = Environment(trim_blocks=True, variable_start_string="<<")
    with compiled.reuse():
        code = environment.compile("{{ a }}!")
        assert environment.compile("{{ a }}!") is code
        assert same.compile("{{ a }}!") is code
        assert other.compile("{{ a }}!") is not code
        assert environment.compile("{{ a }}?") is not code
        assert environment.compile("{{ a }}!", "name", "file") is not code
    assert Environment.compile is compiled._compile
    assert environment.compile("{{ a }}!") is not code


def test_jinja_is_as_before_whatever_happens() -> None:
    before = Environment.compile
    with pytest.raises(TemplateError), compiled.reuse():
        Environment().from_string("{{ a ")
    assert Environment.compile is before


@pytest.mark.usefixtures("nothing_compiled")
def test_a_text_with_a_backslash_is_none_for_another_use() -> None:
    """In a value of YAML, Ansible takes it as it is, and in a file Jinja takes it for itself."""
    environment = Environment()
    texts = [r"{{ 'a\tb' }}", "{{ 'a' }}"]
    with compiled.reuse():
        assert [environment.compile(text) is environment.compile(text) for text in texts] == [False, True]
    compiled.compile_once(environment, values=texts, files=[])
    with compiled.reuse():
        assert [environment.compile(text) is environment.compile(text) for text in texts] == [False, True]
    compiled.compile_once(environment, values=[], files=texts)
    with compiled.reuse():
        assert [environment.compile(text) is environment.compile(text) for text in texts] == [True, True]


@pytest.mark.usefixtures("nothing_compiled")
def test_a_text_that_is_no_template_is_left_to_its_task() -> None:
    compiled.compile_once(Environment(), values=["{{ a ", "{{ a }}"], files=["{% if %}", "{{ b }}"])
    assert len(compiled._COMPILED) == 2


TEXTS = [
    "{{ name }}: {% for x in rows %}{{ x }} {% endfor %}\n",
    "{% set a = 1 %}\n{{ a }}\n",
    "{# no #}{{ rows | map('upper') | join(',') }}",
    r"{{ name ~ '\\' }}",
    "plain",
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(name) }}",
]


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("text", TEXTS)
def test_a_result_is_the_same_with_reuse_and_without(text: str) -> None:
    kinds: list[dict[str, Any]] = [{}, {"trim_blocks": True}, {"keep_trailing_newline": True}, {"lstrip_blocks": True}]
    environments = [Environment(**kind) for kind in kinds]
    given = [{"name": "shop", "rows": ["a", "b"]}, {"name": "blog", "rows": []}]
    without = [each.from_string(text).render(**values) for each in environments for values in given]
    with compiled.reuse():
        reused = [each.from_string(text).render(**values) for each in environments for values in given * 2]
    assert reused == [text for index in range(0, len(without), 2) for text in without[index : index + 2] * 2]


@pytest.mark.parametrize("platform", [DEBIAN, EL])
def test_roles_are_the_same_question_with_reuse_and_without(reader: Reader, platform: str) -> None:
    apps = [app(), app("blog", environment={"A": "a\\tb", "B": "c\nd"})]
    without = reader.host(*apps, platform=platform)
    for _ in range(2):
        reused = reader.host(*apps, platform=platform, reuse=True)
        assert reused["parts"] == without["parts"]
        assert list(reused["values"].values()) == ["python, supervisor, nginx and wsgi"]
    assert reader.host(*apps, platform=platform)["parts"] == without["parts"]


def test_roles_are_named_in_words(reader: Reader) -> None:
    texts = {"[]": "", "['wsgi']": "wsgi", "['redis', 'wsgi']": "redis and wsgi"}
    values = [f"{roles} | baremetal.web.roles_text" for roles in texts]
    assert list(reader.ask(values=values)["values"].values()) == list(texts.values())


# The host's part.


@pytest.fixture
def survey(run_module: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Ask the host for parts."""
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(tmp_path / "marks"))
    monkeypatch.setattr(services, "UNIT_DIRECTORY", str(tmp_path / "units"))

    def _survey(*parts: tuple[str, dict[str, Any]], **more: Any) -> Answer:
        return run_module("survey", {"parts": encoded(list(parts)), **more})

    return _survey


def file(path: Path, content: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return the part that asks for a file."""
    entry = {"path": str(path), "content": content, "owner": OWNER, "group": GROUP}
    return "service_config", {"files": [entry], **more}


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(0o644)
    return path


def snapshot(place: Path) -> dict[str, Any]:
    return {str(path): (path.lstat(), path.is_file() and path.read_bytes()) for path in sorted(place.rglob("*"))}


def test_parts_that_are_as_wanted_are_answered_in_their_order(survey: Callable[..., Answer], tmp_path: Path) -> None:
    one, two = put(tmp_path / "place" / "one", "1\n"), put(tmp_path / "place" / "two", "2\n")
    answer = survey(file(one, "1\n"), ("host_facts", {}), file(two, "2\n"))
    assert (answer["changed"], answer["failed"], answer["difference"]) == (False, False, None)
    first, second, third = answer["answers"]
    assert second["ansible_facts"]["ansible_memtotal_mb"] > 0
    for told in (first, third):
        assert not {"changed", "diff"} & set(told)


def test_the_first_difference_ends_the_survey_and_nothing_is_written(
    survey: Callable[..., Answer], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    one, two = put(place / "one", "1\n"), put(place / "two", "2\n")
    before = snapshot(tmp_path)
    # The later ones would be a difference of another kind.
    answer = survey(file(one, "1\n"), file(two, "other\n"), file(place / "none", ""), ("packages", {"names": 1.5}))
    assert answer["difference"]["index"] == 1
    assert answer["difference"]["reason"]
    assert len(answer["answers"]) == 1
    assert snapshot(tmp_path) == before


def test_behind_a_release_what_it_leaves_as_it_is_is_asked(
    survey: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release is a stand-in here; the scenarios have real ones."""
    release = {"converged": False, "endpoint_changed": False, "release": "r2"}
    stand_in = SimpleNamespace(ARGUMENTS={}, work=lambda _asked: {"changed": False, **release})
    monkeypatch.setitem(host_survey._MODULES, "release_stage_info", stand_in)
    one, two = put(tmp_path / "one", "1\n"), put(tmp_path / "two", "2\n")
    parts = [file(one, "1\n"), ("release_stage_info", {}), ("packages", {"names": []}), file(two, "2\n")]
    answer = survey(*parts)
    assert answer["difference"]["index"] == 1
    assert [told and told.get("release") for told in answer["answers"]] == [None, "r2", None, None]
    assert [told is None for told in answer["answers"]] == [False, False, True, False]
    # A later difference ends it, and the first one stays the reason.
    answer = survey(*parts, file(two, "3\n"), file(one, "1\n"))
    assert (answer["difference"]["index"], len(answer["answers"])) == (1, 4)
    # The web server has to change for this release, so its parts are asked when it is there.
    release["endpoint_changed"] = True
    answer = survey(*parts)
    assert (answer["difference"]["index"], len(answer["answers"])) == (1, 1)


def test_an_absent_file_is_a_difference(survey: Callable[..., Answer], tmp_path: Path) -> None:
    answer = survey(file(tmp_path / "none", ""))
    assert answer["difference"] == {"index": 0, "reason": "there is something to do"}
    assert not (tmp_path / "none").exists()


def test_what_a_module_refuses_is_a_difference_with_its_reason(survey: Callable[..., Answer], tmp_path: Path) -> None:
    answer = survey(file(put(tmp_path / "place" / "theirs", "theirs\n"), "ours\n"))
    assert not answer["failed"]
    assert "theirs" in answer["difference"]["reason"]


HOSTS = {"files": ["/etc/host*"], "explanation": ""}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (("service_config", {"files": [{"content": "x"}]}), "path"),
        (("service_config", {"no_such_key": 1}), "no_such_key"),
        (("packages", {"state": "newest"}), "newest"),
        (("no_such_module", {}), "no_such_module"),
        (("service_config", {"conflicts": [{**HOSTS, "regex": "("}]}), "unterminated subpattern"),
    ],
    ids=["lacks an argument", "unknown argument", "no choice", "unknown module", "an exception"],
)
def test_a_question_that_a_module_cannot_answer_is_a_difference_and_no_failure(
    survey: Callable[..., Answer], part: tuple[str, dict[str, Any]], said: str
) -> None:
    answer = survey(part)
    assert not answer["failed"]
    assert (answer["difference"]["index"], answer["answers"]) == (0, [])
    assert said in answer["difference"]["reason"]


def test_warnings_of_parts_are_handed_on(survey: Callable[..., Answer], tmp_path: Path) -> None:
    path = put(tmp_path / "place" / "site", "keep this\nnew\n")
    answer = survey(file(path, "new\n", keeps="keep .*"))
    assert answer["difference"] is None
    assert "keep this" in str(answer["warnings"])


def test_a_host_tells_the_slots_of_its_apps(survey: Callable[..., Answer], tmp_path: Path) -> None:
    home = Home("shop", str(tmp_path / "w"))
    home.create_directories(OWNER, GROUP)
    noted = {slot: {"protocol": "http", "port": 5000} for slot in "ab"}
    home.note_endpoints(noted, proxy_synced=True)
    answer = survey(apps=["shop", "new"], root=str(tmp_path / "w"))
    assert answer["slots"] == {"shop": noted, "new": {}}


def test_a_question_bears_any_text_and_shows_none_of_it() -> None:
    text = encoded([("packages", {"names": ["ü", "hunter2 '\n"]})])
    assert "hunter2" not in text
    assert text.isascii()


# The tasks that run afterwards.

GIVEN = {"names": ["nginx"], "state": "present", "streams": None}
TOLD = {"stdout": "as it is", "warnings": ["one"]}


def act(kind: type[surveyed.SurveyedAction], given: dict[str, Any], parts: Mapping[str, Any] | None) -> Answer:
    """Run an action after a survey; its host answers with what it is asked."""

    class Asking(kind):  # type: ignore[misc,valid-type]
        def ask(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> Answer:
            return {"changed": True, "asked": wanted}

    task = Task()
    task.action = f"baremetal.web.{kind.__module__.rpartition('.')[2]}"
    task.args = given
    loader = DataLoader()
    connection = plugins.connection_loader.get("local", PlayContext(), os.devnull)
    action = Asking(task, connection, PlayContext(), loader, Templar(loader=loader), plugins)
    survey = {} if parts is None else {surveyed.ANSWER: {"as_wanted": False, "parts": parts}}
    return action.run(task_vars=survey)


@pytest.mark.parametrize("kind", [Firewall, Packages, Selinux, ServiceConfig, Venv])
def test_a_task_whose_part_is_as_wanted_asks_nothing(kind: type[surveyed.SurveyedAction]) -> None:
    same = surveyed.digest(kind.__module__.rpartition(".")[2], {"names": ["nginx"], "state": "present"})
    answer = act(kind, GIVEN, {same: TOLD})
    assert answer["changed"] is False
    assert {key: answer[key] for key in TOLD} == TOLD
    assert "asked" not in answer


@pytest.mark.parametrize(
    ("kind", "given", "parts"),
    [
        (Packages, {**GIVEN, "state": "latest"}, True),
        (Packages, {**GIVEN, "streams": ["nginx:1.24"]}, True),
        (ServiceConfig, GIVEN, True),
        (Packages, GIVEN, False),
        (Packages, GIVEN, None),
    ],
    ids=["another value", "another argument", "another module", "an answer without parts", "no survey"],
)
def test_another_task_asks_its_host(
    kind: type[surveyed.SurveyedAction], given: dict[str, Any], parts: bool | None
) -> None:
    told = {surveyed.digest("packages", {"names": ["nginx"], "state": "present"}): TOLD} if parts else {}
    wanted = {key: value for key, value in given.items() if value is not None}
    assert act(kind, given, None if parts is None else told) == {"changed": True, "asked": wanted}


def test_a_part_is_named_by_what_only_this_run_can_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    same = surveyed.digest("packages", {"a": 1, "b": "x"})
    assert surveyed.digest("packages", {"b": "x", "a": 1}) == same
    others = [("packages", {"a": 1, "b": "y"}), ("packages", {"a": "1", "b": "x"}), ("venv", {"a": 1, "b": "x"})]
    assert same not in [surveyed.digest(*other) for other in others]
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", f"{constants.DEFAULT_LOCAL_TMP}x")
    assert surveyed.digest("packages", {"a": 1, "b": "x"}) != same


# The whole, asked of the real ansible-playbook.

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - baremetal.web.survey:
        roles: "{{ survey_roles }}"
      register: __site_survey
    - ansible.builtin.debug:
        msg: "{{ {'answer': __site_survey} | to_json | b64encode }}"
"""


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ([], "is as wanted, 0 parts compared"),
        (["python"], "takes every task: Refuse a Python version that the platform does not offer"),
    ],
)
def test_a_survey_asks_the_host_of_a_play_and_says_how_it_is(tmp_path: Path, roles: list[str], said: str) -> None:
    """Nothing is asked here that a fault of the survey could change on the machine of the tests."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "survey_roles": roles}
    variables = {**local, "wsgi_apps": [], "wsgi_root": str(tmp_path / "w"), "ansible_facts": facts(DEBIAN)}
    variables |= {"python_versions": ["2.7"]}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": variables}}}))
    (tmp_path / "play.yml").write_text(PLAY)
    shown = run_ansible(tmp_path, "playbook", "-i", "hosts.yml", "play.yml")
    answer = json.loads(base64.b64decode(shown.rpartition('"msg": "')[2].partition('"')[0]))["answer"]
    assert (answer["changed"], answer["as_wanted"], answer["msg"]) == (False, roles == [], said)
    assert answer["orphans"]["described"] == []
    assert f"web1 {said}" in shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--list-tasks"], "Ask whether each host is as wanted by the roles"),
        (["--list-hosts"], "web1"),
        (["--list-tasks", "--tags", "nginx"], "Install the package of nginx"),
        (["--list-tasks", "--skip-tags", "wsgi"], "Install the package of nginx"),
        (["--list-tasks", "--start-at-task", "Install nginx"], "Install the package of nginx"),
        (["--syntax-check"], "playbook: "),
    ],
)
def test_the_playbook_is_listed_in_every_way(tmp_path: Path, words: list[str], shown: str) -> None:
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": {"wsgi_apps": []}}}}))
    site = str(ROOT / "playbooks" / "site.yml")
    said = run_ansible(tmp_path, "playbook", "-i", "hosts.yml", site, *words)
    assert shown in said
    # With tags, a run is for a part of the roles, and no answer about the whole of them is of use.
    if words[1:2] == ["--tags"]:
        assert "Ask whether each host is as wanted by the roles" not in said
