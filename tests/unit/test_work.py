"""The work of a module, which AnsibleModule is around in one place; and the commands that it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.action.conda import ActionModule as Conda
from ansible_collections.baremetal.web.plugins.action.venv import ActionModule as Venv
from ansible_collections.baremetal.web.plugins.module_utils._host import commands
from ansible_collections.baremetal.web.plugins.module_utils._host.work import WorkError
from ansible_collections.baremetal.web.plugins.module_utils._release.modules.survey import encoded
from conftest import PLUGINS, ROOT, StandIns

Answer = dict[str, Any]
MODULE = """
from ansible_collections.baremetal.web.plugins.module_utils._host.work import WorkError, carry_out

def work(asked):
    asked.warnings += asked.params["warnings"]
    if asked.params["refusal"]:
        raise WorkError(asked.params["refusal"], files=["/etc/shop"], secret=asked.params["secret"])
    return {"changed": True, "seen": [asked.check_mode, asked.diff, asked.params["number"]]}

ARGUMENTS = {
    "number": {"type": "int", "default": 1},
    "secret": {"type": "str", "no_log": True},
    "refusal": {"type": "str"},
    "warnings": {"type": "list", "elements": "str", "default": []},
}
carry_out(ARGUMENTS, work, mutually_exclusive=[("number", "secret")])
"""


@pytest.fixture(scope="module")
def ask() -> Callable[..., Answer]:
    """Run the module in a process of its own, with Ansible's own AnsibleModule."""

    def _ask(**arguments: Any) -> Answer:
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
        command = [sys.executable, "-c", MODULE]
        done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
        answer = json.loads(done.stdout)
        assert bool(done.returncode) == answer.get("failed", False)
        return answer

    return _ask


def test_a_module_answers_what_its_work_returns(ask: Callable[..., Answer]) -> None:
    answer = ask(number="7")
    assert (answer["changed"], answer["seen"]) == (True, [False, False, 7])
    assert not answer.get("warnings")


def test_the_work_is_told_of_check_mode_and_of_diff_mode(ask: Callable[..., Answer]) -> None:
    assert ask(_ansible_check_mode=True)["seen"] == [True, False, 1]
    assert ask(_ansible_diff=True)["seen"] == [False, True, 1]


def test_work_that_is_refused_fails_with_its_message_and_more_keys(ask: Callable[..., Answer]) -> None:
    answer = ask(refusal="The disk is full.", warnings=["nearly"])
    assert (answer["failed"], answer["msg"], answer["files"]) == (True, "The disk is full.", ["/etc/shop"])
    assert "nearly" in str(answer["warnings"])
    assert "seen" not in answer


def test_a_secret_is_in_no_answer(ask: Callable[..., Answer]) -> None:
    answer = ask(refusal="It said correct-horse.", secret="correct-horse")
    assert answer["failed"]
    assert "correct-horse" not in json.dumps({key: answer[key] for key in ("msg", "secret")})


def test_warnings_of_the_work_are_given(ask: Callable[..., Answer]) -> None:
    answer = ask(warnings=["one", "two"])
    assert answer["changed"]
    assert [text for text in ("one", "two") if text in str(answer["warnings"])] == ["one", "two"]


def test_a_rule_on_the_arguments_is_kept(ask: Callable[..., Answer]) -> None:
    assert "mutually exclusive" in ask(number=1, secret="correct-horse")["msg"]


# What one process can ask many modules in check mode.

WORK = {
    "packages": {"names": ["no-such-package"], "state": "absent"},
    "service_config": {
        "directories": [{"path": "{place}/made"}],
        "files": [{"path": "{place}/made/file", "content": "text"}],
        "secrets": [{"name": "web", "path": "{place}/secret"}],
    },
    "firewall": {"name": "shop", "state": "absent"},
    "selinux": {"name": "shop", "listen": [80]},
    "venv": {"path": "{place}/venv", "requirements": "flask==3.1.0", "version": sys.executable},
    "conda": {"checksum": f"sha256:{'0' * 64}", "prefix": "{place}/conda", "versions": ["3.12"]},
    "host_facts": {},
    "apache_ports_info": {"configuration": ["{place}/*.conf"], "owner": "wsgi"},
    "app_info": {"apps": [], "described": []},
    "survey": {"parts": encoded([("host_facts", {}), ("packages", {"names": ["no-such-package"], "state": "absent"})])},
}
PROCESS = """
import importlib, json, os, sys

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked

rooms, asked = json.loads(sys.argv[1]), json.loads(sys.argv[2])
works = {name: importlib.import_module(rooms[name]) for name in asked}
written = []

def watch(event, arguments):
    if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if not isinstance(arguments[0], int):  # a pipe
            written.append(os.fsdecode(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.symlink", "os.chmod", "os.chown", "tempfile.mkdtemp"):
        written.append(f"{event} {arguments[0]}")

answers = {}
sys.addaudithook(watch)
for name, module in works.items():
    validated = ArgumentSpecValidator(module.ARGUMENTS).validate(asked[name])
    assert not validated.error_messages, validated.error_messages
    answers[name] = module.work(Asked(validated.validated_parameters, check_mode=True))
written = [path for path in written if not path.startswith(("/dev/null", "/sys/fs/selinux/"))]
print(json.dumps([answers, written]))
"""


def test_one_process_asks_all_modules_in_check_mode_and_writes_nothing(tmp_path: Path) -> None:
    rooms = {
        file.stem: ".".join((PLUGINS, *file.relative_to(ROOT / "plugins").with_suffix("").parts))
        for file in (ROOT / "plugins" / "module_utils").glob("_*/modules/*.py")
    }
    assert set(rooms) - set(WORK) == {"release_stage_info"}
    asked = json.dumps(WORK).replace("{place}", str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROCESS, json.dumps(rooms), asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    answers, written = json.loads(done.stdout)
    assert written == []
    assert list(tmp_path.iterdir()) == []
    assert {name for name, answer in answers.items() if answer["changed"]} == {"service_config", "venv", "conda"}
    assert len(answers["survey"]["answers"]) == 2


# Commands.


def test_a_command_answers_in_english_with_what_it_said_and_reads_nothing(
    stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    stand_ins.add("tell", 'cat; printenv LC_ALL; printf "%b" "\\0303\\0274\\0377" >&2; exit 3')
    answer = commands.run(["tell"])
    assert answer == (3, "C.UTF-8\n", "ü\udcff")


def test_a_command_that_lacks_is_an_error_or_left_to_the_caller() -> None:
    with pytest.raises(WorkError, match="no-such-program") as caught:
        commands.run(["no-such-program", "a b"])
    assert caught.value.more["cmd"] == "no-such-program 'a b'"
    with pytest.raises(FileNotFoundError):
        commands.attempt(["no-such-program"])


def test_a_command_that_has_to_succeed_fails_with_what_it_complained_of(stand_ins: StandIns) -> None:
    stand_ins.add("tell", "echo out; echo complaint >&2; exit 3")
    with pytest.raises(WorkError, match=r"^complaint$") as caught:
        commands.run(["tell", "it"], checked=True)
    assert caught.value.more == {"cmd": "tell it", "rc": 3, "stdout": "out\n", "stderr": "complaint\n"}


# What actions ask the host first.


def test_the_requirements_of_an_environment_are_checked_before_a_host_is_asked() -> None:
    given = {"path": "/opt/x", "requirements": "flask==3.1.0  # web\n"}
    assert Venv.host_args(given)["path"] == "/opt/x"
    assert "wheels" not in Venv.host_args(given)
    with pytest.raises(Exception, match="requirements"):
        Venv.host_args({**given, "requirements": "-r other.txt\n"})


def test_a_wheelhouse_is_for_the_host_the_wheels_that_it_may_need(tmp_path: Path) -> None:
    given = {"path": "/opt/x", "requirements": "flask==3.1.0\n", "wheelhouse": str(tmp_path)}
    (tmp_path / "flask-3.1.0-py3-none-any.whl").write_bytes(b"wheel")
    asked = Venv.host_args(given)
    assert "wheelhouse" not in asked
    assert list(asked["wheels"]) == ["flask-3.1.0-py3-none-any.whl"]


def test_a_host_is_not_told_where_the_installer_of_conda_is(tmp_path: Path) -> None:
    installer = tmp_path / "installer.sh"
    installer.write_text("true\n")
    given = {"path": "installer.sh", "search": str(tmp_path), "checksum": f"sha256:{'0' * 64}", "url": None}
    assert Conda.host_args({**given, "versions": ["3.12"]}) == {"checksum": given["checksum"], "versions": ["3.12"]}
    installer.unlink()
    with pytest.raises(Exception, match="is no file on the controller"):
        Conda.host_args(given)
