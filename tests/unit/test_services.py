"""A service under either manager: a real supervisord, and a stand-in for systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, pending_marker, services
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor
from ansible_collections.baremetal.web.plugins.module_utils._release.modules import app_info
from conftest import GROUP, OWNER, StandIns, Systemd, startsecs, wait_until

Change = Callable[..., dict[str, Any]]
UNIT = "web.service"
# Takes its configuration up at its start and when it is told; ends at once with one that it cannot run with.
DAEMON = """
import pathlib, signal, sys, time
config, taken = map(pathlib.Path, sys.argv[1:])
def take_up(*_):
    taken.write_text(config.read_text())
signal.signal(signal.SIGHUP, take_up)
if "bad" in config.read_text():
    sys.exit("bad configuration")
take_up()
while True:
    time.sleep(60)
"""


class Web:
    """The service `web`, and the module that changes it."""

    def __init__(self, place: Path, run: Change, supervisor: Supervisor, description: dict[str, Any]):
        self.config, self.taken = place / "web.conf", place / "taken"
        self.run = run
        self.supervisor = supervisor
        self.description = description

    def __call__(self, manager: str, text: str = "one\n", check: str = "true", new: bool = True, **more: Any) -> Any:
        file = {"path": str(self.config), "content": text, "owner": OWNER, "group": GROUP, "foreign": "replace"}
        program = {"program": self.description} if new else {}
        check_mode = more.pop("check_mode", False)
        wanted = {"name": UNIT, "manager": manager, "files": [file], "check": ["sh", "-c", check], **program, **more}
        return self.run("service_config", wanted, check_mode)

    @property
    def state(self) -> str:
        return self.supervisor.state("web")

    @property
    def pid(self) -> int:
        return next(iter(self.supervisor.processes("web")), 0)

    def has_taken(self, text: str) -> None:
        wait_until(lambda: self.taken.exists() and self.taken.read_text() == text)


@pytest.fixture
def web(
    tmp_path: Path,
    run_module: Change,
    supervisor: Supervisor,
    systemd: Systemd,
    program: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Web:
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(tmp_path / "marks"))
    monkeypatch.setattr(services, "Supervisor", lambda: supervisor)
    monkeypatch.setattr(services, "ROOT", OWNER)
    (tmp_path / "web.py").write_text(DAEMON)
    command = f"{sys.executable} -IS {tmp_path}/web.py {tmp_path}/web.conf {tmp_path}/taken"
    systemd.add(UNIT)
    described = program("web", command=command, startsecs=startsecs(), startretries=0)
    return Web(tmp_path, run_module, supervisor, described)


def test_a_program_takes_over_from_the_unit_and_a_second_run_changes_nothing(web: Web, systemd: Systemd) -> None:
    assert web("supervisor")["action"] == "started"
    assert (web.state, systemd.is_active(UNIT), systemd.is_enabled(UNIT)) == ("RUNNING", False, False)
    assert change_record.read()["unit"] == {UNIT: {"active": True, "enabled": True}}
    assert not web("supervisor")["changed"]
    assert not web("supervisor", new=False)["changed"]


def test_the_unit_takes_over_from_the_program_and_nothing_of_that_remains(web: Web, systemd: Systemd) -> None:
    web("supervisor")
    assert web("systemd", new=False)["action"] == "started"
    assert (web.state, systemd.is_active(UNIT), systemd.is_enabled(UNIT)) == ("ABSENT", True, True)
    assert web.supervisor.programs() == set()
    assert web.supervisor.path("web") not in change_record.read()["file"]
    assert not web("systemd")["changed"]


def test_the_former_manager_lets_go_before_the_other_starts(web: Web, systemd: Systemd) -> None:
    web("supervisor")
    assert systemd.calls == [f"disable --now --quiet {UNIT}"]


def test_a_running_program_takes_a_change_up_without_a_restart(web: Web) -> None:
    web("supervisor")
    web.has_taken("one\n")
    before = web.pid
    assert web("supervisor", "two\n", new=False)["action"] == "reloaded"
    web.has_taken("two\n")
    assert web.pid == before


def test_a_configuration_that_is_refused_never_reaches_the_running_program(web: Web) -> None:
    web("supervisor")
    web.has_taken("one\n")
    before = web.pid
    result = web("supervisor", "two\n", check=f"echo no >&2; ! grep -q two {web.config}")
    assert result["failed"]
    assert (web.config.read_text(), web.taken.read_text(), web.pid) == ("one\n", "one\n", before)


def test_a_program_whose_description_changes_starts_anew(web: Web) -> None:
    web("supervisor")
    before = web.pid
    web.description["umask"] = "077"
    assert web("supervisor")["action"] == "restarted"
    assert web.pid not in (0, before)


def test_a_program_that_somebody_stopped_runs_again(web: Web) -> None:
    web("supervisor")
    web.supervisor.call("stopProcessGroup", "web")
    assert web("supervisor", check_mode=True)["changed"]
    assert web("supervisor")["action"] == "started"
    assert web.state == "RUNNING"


def test_a_unit_that_has_not_read_a_file_since_it_was_put_there_is_reloaded(
    web: Web, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.add(UNIT)
    web("systemd")
    after = 1.0
    monkeypatch.setattr(services.Unit, "configured", property(lambda _unit: os.stat(web.config).st_ctime + after))
    assert not web("systemd")["changed"]
    after = -1.0
    assert web("systemd")["action"] == "reloaded"


def test_the_newest_worker_tells_when_a_web_server_has_read_its_configuration(stand_ins: StandIns) -> None:
    stand_ins.add("systemctl", f"echo {os.getpid()}")
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as worker:
        found = services.Unit("nginx.service").configured
        other = services.Unit("redis.service").configured
        worker.kill()
    assert before - 1 < found < time.time() + 1
    assert other == 0


def test_a_program_that_is_older_than_what_it_is_made_of_restarts_once(web: Web, tmp_path: Path) -> None:
    web("supervisor")
    newer = tmp_path / "binary"
    wait_until(lambda: (newer.write_text("new"), newer.stat().st_ctime > 1 + services.Program("web", None).started)[1])
    assert web("supervisor", restart_if_newer=[str(newer)])["action"] == "restarted"
    wait_until(lambda: services.Program("web", None).started >= int(newer.stat().st_ctime))


def test_when_the_program_does_not_stay_up_the_unit_has_the_service_again(web: Web, systemd: Systemd) -> None:
    result = web("supervisor", "bad\n")
    assert "The program web of supervisord does not stay up: it is FATAL.\nbad configuration" in result["msg"]
    assert (web.state, systemd.is_active(UNIT), systemd.is_enabled(UNIT)) == ("ABSENT", True, True)
    assert web.supervisor.programs() == set()
    assert not web.config.exists()


def test_when_the_unit_does_not_come_up_the_program_has_the_service_again(web: Web, systemd: Systemd) -> None:
    web("supervisor")
    systemd.add(UNIT, active=False, enabled=False, start="false")
    assert web("systemd")["failed"]
    assert (web.state, systemd.is_active(UNIT)) == ("RUNNING", False)
    assert web.supervisor.programs() == {"web"}


def test_a_program_that_nobody_has_described_is_missed_by_name(web: Web, systemd: Systemd) -> None:
    result = web("supervisor", new=False)
    assert "supervisord has no program web; let the role that brings it run first" in result["msg"]
    assert systemd.is_active(UNIT)


def test_without_supervisord_nothing_is_touched_and_that_is_said(
    web: Web, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Supervisor:
        return Supervisor("/no/such/supervisord.conf")

    monkeypatch.setattr(services, "Supervisor", missing)
    assert web("supervisor", check_mode=True)["changed"]
    assert "There is no supervisord of this collection on this host" in web("supervisor")["msg"]
    assert systemd.is_active(UNIT)
    assert not web("systemd", "one\n")["failed"]


def test_the_status_names_nginx_by_whoever_runs_it(
    web: Web, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.add("systemctl", "echo inactive; exit 3")
    monkeypatch.setattr(app_info, "Supervisor", lambda: web.supervisor)
    assert app_info.nginx_state() == "inactive"
    sleep = shutil.which("sleep")
    assert sleep
    text = f"[program:nginx]\ncommand = {os.path.realpath(sleep)} 600\nstartsecs = 0\n"
    web.supervisor.add("nginx", text)
    wait_until(lambda: app_info.nginx_state() == "active")
    web.supervisor.call("stopProcessGroup", "nginx")
    assert app_info.nginx_state() == "stopped"
