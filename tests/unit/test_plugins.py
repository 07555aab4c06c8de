"""Modules, filters and the action: documented as they are, and discreet with what is secret."""

from __future__ import annotations

import base64
import copy
import hashlib
import importlib
import inspect
import json
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.baremetal.web.plugins.action.release_stage import ActionModule
from ansible_collections.baremetal.web.plugins.filter.status_table import status_table
from ansible_collections.baremetal.web.plugins.lookup import template
from ansible_collections.baremetal.web.plugins.module_utils._host import work
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import SERVER_LOCK
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import resolve
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.tables import table
from conftest import HOST, PLUGINS, ROOT, run_ansible

BENCHMARK = ROOT / "roles" / "benchmark"
# The benchmark's own stand beside its playbook.
FOLDERS = {"modules": "library", "filter": "filter_plugins", "action": "action_plugins"}


def names(kind: str) -> list[str]:
    own = [*(BENCHMARK / FOLDERS[kind]).glob("*.py")] if kind in FOLDERS else []
    return sorted(path.stem for path in [*(ROOT / "plugins" / kind).glob("*.py"), *own])


def of_benchmark(name: str) -> bool:
    return name.startswith("benchmark_")


def load(kind: str, name: str) -> ModuleType:
    if of_benchmark(name):
        return importlib.import_module(f"ansible_collections.baremetal.web.roles.benchmark.{FOLDERS[kind]}.{name}")
    return importlib.import_module(f"{PLUGINS}.{kind}.{name}")


def full_name(name: str) -> str:
    return name if of_benchmark(name) else f"baremetal.web.{name}"


def valid_args(action: str) -> frozenset[str]:
    """Return the options that an action takes where it says so itself."""
    return load("action", action).ActionModule._VALID_ARGS


INFO = "release_stage_info"
MODULES, FILTERS, LOOKUPS, ACTIONS = (names(kind) for kind in ("modules", "filter", "lookup", "action"))


class Intercepted(Exception):
    """A module has said which arguments it takes."""


@pytest.fixture
def argument_spec(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Return the arguments that a module takes, without running it."""

    def _argument_spec(name: str) -> dict[str, Any]:
        module = load("modules", name)
        taken: dict[str, Any] = {}

        def intercept(argument_spec: dict[str, Any], **options: Any) -> None:
            taken.update(argument_spec=argument_spec, **options)
            raise Intercepted

        if hasattr(module, "main"):
            # A module whose work stands apart is made an AnsibleModule there.
            monkeypatch.setattr(module if hasattr(module, "AnsibleModule") else work, "AnsibleModule", intercept)
            with pytest.raises(Intercepted):
                module.main()
        else:  # documentation of an action that does all the work
            action = load("action", name).ActionModule
            monkeypatch.setattr(ActionBase, "run", lambda *_: {})
            monkeypatch.setattr(action, "validate_argument_spec", lambda _self, spec, **_: intercept(spec))
            with pytest.raises(Intercepted):
                action.run(object.__new__(action))
            taken["supports_check_mode"] = True  # as every action does that says nothing else
        return taken

    return _argument_spec


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the documentation of every module, filter and lookup as ansible-doc has it."""
    place = tmp_path_factory.mktemp("doc")
    found: dict[str, dict[str, Any]] = {}
    for kind, plugins in (("module", MODULES), ("filter", FILTERS), ("lookup", LOOKUPS)):
        own = [name for name in plugins if of_benchmark(name)]
        others = [full_name(name) for name in plugins if not of_benchmark(name)]
        out = json.loads(run_ansible(place, "doc", "--json", "-t", kind, *others))
        if own:
            folder = str(BENCHMARK / FOLDERS["modules" if kind == "module" else kind])
            out |= json.loads(run_ansible(place, "doc", "--json", "-t", kind, "-M", folder, *own))
        found[kind] = {name.rpartition(".")[2]: value for name, value in out.items()}
    return found


def shape(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what documentation and argument spec have in common of their options."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": bool(option.get("required")),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": shape(option.get("options") or option.get("suboptions")),
        }
        for name, option in (options or {}).items()
    }


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_what_it_documents(
    documented: dict[str, dict[str, Any]], argument_spec: Callable[[str], dict[str, Any]], name: str
) -> None:
    assert shape(documented["module"][name]["doc"]["options"]) == shape(argument_spec(name)["argument_spec"])


@pytest.mark.parametrize("name", MODULES)
def test_a_module_supports_check_mode_as_it_documents(
    documented: dict[str, dict[str, Any]], argument_spec: Callable[[str], dict[str, Any]], name: str
) -> None:
    promised = documented["module"][name]["doc"]["attributes"]["check_mode"]["support"]
    assert argument_spec(name).get("supports_check_mode", False) == (promised == "full")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_tasks_and_its_results_are_described(
    documented: dict[str, dict[str, Any]], name: str
) -> None:
    assert documented["module"][name]["doc"]["module"] == name
    examples = yaml.safe_load(documented["module"][name]["examples"])
    assert all(isinstance(task, dict) and task["name"] for task in examples)
    for value in documented["module"][name]["return"].values():
        assert value["description"]
        assert value["type"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_name_options_that_it_has(
    documented: dict[str, dict[str, Any]], argument_spec: Callable[[str], dict[str, Any]], name: str
) -> None:
    spec = argument_spec(name)["argument_spec"]
    tasks = [task for task in yaml.safe_load(documented["module"][name]["examples"]) if full_name(name) in task]
    for task in tasks:
        given = task[full_name(name)]
        assert set(given) <= set(spec)
        assert {option for option, what in spec.items() if what.get("required")} <= set(given)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_takes_what_it_documents(documented: dict[str, dict[str, Any]], name: str) -> None:
    filters = load("filter", name).FilterModule().filters()
    assert list(filters) == [name]
    document = documented["filter"][name]["doc"]
    # Jinja itself gives some filters its environment before the value.
    parameters = [*inspect.signature(filters[name]).parameters.values()]
    first, *others = parameters[1:] if hasattr(filters[name], "jinja_pass_arg") else parameters
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert {"_input", *(other.name for other in others)} == set(document["options"])
    for other in others:
        option = document["options"][other.name]
        assert bool(option.get("required")) == (other.default is inspect.Parameter.empty)
        assert option.get("default") == (None if other.default is inspect.Parameter.empty else other.default)
    positional = [word.strip() for word in document.get("positional", "").split(",") if word]
    assert positional == [other.name for other in others if other.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]


@pytest.mark.parametrize("name", [name for name in ACTIONS if valid_args(name)])
def test_an_action_takes_options_of_its_module_only(argument_spec: Callable[[str], dict[str, Any]], name: str) -> None:
    spec = argument_spec(name)["argument_spec"]
    assert set(spec) >= valid_args(name)
    assert {option for option, what in spec.items() if what.get("required")} <= valid_args(name)


def test_the_environment_of_a_program_is_not_logged_on_the_host(
    argument_spec: Callable[[str], dict[str, Any]],
) -> None:
    spec = argument_spec("supervisor_program")["argument_spec"]
    assert any(option.get("no_log") for name, option in walk(spec) if name in ("program", "environment"))


def walk(options: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, option in options.items():
        yield name, option
        yield from walk(option.get("options") or {})


class Recorder(ActionBase):
    """An action with a recorder in place of the connection: what the host would be asked, and its answers."""

    def __init__(self, action: str, args: dict[str, Any], check_mode: bool = False, **answer: Any):
        self._task = SimpleNamespace(
            args=args, check_mode=check_mode, async_val=0, action=action, diff=False, delegate_to=None
        )
        self._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        self._supports_check_mode, self._supports_async = True, False
        nothing = {
            "current": "",
            "current_version": "",
            "complete": False,
            "converged": False,
            "endpoint_changed": False,
        }
        self.answer = {"changed": False, **nothing, "slots": {}, "environment_names": [], "lacking": [], **answer}
        self.modules: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.uploaded: list[str] = []

    def _early_needs_tmp_path(self) -> bool:
        return False

    def _execute_module(self, module_name: str = "", module_args: Any = None, **_more: Any) -> dict[str, Any]:
        self.modules.append((module_name or self._task.action).removeprefix("baremetal.web."))
        self.asked.append(json.loads(json.dumps(module_args)))
        if self.modules[-1] != INFO:
            return {"changed": True}
        return {"release": module_args["release"], **self.answer}

    def _upload(self, pack: Callable[[str], None], name: str) -> str:
        with tempfile.TemporaryDirectory() as directory:
            pack(f"{directory}/{name}")
            with tarfile.open(f"{directory}/{name}") as archive:
                self.uploaded += archive.getnames()
        return f"/remote/{name}"


class Release(Recorder, ActionModule):
    """The action that stages."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "requirements.txt").write_text("flask==3.1\n")
    (path / "shop.py").write_text("app = 1\n")
    return path


@pytest.fixture
def action(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Release]:
    """Run the action for an app, with nothing left of the run before; return what it asked the host."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "run"))

    def _action(
        check_mode: bool = False,
        answer: Mapping[str, Any] | None = None,
        platform_python: str = "3.13",
        proxy: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> Release:
        app = {"name": "shop", "source": {"path": str(source)}, "entrypoint": "shop:app", **keys}
        host = {**HOST, "root": "/srv/wsgi", "python": platform_python, "search": []}
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        args = {"socket_group": "www-data", "uv": "/opt/uv", "index_url": "https://me:hunter2@pypi.example/"}
        args |= proxy or {}
        resolved = resolve([app], **host)["apps"][0]
        args = {"app": resolved, "config": "workers = 1\n", **args}
        release = Release("baremetal.web.release_stage", args, check_mode, **(answer or {}))
        release.result = release.run(task_vars={})
        return release

    return _action


@pytest.mark.parametrize(
    ("kind", "file", "said"),
    [
        ("gunicorn", "gunicorn.conf.py", ["gunicorn.conf.py of the source is not read"]),
        ("uwsgi", "uwsgi.ini", ["uwsgi.ini of the source is not read"]),
        ("granian", "gunicorn.conf.py", []),
        ("gunicorn", "deploy/gunicorn.conf.py", []),
    ],
)
def test_a_configuration_of_the_server_in_the_source_is_said_to_be_unread(
    action: Callable[..., Release], source: Path, monkeypatch: pytest.MonkeyPatch, kind: str, file: str, said: list[str]
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text, **_more: warnings.append(text))
    (source / file).parent.mkdir(exist_ok=True)
    (source / file).write_text("")
    action(server={"kind": kind})
    assert len(warnings) == len(said)
    assert all(sentence in warning for sentence, warning in zip(said, warnings, strict=True))


def wanted(release: Release) -> str:
    return release.asked[0]["release"]


def test_a_host_that_has_everything_is_asked_once_and_sent_nothing(action: Callable[..., Release]) -> None:
    release = action(answer={"converged": True, "complete": True})
    assert release.modules == [INFO]
    assert not release.result["changed"]
    assert release.uploaded == []


def test_a_proxy_reaches_the_installation_and_is_no_part_of_a_release(action: Callable[..., Release]) -> None:
    proxy = {"proxy_url": "http://me:correct-horse@proxy.example:3128", "no_proxy": ["pypi.example"]}
    release = action(proxy=proxy)
    assert wanted(release) == wanted(action())
    build = release.asked[1]
    assert {key: build.pop(key) for key in proxy} == proxy
    assert "correct-horse" not in json.dumps(build)
    assert "proxy.example" not in base64.b64decode(build["environment"]).decode()


def test_a_host_that_lacks_the_release_is_sent_its_parts(action: Callable[..., Release]) -> None:
    release = action()
    inspect_call, build_call = release.asked
    assert release.modules == [INFO, "release_stage"]
    assert build_call["release"] == inspect_call["release"]
    assert build_call["archive"] == "/remote/source.tar.gz"
    assert release.uploaded == ["requirements.txt", "shop.py"]
    assert build_call["files"]["server/gunicorn.conf.py"] == "workers = 1\n"
    assert "gunicorn==" in build_call["files"][SERVER_LOCK]


def test_a_release_that_is_staged_already_is_not_sent_again(action: Callable[..., Release]) -> None:
    release = action(answer={"complete": True})
    assert release.modules == [INFO, "release_stage"]
    assert release.uploaded == []


def test_what_a_host_is_asked_first_is_known_without_a_connection(action: Callable[..., Release]) -> None:
    release = action(environment={"A": "1"})
    question = ActionModule.host_args(release._task.args)
    assert json.loads(json.dumps(question)) == release.asked[0]
    assert release.modules[0] == INFO


def test_the_release_that_the_host_names_is_the_one_that_is_built(action: Callable[..., Release]) -> None:
    release = action(answer={"release": f"{'a' * 12}.2"})
    assert release.asked[1]["release"] == release.result["release"] == f"{'a' * 12}.2"


def test_a_host_that_cannot_be_asked_is_asked_no_more(action: Callable[..., Release]) -> None:
    release = action(answer={"failed": True, "msg": "why"})
    assert (len(release.asked), release.result["msg"]) == (1, "why")


def test_every_step_tells_the_host_who_does_it_and_in_which_run(action: Callable[..., Release]) -> None:
    calls = [action().asked[1], action().asked[1]]
    calls += [step(f"release_{name}") for name in ("activate", "rollback", "abandon", "hooks", "lock")]
    assert len({(call["by"], call["run"]) for call in calls}) == 1
    assert "@" in calls[0]["by"]
    assert calls[0]["run"]


def step(name: str) -> dict[str, Any]:
    """Return what the host is asked at another step than staging."""
    action = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    called = type("Called", (Recorder, action), {})(f"baremetal.web.{name}", {"name": "shop"})
    called.run(task_vars={})
    assert called.modules == [name]
    (call,) = called.asked
    return call


def test_a_run_is_told_which_lists_have_hooks_for_each_host_and_for_the_fleet(
    action: Callable[..., Release],
) -> None:
    hooks = {"migrate": [{"name": "schema", "command": "x"}, {"name": "each", "command": "x", "run_once": False}]}
    wanted = {"after_stage": [], "migrate": [False, True], "before_activate": [], "after_activate": []}
    assert action(hooks=hooks, answer={"converged": True}).result["hooks"] == wanted


def test_what_a_host_remembers_to_run_a_release_later_holds_no_environment(action: Callable[..., Release]) -> None:
    release = action(environment={"PASSWORD": "correct-horse"})
    for call in release.asked:
        assert "correct-horse" not in json.dumps(call["manifest"])
        assert call["manifest"]["description"]["program"]["environment"] == {}


def test_what_a_host_remembers_is_what_the_tests_of_activation_go_by(
    action: Callable[..., Release], description: dict[str, Any]
) -> None:
    told = action().asked[0]["manifest"]["description"]
    assert set(told) == set(description)
    for key in ("health", "releases", "hooks", "program"):
        assert set(told[key]) == set(description[key])
    assert told["supervisorctl"] == "/opt/supervisorctl"


def test_check_mode_shows_from_what_to_what_an_app_would_go_and_activates_nothing(
    action: Callable[..., Release],
) -> None:
    live = "a" * 12
    names = ["+ NEW", "~ PASSWORD"]
    release = action(
        check_mode=True,
        answer={"current": live, "current_version": "1.0", "environment_names": names},
        programs=[{"name": "mailer", "command": "mail"}],
        hooks={"migrate": [{"name": "schema", "command": "x"}]},
    )
    assert release.modules == [INFO]
    assert release.result["changed"]
    assert release.result["diff"]["before"].splitlines() == [f"release {live} (version 1.0)", f"program shop-{live}"]
    new = wanted(release)
    first, *others = release.result["diff"]["after"].splitlines()
    assert first.startswith(f"release {new} (version ")
    programs = [f"program shop-{new}", f"program shop-{new}.mailer"]
    assert others == [*programs, "environment + NEW", "environment ~ PASSWORD", "hook migrate: schema"]


def test_check_mode_on_a_host_without_the_app_shows_that_nothing_is_live(action: Callable[..., Release]) -> None:
    assert action(check_mode=True).result["diff"]["before"] == "no release\n"


def test_the_same_app_is_the_same_release_and_a_changed_one_another(
    action: Callable[..., Release], source: Path
) -> None:
    first = wanted(action())
    assert wanted(action()) == first
    assert wanted(action(environment={"A": "1"})) != first
    assert wanted(action(entrypoint="shop:other")) != first
    (source / "shop.py").write_text("app = 2\n")
    assert wanted(action()) != first


def test_another_python_of_the_platform_is_another_release_but_for_an_app_that_names_its_own(
    action: Callable[..., Release],
) -> None:
    assert wanted(action(platform_python="3.12")) != wanted(action(platform_python="3.13"))
    own = {"python": {"version": "3.12"}}
    assert wanted(action(platform_python="3.13", **own)) == wanted(action(platform_python="3.14", **own))
    assert wanted(action(platform_python="3.12")) == wanted(action(**own))


def test_a_change_of_the_site_or_the_probe_makes_no_new_release(action: Callable[..., Release]) -> None:
    first = wanted(action())
    assert wanted(action(site={"listen": 8080})) == first
    assert wanted(action(health={"path": "/healthz"})) == first
    assert wanted(action(releases={"keep": 9, "warm": 5})) == first


@pytest.mark.parametrize(
    "change",
    [
        {"programs": [{"name": "mailer", "command": "mail"}]},
        {"hooks": {"migrate": [{"name": "schema", "command": "x"}]}},
        {"shared": {"directories": ["uploads"]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_runs_beside_or_inside_an_app_is_part_of_its_release(
    action: Callable[..., Release], change: dict[str, Any]
) -> None:
    assert wanted(action(**change)) != wanted(action())


def test_a_source_without_the_requirements_it_names_is_refused(action: Callable[..., Release], source: Path) -> None:
    (source / "requirements.txt").unlink()
    archive = shutil.make_archive(str(source.parent / "packed"), "gztar", source)
    checksum = f"sha256:{hashlib.sha256(Path(archive).read_bytes()).hexdigest()}"
    with pytest.raises(AnsibleActionFail, match=r"app shop: .*'requirements.txt'"):
        action(source={"archive": {"path": archive, "checksum": checksum}})


def test_the_host_gets_the_environment_whole(action: Callable[..., Release]) -> None:
    environment = {"A": "ü\n'\"\\ ;#", "B": "x"}
    for call in action(environment=environment).asked:
        got = json.loads(base64.b64decode(call["environment"]))
        assert {name: got[name] for name in environment} == environment


def test_the_host_is_not_told_where_the_source_is_for_its_address_may_hold_a_password(
    action: Callable[..., Release], source: Path
) -> None:
    for call in action().asked:
        assert str(source) not in json.dumps(call)


def test_no_secret_is_in_an_argument_that_the_host_logs(
    action: Callable[..., Release], argument_spec: Callable[[str], dict[str, Any]]
) -> None:
    release = action(environment={"PASSWORD": "correct-horse"})
    assert release.modules == [INFO, "release_stage"]
    for module, call in zip(release.modules, release.asked, strict=True):
        spec = argument_spec(module)["argument_spec"]
        logged = json.dumps({name: value for name, value in call.items() if not spec.get(name, {}).get("no_log")})
        assert "correct-horse" not in logged
        assert "hunter2" not in logged


def test_the_table_has_a_line_for_each_app_and_one_for_a_silent_host() -> None:
    rows = [{"app": "shop", "release": "a" * 12, "health": "healthy"}, {"app": "api", "health": "answer 503"}]
    found = status_table(["web1", "web2"], {"web1": {"status_answer": {"rows": rows}}, "web2": {}})
    head, *lines = table(tuple(found["columns"]), found["shown"])
    assert head.split()[:3] == ["host", "app", "release"]
    assert [line.split()[0] for line in lines] == ["web1", "web1", "web2"]
    assert lines[0].index("healthy") == lines[1].index("answer 503") == head.index("health")
    assert "did not answer" in lines[2]


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_lookup_is_documented(documented: dict[str, dict[str, Any]], name: str) -> None:
    document = documented["lookup"][name]
    assert {"doc", "examples", "return"} <= {key for key, value in document.items() if value}
    assert "_terms" in document["doc"]["options"]


def test_a_template_is_what_it_is_with_ansible_s_own_lookup(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "part.j2").write_text("of {{ number + 1 }}, {{ template_path | basename }}\n")
    text = "{% set number = number + 1 %}{{ number }} {% include 'part.j2' %} {{ given }}\n"
    (tmp_path / "templates" / "text.j2").write_text("{{ ansible_managed | comment }}\n" + text)
    tasks = [
        {
            "ansible.builtin.copy": {
                "content": f"{{{{ lookup('{owner}.template', 'text.j2', template_vars={{'given': groups.all}}) }}}}",
                "dest": str(tmp_path / owner),
                "mode": "0644",
            }
        }
        for owner in ("baremetal.web", "ansible.builtin")
    ]
    play = [{"hosts": "localhost", "gather_facts": False, "vars": {"number": 1}, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    run_ansible(
        tmp_path,
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "play.yml",
    )
    ours, theirs = ((tmp_path / owner).read_text() for owner in ("baremetal.web", "ansible.builtin"))
    assert ours == theirs
    assert "2 of 3, text.j2" in ours


def test_a_template_copies_no_variable_in_depth() -> None:
    groups = {"all": ["web1", "web2"]}
    copied = copy.deepcopy(template.Shared(groups=groups))
    assert copied["groups"] is groups
    copied["more"] = 1
    assert "more" not in template.Shared(groups=groups)


# Names of earlier versions.


def test_a_module_of_an_earlier_version_leads_to_its_successors(tmp_path: Path) -> None:
    routing = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["plugin_routing"]["modules"]
    for name, route in routing.items():
        assert name not in MODULES
        if "redirect" in route:
            assert route["redirect"].removeprefix("baremetal.web.") in MODULES
    named = re.findall(r"release_\w+", routing["release"]["tombstone"]["warning_text"])
    assert sorted([*named, INFO]) == [name for name in MODULES if name.startswith("release_")]
    (tmp_path / "play.yml").write_text("- {hosts: localhost, tasks: [{baremetal.web.release: {phase: inspect}}]}\n")
    with pytest.raises(AssertionError, match=r"has been removed. [\s\S]*baremetal\.web\.release_stage"):
        run_ansible(tmp_path, "playbook", "-i", "localhost,", "--syntax-check", "play.yml")
