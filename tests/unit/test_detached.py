"""Work that is begun comes to its end, whatever becomes of those who wait for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.detached import detached
from conftest import PATIENCE, ROOT, StandIns, wait_until

pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.fixture(autouse=True)
def no_systemd(stand_ins: StandIns) -> None:
    stand_ins.add("busctl", "exit 1")


def test_the_answer_of_the_work_comes_back() -> None:
    answer = {"changed": True, "nested": {"漢字": [1, None]}, "long": "x" * 300_000}
    assert detached("test", lambda: answer) == answer


def test_the_work_is_in_a_session_of_its_own_with_nothing_of_the_connection(stand_ins: StandIns) -> None:
    def work() -> dict[str, Any]:
        return {
            "session": os.getsid(0) == os.getpid() != os.getppid(),
            "files": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)],
            "pid": os.getpid(),
        }

    answer = detached("test", work)
    assert answer["session"]
    assert answer["files"] == [os.devnull] * 3
    (asked,) = stand_ins.calls  # systemd, for a control group of its own
    assert f"baremetal-web-test-{answer['pid']}.scope" in asked


def test_without_busctl_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/no/such/place")
    assert detached("test", lambda: {"changed": True}) == {"changed": True}


def test_an_exception_comes_back_as_text() -> None:
    def work() -> dict[str, Any]:
        raise KeyError("the reason")

    message = detached("test", work)["msg"]
    assert message.startswith("Traceback")
    assert "KeyError: 'the reason'" in message


def test_work_that_is_killed_is_told_as_that() -> None:
    assert "ended from outside" in detached("test", lambda: os.kill(os.getpid(), signal.SIGKILL))["msg"]  # type: ignore


def test_what_the_end_of_a_login_sends_does_not_end_the_work() -> None:
    def work() -> dict[str, Any]:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            os.kill(os.getpid(), number)
        time.sleep(0.05)
        return {"done": True}

    assert detached("test", work) == {"done": True}


def test_the_programs_that_the_work_starts_can_be_ended_as_any_other() -> None:
    def work() -> dict[str, Any]:
        ends = {}
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            with subprocess.Popen(["sleep", "60"]) as process:
                process.send_signal(number)
                ends[number.name] = process.wait(PATIENCE)
        return ends

    assert detached("test", work) == {"SIGHUP": -1, "SIGINT": -2, "SIGTERM": -15, "SIGPIPE": -13}


WAITING = """
import os, signal, sys, time
from ansible_collections.baremetal.web.plugins.module_utils._host.detached import detached

for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # the tests themselves may have been started with nohup

def work():
    open("begun", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.05)
    print("for nobody")
    open("done", "w").close()
    return {"long": "x" * 300_000}

detached("test", work)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
def test_the_work_goes_on_to_its_end_when_the_one_who_waits_for_it_is_ended(
    tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=tmp_path, env=environment, start_new_session=True, stdout=subprocess.PIPE
    ) as waiting:
        wait_until((tmp_path / "begun").exists)
        (os.killpg if group else os.kill)(waiting.pid, number)
        assert waiting.wait(PATIENCE) == -number
    assert not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    wait_until((tmp_path / "done").exists)
