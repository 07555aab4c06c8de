"""The modules for releases: what each step does on a host, what it refuses and says, and what it leaves behind."""

from __future__ import annotations

import base64
import io
import json
import os
import pwd
import signal
import socket
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit
from ansible_collections.baremetal.web.plugins.module_utils._release import fitness, operation, staging
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import Activation
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import (
    ACTIVATE,
    AFTER_SWITCH,
    BEFORE_SWITCH,
    BUILD,
    KINDS,
    MOMENTS,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import mutex
from ansible_collections.baremetal.web.plugins.module_utils._release.probe import Probe
from ansible_collections.baremetal.web.plugins.modules import release_abandon
from conftest import GROUP, NO_HOOKS, OWNER, PATIENCE, A, B, C, D, Shop, hook, wait_until

Answer = dict[str, Any]


NAME, RUN = ("name",), ("by", "run")
# The module of each step, and which of the arguments it takes that all steps of a test have in common.
STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "inspect": ("release_stage_info", ()),
    "build": ("release_stage", RUN),
    "proxy_synced": ("release_proxy_synced", NAME),
    "hooks": ("release_hooks", NAME + RUN),
    "activate": ("release_activate", NAME + RUN),
    "abandon": ("release_abandon", NAME + RUN),
    "rollback": ("release_rollback", NAME + RUN),
    "lock": ("release_lock", NAME + RUN),
    "unlock": ("release_lock", NAME + RUN),
    "history": ("release_info", NAME),
}


class Host:
    """The host of the shop, as the action of the controller speaks to it."""

    def __init__(self, shop: Shop, run_module: Callable[..., Answer], place: Path):
        self.shop = shop
        self.home = shop.home
        self.run_module = run_module
        self.archive = place / "source.tar.gz"
        with tarfile.open(self.archive, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("shop.py"), io.BytesIO())

    def __call__(self, step: str, check_mode: bool = False, **arguments: Any) -> Answer:
        module, taken = STEPS[step]
        common = {"name": "shop", "by": "me@here", "run": "this"}
        given = {"root": os.path.dirname(self.home.path), **{key: common[key] for key in taken}}
        if step == "unlock":
            given["state"] = "absent"
        return self.run_module(module, {**given, **arguments}, check_mode)

    def asked(self, release: str, version: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Return what the action tells of an app to stage."""
        described = {
            key: {**value, **changes[key]} if isinstance(value, dict) and key in changes else changes.get(key, value)
            for key, value in self.shop.description.items()
        }
        app = {
            **{"name": "shop", "user": OWNER, "build_user": OWNER, "wheel": "", "interface": "wsgi"},
            "uv": sys.executable,
            **{key: described[key] for key in ("program", "programs", "hooks", "releases", "entrypoint")},
            "runner": {"endpoint": described["endpoint"]},
            "python": {"version": "auto", "requirements": "", "source_builds_enabled": False},
            "shared": {"directories": [], "files": []},
            "limits": described.get("limits", {}),
            "private_tmp": changes.get("private_tmp", False),
        }
        environment = base64.b64encode(json.dumps(changes.get("environment", {})).encode()).decode()
        manifest = {"app": "shop", "version": version, "commit": "", "description": described}
        return {"app": app, "release": release, "environment": environment, "manifest": manifest}

    def inspect(self, release: str, version: str = "", check_mode: bool = False, **changes: Any) -> Answer:
        return self("inspect", check_mode, **self.asked(release, version, changes))

    def stage(
        self, release: str, version: str = "", run: str = "this", redeploy: bool = False, **changes: Any
    ) -> Answer:
        asked = self.asked(release, version, changes)
        before = self("inspect", redeploy=redeploy, **asked)
        assert not before["failed"]
        if before["converged"]:
            return before
        asked.update(release=before["release"], socket_group=GROUP, run=run)
        if not before["complete"]:
            asked.update(archive=str(self.archive), files={staging.SERVER_LOCK: ""})
        return self("build", **asked)

    def deploy(self, release: str, version: str = "", run: str = "this", **changes: Any) -> Answer:
        staged = self.stage(release, version, run, **changes)
        if not staged["failed"]:
            self("proxy_synced")
        return staged if staged["failed"] else self("activate", release=staged["release"], run=run)

    def ready(self, *releases: str) -> None:
        for number, release in enumerate(releases, 1):
            assert not self.deploy(release, f"{number}.0")["failed"]

    def results(self) -> list[tuple[str, str, str]]:
        return [(row["action"], row["result"], row.get("release", "")) for row in self.home.history()]

    @property
    def locked(self) -> bool:
        return os.path.exists(os.path.join(self.home.path, "lock.json"))


@pytest.fixture
def host(shop: Shop, run_module: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    def install(path: str, *_arguments: Any, unit: Unit, **_options: Any) -> None:
        os.makedirs(os.path.join(unit.binds[path], "lib", "python3.12", "site-packages"))

    for owner in (fitness, operation, release_abandon):
        monkeypatch.setattr(owner, "Supervisor", lambda: shop.supervisor)
    monkeypatch.setattr(staging, "BUILD_HOME", str(tmp_path / "build"))
    monkeypatch.setattr(staging.venv, "install", install)
    monkeypatch.setattr(staging.venv, "find_interpreter", lambda _version: sys.executable)
    return Host(shop, run_module, tmp_path)


def hooks(kind: str, command: str, **options: Any) -> dict[str, Any]:
    return {**NO_HOOKS, kind: [hook(command, **options)]}


# Stage, then activate.


def test_a_host_is_asked_for_what_it_has_without_touching_it(host: Host) -> None:
    host.ready(A)
    before = sorted(os.walk(host.home.path))
    answer = host.inspect(B)
    told = {"changed": False, "release": B, "current": A, "complete": False, "converged": False}
    assert {**answer, **told} == answer
    assert sorted(os.walk(host.home.path)) == before


def test_a_staged_release_is_whole_and_locked_and_not_live(host: Host) -> None:
    host.ready(A)
    answer = host.stage(B, "2.0")
    assert {**answer, "failed": False, "changed": True, "release": B, "current": A} == answer
    assert host.home.staged() == [A, B]
    assert (host.shop.visit(), host.locked) == (A, True)
    manifest = host.home.manifest(B)
    assert (manifest["by"], manifest["run"], manifest["version"]) == ("me@here", "this", "2.0")


def test_an_activated_release_is_live_logged_and_settled_and_its_lock_is_gone(host: Host) -> None:
    host.ready(A)
    answer = host.deploy(B, "2.0")
    told = {"failed": False, "changed": True, "release": B, "previous": A, "version": "2.0"}
    assert {**answer, **told} == answer
    assert answer["seconds"]["total"] >= answer["seconds"]["start"]
    assert (host.shop.visit(), host.locked) == (B, False)
    row = host.home.history()[-1]
    told = {"action": "deploy", "result": "live", "release": B, "previous": A, "by": "me@here", "run": "this"}
    assert {**row, **told} == row
    again = host.stage(B, "2.0")
    assert (again["converged"], again["changed"], host.locked) == (True, False, False)


def test_the_environment_is_told_by_name_alone(host: Host) -> None:
    assert not host.deploy(A, environment={"PASSWORD": "hunter2", "SAME": "1", "GONE": "x"})["failed"]
    answer = host.inspect(B, environment={"PASSWORD": "correct-horse", "SAME": "1", "NEW": "x"})
    assert answer["environment_names"] == ["- GONE", "+ NEW", "~ PASSWORD"]
    assert "hunter2" not in str(answer)
    assert "correct-horse" not in str(answer)


def test_the_same_content_is_released_again_only_when_asked(host: Host) -> None:
    host.ready(A)
    for release in (f"{A}.2", f"{A}.3"):
        assert host.deploy(A, redeploy=True)["release"] == release
        assert host.shop.visit() == release
        assert host.stage(A)["converged"]
    assert host.home.same(A) == [A, f"{A}.2", f"{A}.3"]


def test_a_release_that_is_there_already_is_not_built_again(host: Host) -> None:
    host.ready(A, B)
    built = host.home.manifest(A)["staged"]
    assert host.deploy(A)["release"] == A
    assert host.home.manifest(A)["staged"] == built


def test_how_a_release_is_probed_and_kept_may_change_while_it_is_live(host: Host) -> None:
    host.ready(A)
    pid = host.shop.pid(A)
    changes = {"health": {"path": "/204", "timeout": 5}, "releases": {"keep": 9}}
    assert not host.inspect(A, **changes)["converged"]
    assert host.deploy(A, **changes)["failed"] is False
    assert host.home.manifest(A)["description"]["health"]["path"] == "/204"
    assert host.inspect(A, **changes)["converged"]
    assert host.shop.pid(A) == pid


@pytest.mark.parametrize("then", ["abandon", "activate"])
def test_a_manifest_of_the_old_form_is_read_and_written_in_the_new_one(host: Host, then: str) -> None:
    """Earlier versions of this collection kept the description to restore as C(former_description)."""
    host.ready(A)
    wanted = {"health": {"path": "/204"}}
    assert not host.stage(A, "1.0", **wanted)["failed"]
    manifest = Path(host.home.release(A), "release.json")
    noted = json.loads(manifest.read_text())
    noted["former_description"] = noted.pop("replaced_description")
    assert (noted["former_description"]["health"]["path"], noted["description"]["health"]["path"]) == ("/", "/204")
    manifest.write_text(json.dumps(noted))
    assert host.home.manifest(A)["replaced_description"] == noted["former_description"]
    host.home.remember(A, reason="any change of a manifest")
    assert {"replaced_description", "former_description"} & json.loads(manifest.read_text()).keys() == {
        "replaced_description"
    }
    manifest.write_text(json.dumps(noted))
    assert host(then, release=A)["changed"]
    after = json.loads(manifest.read_text())
    assert not {"replaced_description", "former_description"} & after.keys()
    assert after["description"]["health"]["path"] == ("/" if then == "abandon" else "/204")
    assert host.shop.visit() == A


def test_the_live_release_is_not_taken_down_by_its_own_probe(host: Host) -> None:
    host.ready(A)
    answer = host.deploy(A, health={"path": "/503", "timeout": 1})
    assert "503" in answer["msg"]
    assert host.shop.visit() == A
    assert host.home.staged() == [A]
    assert host.inspect(A)["converged"]  # as it was described before


def test_after_a_release_that_failed_a_rollback_still_goes_to_the_one_before_the_live_one(host: Host) -> None:
    host.ready(A, B)
    assert host.deploy(C, health={"path": "/503", "timeout": 0.5})["failed"]
    assert (host.home.current, host.home.standby) == (B, A)
    answer = host("rollback")
    assert (answer["release"], answer["warm"], host.shop.visit()) == (A, False, A)


def test_a_live_release_whose_manifest_is_broken_is_told_and_replaced_by_one_of_the_same_content(host: Host) -> None:
    host.ready(A, B)
    Path(host.home.release(B), "release.json").write_text('{"release": "')
    assert "neither a release nor a version" in host("rollback", to=B)["msg"]
    answer = host.deploy(B)
    assert (answer["failed"], answer["release"], host.shop.visit()) == (False, f"{B}.2", f"{B}.2")
    assert Path(host.home.release(B), "app").exists()  # it was never built again while it ran


# Whatever fails.


def test_a_failure_says_the_app_the_release_the_step_the_reason_and_what_is_live(host: Host) -> None:
    host.ready(A)
    broken = {"command": "sh -c 'echo ImportError of mine; exit 3'", "startsecs": PATIENCE, "startretries": 0}
    answer = host.deploy(B, program=broken)
    assert answer["failed"]
    for part in (f"app shop: release {B}: healthy: ", "FATAL", "shop.log", "ImportError of mine", f"release is {A}."):
        assert part in answer["msg"]
    assert (answer["current"], answer["step"]) == (A, "healthy")


FAILURES: dict[str, dict[str, Any]] = {
    "check": {"check": "/bin/false"},
    "after_stage": {"hooks": hooks("after_stage", "false")},
    "healthy": {"health": {"path": "/503", "timeout": 0.5}},
    "before_activate": {"hooks": hooks("before_activate", "false")},
    "after_activate": {"hooks": hooks("after_activate", "false")},
}


@pytest.mark.parametrize("step", FAILURES)
def test_what_fails_leaves_nothing_of_it_but_a_line_in_the_log(host: Host, step: str) -> None:
    host.ready(A)
    before = host.shop.snapshot()
    answer = host.deploy(B, **FAILURES[step])
    assert (answer["failed"], answer["step"]) == (True, step)
    assert host.shop.snapshot() == before
    assert host.shop.visit() == A
    row = host.home.history()[-1]
    assert (row["result"], row["release"], row["step"], row["by"]) == ("refused", B, step, "me@here")
    assert row["action"] == ("stage" if step in ("check", "after_stage") else "deploy")
    assert not host.deploy(C)["failed"]


@pytest.mark.parametrize("step", FAILURES)
def test_what_failed_stays_for_a_look_when_told_and_can_be_put_right(host: Host, step: str) -> None:
    host.ready(A)
    keep = {"releases": {"keep_failed_enabled": True}}
    assert host.deploy(B, **FAILURES[step], **keep)["failed"]
    assert os.path.isdir(os.path.join(host.home.release(B), "app"))
    assert (host.shop.visit(), host.locked) == (A, False)
    assert not host.deploy(B)["failed"]
    assert host.shop.visit() == B


def test_a_release_that_was_healthy_once_is_kept_when_it_is_no_longer_fit(host: Host) -> None:
    host.ready(A, B)
    answer = host.deploy(A, hooks=hooks("before_activate", "false"))
    assert "before_activate" in answer["msg"]
    assert host.home.staged() == [A, B]
    assert host.shop.visit() == B


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug of ours")])
def test_a_build_that_breaks_off_for_whatever_reason_is_cleared_away(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    host.ready(A)
    before = host.shop.snapshot()
    monkeypatch.setattr(staging.Staging, "_link_shared", fail)
    if isinstance(error, OSError):
        assert "No space left" in host.stage(B)["msg"]
    else:
        with pytest.raises(ValueError, match="of ours"):
            host.stage(B)
    assert host.shop.snapshot() == before


def test_a_full_disk_keeps_no_release_from_being_live_for_want_of_a_line_in_the_log(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    host.ready(A)
    with monkeypatch.context() as patch:
        patch.setattr(Home, "log", fail)
        assert not host.deploy(B)["failed"]
    assert (host.shop.visit(), host.locked) == (B, False)


def test_a_release_that_is_not_there_is_refused_and_the_lock_is_given_up(host: Host) -> None:
    host.ready(A)
    answer = host("activate", release=B)
    assert f"app shop: release {B}: activate: Release {B} cannot run. It is not complete" in answer["msg"]
    assert not host.locked


def test_a_bug_in_an_activation_is_told_and_the_lock_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("of ours")

    host.ready(A)
    before = host.shop.snapshot()
    monkeypatch.setattr(Activation, "prove", fail)
    assert "KeyError: 'of ours'" in host.deploy(B)["msg"]
    assert host.shop.snapshot() == before


def test_a_host_without_the_app_is_told_so(host: Host) -> None:
    hooks_of_a = {"hooks": "migrate", "release": A}
    for step, more in (
        ("activate", {"release": A}),
        ("rollback", {}),
        ("lock", {"reason": "x"}),
        ("hooks", hooks_of_a),
    ):
        assert host(step, name="other", **more)["failed"], step
    assert "no app other" in host("rollback", name="other")["msg"]


# Hooks.


def test_a_hook_after_staging_may_write_into_the_code_which_is_roots_afterwards(host: Host) -> None:
    assert not host.stage(A, hooks=hooks("after_stage", "mkdir assets && echo $APP_RELEASE > assets/all.css"))["failed"]
    assets = Path(host.home.release(A), "app", "assets")
    assert (assets / "all.css").read_text() == f"{A}\n"
    assert {path.stat().st_uid for path in (assets, *assets.rglob("*"))} == {os.geteuid()}


def test_a_build_that_is_killed_in_its_hook_is_built_and_hooked_again(host: Host) -> None:
    marks = Path(host.home.data, "marks")
    dying = hooks("after_stage", f"echo here >> {marks}; test $(wc -l < {marks}) -gt 1 || exec sleep 60", timeout=70)
    process = os.fork()
    if not process:
        try:
            host.stage(A, hooks=dying)
        finally:
            os._exit(0)
    wait_until(marks.exists)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert host.home.staged() == []
    assert not host.inspect(A)["complete"]
    assert not host.deploy(A, hooks=dying)["failed"]
    assert len(marks.read_text().splitlines()) == 2
    assert os.stat(os.path.join(host.home.release(A), "app")).st_uid == 0 or os.geteuid()


@pytest.fixture
def open_log() -> Iterator[Path]:
    """A file that every user can write to."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        log = Path(directory, "log")
        log.touch()
        log.chmod(0o666)
        yield log


USERS = ["", "root", "nobody"] if os.geteuid() == 0 else [""]


@pytest.mark.parametrize("user", USERS)
def test_hooks_of_each_host_run_at_a_first_and_a_later_release_and_at_a_rollback_as_documented(
    host: Host, open_log: Path, user: str
) -> None:
    every = {
        kind: [
            hook(f"echo {kind} {run_once} $(id -un) >> {open_log}", f"{kind} {run_once}", user=user, run_once=run_once)
            for run_once in (False, True)
        ]
        for kind in KINDS
    }

    def ran() -> list[str]:
        lines = open_log.read_text().splitlines()
        open_log.write_text("")
        assert {line.split()[2] for line in lines} <= {user or OWNER}
        return [line.rpartition(" ")[0] for line in lines]

    def steps(*wanted: str) -> list[str]:
        return [f"{moment.kind} {moment.run_once}" for moment in MOMENTS if moment.step in wanted]

    for release in (A, B):
        assert not host.deploy(release, hooks=every)["failed"]
        assert ran() == steps(BUILD, ACTIVATE)
    for _ in range(2):  # back, and forward again
        assert host("rollback")["changed"]
        assert ran() == steps(ACTIVATE)
    assert not host.deploy(A, hooks=every)["failed"]  # which is there already
    assert ran() == steps(ACTIVATE)
    assert not host.deploy(A, hooks=every)["failed"]  # which is live already
    assert ran() == []
    host.stage(C, hooks=every)
    ran()
    for moment in MOMENTS:
        if moment.step in (BEFORE_SWITCH, AFTER_SWITCH):
            answer = host("hooks", release=C, hooks=moment.kind, run_once=moment.run_once)
            assert ran() == answer["ran"] == [f"{moment.kind} {moment.run_once}"]


def test_hooks_for_the_whole_fleet_run_in_their_own_step_alone(host: Host) -> None:
    mark = Path(host.home.data, "mark")
    once = hooks("migrate", f"echo once >> {mark}", name="schema", run_once=True)
    host.deploy(A, hooks=once)
    assert not mark.exists()
    host.stage(B, hooks=once)
    assert host("hooks", release=B, hooks="migrate")["ran"] == ["schema"]
    assert mark.read_text() == "once\n"
    assert host.locked
    assert host("hooks", release=B, hooks="after_activate") == {"failed": False, "changed": False, "ran": []}
    assert ("hooks", "ran", B) in host.results()


def test_after_the_last_hooks_for_the_whole_fleet_no_lock_is_left(host: Host) -> None:
    last = hooks("after_activate", "true", name="tell", run_once=True)
    host.deploy(A, hooks=last)
    assert host("hooks", release=A, hooks="after_activate")["ran"] == ["tell"]
    assert not host.locked


def test_a_hook_for_the_whole_fleet_that_fails_says_why_and_the_release_can_be_abandoned(host: Host) -> None:
    host.ready(A)
    before = host.shop.snapshot()
    host.stage(B, hooks=hooks("migrate", "echo table is missing; exit 1", name="schema", run_once=True))
    answer = host("hooks", release=B, hooks="migrate")
    for part in (f"release {B}: migrate: ", "schema", "table is missing", f"The live release is {A}"):
        assert part in answer["msg"]
    assert host("abandon", release=B, reason="no schema")["changed"]
    assert host.shop.snapshot() == before
    assert host.home.history()[-1]["message"] == "no schema"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_release_whose_user_is_not_the_one_of_the_data_is_refused_in_check_mode_too(host: Host) -> None:
    host.ready(A, B)
    Path(host.home.data, "photo").touch()
    os.chown(host.home.data, pwd.getpwnam("nobody").pw_uid, -1)
    before = host.shop.snapshot()
    for check_mode in (True, False):
        answer = host("inspect", check_mode, **host.asked(C, "3.0", {}))
        assert answer["failed"]
        assert f"The app's user is {OWNER}, and the files in {host.home.data} belong to nobody" in answer["msg"]
        assert f"The app's user is {OWNER}" in host("rollback", check_mode)["msg"]
    assert host.shop.snapshot() == before


# Abandon.


def test_what_another_run_staged_or_what_was_healthy_is_not_abandoned(host: Host) -> None:
    host.ready(A, B)
    host.stage(C, run="other")
    assert host("abandon", release=C)["changed"] is False
    assert host("abandon", release=A)["changed"] is False
    assert host("abandon", release=B)["changed"] is False
    assert host.home.staged() == [A, B, C]
    assert host.locked  # by the other run
    assert host("abandon", release=C, run="other")["changed"]
    assert (host.home.staged(), host.locked) == ([A, B], False)


def test_a_release_that_is_abandoned_stays_for_a_look_when_told(host: Host) -> None:
    host.stage(A, releases={"keep_failed_enabled": True})
    assert host("abandon", release=A)["changed"]
    assert (host.home.staged(), host.locked) == ([A], False)


def test_nothing_is_abandoned_on_a_host_that_staged_nothing(host: Host) -> None:
    for release in ("", A):
        assert host("abandon", release=release) == {"failed": False, "changed": False}


# The lock.


def test_a_second_run_is_refused_with_who_when_and_why(host: Host) -> None:
    host.ready(A, B)
    host.stage(C)
    before = host.shop.snapshot()
    for answer in (
        host.stage(C, run="other"),
        host("activate", release=C, run="other"),
        host("rollback", run="other"),
        host("lock", reason="the audit", run="other"),
        host("hooks", release=C, hooks="migrate", run="other"),
    ):
        assert "locked by me@here since 20" in answer["msg"]
    assert host.shop.snapshot() == before
    assert host.home.staged() == [A, B, C]


def test_a_run_waits_for_the_lock_as_long_as_it_is_told(host: Host) -> None:
    host.ready(A, B)
    host("lock", reason="a moment")
    process = os.fork()
    if not process:
        time.sleep(0.6)
        os.unlink(os.path.join(host.home.path, "lock.json"))
        os._exit(0)
    answer = host("rollback", lock_wait=PATIENCE)
    os.waitpid(process, 0)
    assert (answer["failed"], host.shop.visit()) == (False, A)


def test_an_app_is_frozen_with_a_message_and_unlocked_again(host: Host) -> None:
    host.ready(A, B)
    assert "The message of the lock is empty." in host("lock")["msg"]
    answer = host("lock", reason="the audit")
    assert answer["changed"]
    assert (answer["lock"]["message"], answer["lock"]["expires"]) == ("the audit", "never")
    assert host("history")["lock"] == answer["lock"]
    refused = host("rollback")
    for part in ("app shop", "me@here", "the audit", "The lock has no end", f"The live release is {B}"):
        assert part in refused["msg"]
    assert host("unlock") == {"failed": False, "changed": True, "lock": answer["lock"]}
    assert host("unlock") == {"failed": False, "changed": False, "lock": {}}
    assert [row[:2] for row in host.results()[-2:]] == [("lock", "locked"), ("unlock", "unlocked")]
    assert not host("rollback")["failed"]


def test_an_activation_that_is_under_way_is_not_disturbed_by_another_one(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when its lock has expired, or was taken away, meanwhile."""
    host.ready(A, B)
    monkeypatch.setattr("ansible_collections.baremetal.web.plugins.module_utils._release.lock.MUTEX_SECONDS", 0.2)
    with mutex(host.home):
        assert "under way" in host("rollback")["msg"]
    assert (host.shop.visit(), host.locked) == (B, False)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("then", ["deploy", "other", "rollback"])
def test_an_activation_that_is_killed_leaves_a_lock_that_expires_and_the_next_run_puts_it_right(
    host: Host, monkeypatch: pytest.MonkeyPatch, when: str, then: str
) -> None:
    def killed(self: Activation, slot: str) -> None:
        if when == "after":
            take_slot(self, slot)
        os.kill(os.getpid(), signal.SIGKILL)

    take_slot = Activation._take_slot
    host.ready(A, B)
    host.stage(C, "3.0")
    with monkeypatch.context() as patch:
        patch.setattr(Activation, "_take_slot", killed)
        assert "ended from outside" in host("activate", release=C)["msg"]
    live = C if when == "after" else B
    assert host.shop.visit() == host.home.current == live
    assert "locked by me@here" in host("rollback", run="next")["msg"]
    lock = Path(host.home.path, "lock.json")
    held = json.loads(lock.read_text())
    assert 0 < held["expires"] - time.time() <= 900
    lock.write_text(json.dumps({**held, "expires": time.time()}))
    if then == "rollback":
        answer = host("rollback", run="next")
        wanted = B if when == "after" else A
    else:
        wanted = C if then == "deploy" else D
        answer = host.deploy(wanted, run="next")
    assert (answer["failed"], host.shop.visit(), host.locked) == (False, wanted, False)
    assert not host.shop.activation(wanted).drift()
    assert host.home.history()[-1]["release"] == wanted


# Back, and forward again.


def test_a_rollback_brings_back_the_previous_release_and_another_one_brings_it_forward(host: Host) -> None:
    host.ready(A, B)
    pids = [host.shop.pid(name) for name in (A, B)]
    for release, version in ((A, "1.0"), (B, "2.0"), (A, "1.0")):
        answer = host("rollback", reason="too slow")
        told = {"failed": False, "changed": True, "release": release, "version": version, "warm": True}
        assert {**answer, **told} == answer
        assert not {"start", "healthy", "stable"} & set(answer["seconds"])
        assert answer["seconds"]["total"] < PATIENCE / 2
        assert host.shop.visit() == release
    assert [host.shop.pid(name) for name in (A, B)] == pids
    row = host.home.history()[-1]
    assert (row["action"], row["result"], row["previous"], row["message"]) == ("rollback", "live", B, "too slow")
    assert not host.locked


def test_a_first_release_is_taken_back_so_that_none_is_live_and_goes_live_again(host: Host) -> None:
    host.ready(A)
    assert host("rollback", to="", withdraw=True, check_mode=True)["changed"]
    assert host.shop.visit() == A
    answer = host("rollback", to="", withdraw=True, reason="its last hook failed")
    assert (answer["failed"], answer["changed"], answer["release"], answer["previous"]) == (False, True, "", A)
    assert (host.home.current, host.shop.supervisor.programs(), host.locked) == ("", set(), False)
    assert host.results()[-1] == ("rollback", "withdrawn", A)
    assert not host("rollback", to="", withdraw=True)["changed"]
    host.ready(A)
    assert host.shop.visit() == A


@pytest.mark.parametrize("to", [A, "aa", "1.0"], ids=["name", "beginning", "version"])
def test_a_rollback_goes_to_a_release_by_its_name_its_beginning_or_its_version(host: Host, to: str) -> None:
    host.ready(A, B, C)
    answer = host("rollback", to=to)
    assert (answer["release"], answer["warm"], host.shop.visit()) == (A, False, A)


def test_a_rollback_to_the_live_release_changes_nothing_unless_it_is_not_well(host: Host) -> None:
    host.ready(A, B)
    before = host.shop.snapshot()
    answer = host("rollback", to=B)
    assert (answer["changed"], host.shop.snapshot()) == (False, before)
    host.shop.supervisor.call("stopProcess", f"shop-{B}")
    assert host("rollback", to=B)["changed"]
    assert host.shop.visit() == B


# Where the web server finds the two releases.

UNIX = {"protocol": "http", "port": 0}


def on_a_port() -> dict[str, Any]:
    """Return an endpoint with two free ports."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return {"protocol": "http", "port": port - 1}


def test_a_change_of_the_endpoint_is_told_for_the_slot_of_the_next_release_alone(host: Host) -> None:
    told = host.inspect(A)
    assert (told["slots"], told["endpoint_changed"]) == ({"a": UNIX, "b": UNIX}, False)  # nothing is published so far
    host.ready(A)
    told = host.inspect(B)
    assert (told["slots"], told["endpoint_changed"]) == ({"a": UNIX, "b": UNIX}, False)
    port = on_a_port()
    told = host.inspect(B, endpoint=port)
    assert (told["slots"], told["endpoint_changed"]) == ({"a": UNIX, "b": port}, True)
    told = host.inspect(B, endpoint={"protocol": "uwsgi", "port": 0})
    assert (told["slots"]["b"]["protocol"], told["endpoint_changed"]) == ("uwsgi", True)


def test_a_run_that_did_not_get_to_the_web_server_is_made_up_for_by_the_next_one(host: Host) -> None:
    host.ready(A)
    port = on_a_port()
    for _run in range(2):
        staged = host.stage(B, "2.0", endpoint=port)
        told = host.inspect(B, "2.0", endpoint=port)
        assert (told["slots"], told["endpoint_changed"]) == ({"a": UNIX, "b": port}, True)
        refused = host("activate", release=staged["release"])
        said = f"The web server is not configured for http on port {port['port']}. An earlier run was interrupted."
        assert said in refused["msg"]
        assert host.home.current == A
    host.stage(B, "2.0", endpoint=port)
    assert host("proxy_synced")["changed"]
    assert not host("proxy_synced")["changed"]
    assert not host.inspect(B, "2.0", endpoint=port)["endpoint_changed"]
    assert not host("activate", release=B)["failed"]


@pytest.mark.parametrize("synced", [True, False])
def test_endpoints_that_were_noted_in_the_old_form_are_read_and_written_anew(host: Host, synced: bool) -> None:
    noted = Path(host.home.endpoints_file)
    noted.parent.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps({"a": UNIX, "b": UNIX, "told": synced}))
    assert (host.home.endpoints(), host.home.proxy_synced) == ({"a": UNIX, "b": UNIX}, synced)
    assert host("proxy_synced")["changed"] is not synced
    assert json.loads(noted.read_text()) == {"a": UNIX, "b": UNIX, "proxy_synced": True}


def test_a_port_that_somebody_else_has_is_not_taken_for_the_release(host: Host) -> None:
    host.ready(A)
    port = on_a_port()
    with socket.create_server(("127.0.0.1", port["port"] + 1)):
        refused = host.deploy(B, endpoint=port)
    assert f"The release cannot listen on 127.0.0.1:{port['port'] + 1}. It is held by" in refused["msg"]
    assert host.home.current == A


def test_a_release_on_a_port_is_proved_there_and_the_next_one_on_the_port_beside_it(host: Host) -> None:
    host.ready(A)
    port = on_a_port()
    for release, slot in ((B, 1), (C, 0), (D, 1)):
        assert not host.deploy(release, endpoint=port)["failed"]
        place = f"127.0.0.1:{port['port'] + slot}"
        assert Activation(host.home, host.shop.supervisor, release).address == place
        assert Probe("/", "shop.example", ("2xx",)).problem(place, PATIENCE) == ""


def test_a_release_that_the_web_server_would_not_find_any_more_is_not_gone_back_to(host: Host) -> None:
    host.ready(A)
    port = on_a_port()
    host.deploy(B, "2.0", endpoint=port)
    assert not host("rollback")["failed"]  # its slot is as it was
    assert not host("rollback")["failed"]
    host.deploy(C, "3.0", endpoint=port)
    before = host.shop.snapshot()
    refused = host("rollback", to=A)["msg"]
    for part in (f"{A} speaks http on a unix socket", f"port {port['port']}", "server.protocol and server.port"):
        assert part in refused
    assert host.shop.snapshot() == before
    assert not host("rollback", to=B)["failed"]


def test_a_version_is_never_taken_for_the_beginning_of_a_release(host: Host) -> None:
    host.deploy("2" * 12, "1")
    host.deploy(B, "2")
    host.deploy(C, "3")
    assert host("rollback", to="2")["release"] == B


def test_the_newest_release_of_a_version_is_meant(host: Host) -> None:
    for release, version in ((A, "1.0"), (B, "1.0"), (C, "2.0")):
        host.deploy(release, version)
    assert host("rollback", to="1.0")["release"] == B


def test_a_rollback_that_cannot_be_is_refused_with_what_there_is(host: Host) -> None:
    assert "There is nothing to roll back. No release of the app is live." in host("rollback")["msg"]
    host.ready(A)
    assert "No other release has been live before" in host("rollback")["msg"]
    host.shop.lay("ab" * 6, version="1.5")
    host.shop.lay(C)
    before = host.shop.snapshot()
    for to, said in (
        ("9.9", f"'9.9' is neither a release nor a version on this host. It has {A} (1.0), abababababab"),
        ("a", "'a' is the beginning of several releases"),
        ("", "'' is the beginning of several releases"),
        ("cc", f"Cannot roll back to {C}. It was never healthy"),
        ("1.5", "'1.5' is neither"),  # for it was never healthy
    ):
        answer = host("rollback", to=to)
        assert said in answer["msg"], to
        assert answer["current"] == A
    assert host.shop.snapshot() == before


def test_a_previous_release_that_is_gone_is_refused(host: Host) -> None:
    host.ready(A, B)
    host.home.drop(A)
    assert f"Cannot roll back to {A}. Its files are gone" in (message := host("rollback")["msg"])
    assert f"Choose one of {B}." in message


def test_irreversible_migrations_are_crossed_by_force_only(host: Host) -> None:
    host.ready(A)
    drop = hooks("migrate", "true", name="drop-column", run_once=True, irreversible_enabled=True)
    host.deploy(B, hooks=drop)
    refused = host("rollback")
    for part in (f"Between {A} and {B}", f"drop-column of {B}", "force=true"):
        assert part in refused["msg"]
    assert (host.shop.visit(), host.locked) == (B, False)
    assert not host("rollback", force=True)["failed"]
    assert host.shop.visit() == A
    assert not host("rollback", to=B)["failed"]  # forward again crosses none


def test_a_rollback_that_fails_leaves_what_is_live(host: Host) -> None:
    host.ready(A, B, C)
    before = host.shop.snapshot()
    environment = Path(host.home.release(A), "environment")
    environment.unlink()
    environment.write_text("exit 1\n")
    health = {**host.shop.description["health"], "timeout": 1}
    host.home.remember(A, description={**host.home.manifest(A)["description"], "health": health})
    answer = host("rollback", to=A)
    assert f"app shop: release {A}: healthy: " in answer["msg"]
    assert host.shop.visit() == C
    assert host.home.staged() == [A, B, C]
    assert host.results()[-1] == ("rollback", "refused", A)
    assert not host.locked
    assert before["releases"] == host.shop.snapshot()["releases"]


# Looking only.


def test_the_history_is_told_newest_last(host: Host) -> None:
    host.ready(A, B, C)
    assert [row["release"] for row in host("history")["rows"]] == [A, B, C]
    assert [row["release"] for row in host("history", lines=2)["rows"]] == [B, C]
    assert len(host("history", lines=0)["rows"]) == 3
    assert host("history", name="other")["rows"] == []


def test_check_mode_tells_of_a_change_and_makes_none(host: Host) -> None:
    host.ready(A, B)
    before = host.shop.snapshot()
    for step, changed, arguments in (
        ("activate", True, {"release": A}),
        ("hooks", True, {"release": A, "hooks": "migrate"}),
        ("abandon", True, {"release": A}),
        ("lock", True, {"reason": "x"}),
        ("unlock", False, {}),
    ):
        assert host(step, check_mode=True, **arguments)["changed"] is changed, step
    answer = host("rollback", check_mode=True)
    assert (answer["release"], answer["previous"], answer["changed"]) == (A, B, True)
    assert answer["diff"]["before"] == f"release {B} (version 2.0)\n"
    assert answer["diff"]["after"] == f"release {A} (version 1.0)\n"
    assert "neither" in host("rollback", check_mode=True, to="9.9")["msg"]
    assert host.shop.snapshot() == before


def test_check_mode_on_a_host_without_supervisord_tells_of_a_first_release(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = host("inspect", check_mode=True, **{**host.asked(A, "", {}), "root": str(tmp_path / "no-such-place")})
    assert (answer["failed"], answer["release"], answer["converged"]) == (False, A, False)


# What somebody else has done meanwhile, and what is withdrawn.


def test_a_release_that_was_staged_beside_another_live_one_comes_too_late(host: Host) -> None:
    host.ready(A)
    host.stage(B)
    host.stage(C)
    assert host("activate", release=C, current=A)["changed"]
    answer = host("activate", release=B, current=A)
    said = f"{C} went live after this release was staged. The lock of this run has expired. Run the deploy again."
    assert said in answer["msg"]
    assert host.home.current == C


def test_a_release_that_was_withdrawn_is_not_the_previous_one_until_it_is_deployed_again(host: Host) -> None:
    host.ready(A)
    host.ready(B)
    host.stage(C)
    host("activate", release=C)
    assert host("rollback", to=B, withdraw=True)["previous"] == C
    assert host.home.previous() == A
    assert host("rollback", to=C)["release"] == C
    assert "withdrawn" not in host.home.manifest(C)
    assert host("rollback")["release"] == B


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"memory": 1 << 29}},
        {"programs": [{"name": "mailer", "limits": {"memory": 0, "processes": 9, "open_files": 0}}]},
    ],
)
def test_a_limit_that_the_host_cannot_hold_is_refused_before_anything_is_made(
    host: Host, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Supervisor:
        offered: frozenset[str] | None = frozenset()

        def controllers(self) -> frozenset[str]:
            if self.offered is None:
                raise SupervisorError("there is no supervisord yet")
            return self.offered

        def can_mount(self) -> bool:
            return True

    monkeypatch.setattr(fitness, "Supervisor", Supervisor)
    monkeypatch.setattr(fitness, "host_controllers", set)
    before = host.shop.snapshot()
    word, controller = ("memory", "memory") if "limits" in change else ("processes", "pids")
    for offered in (frozenset({"cpu"}), None):
        Supervisor.offered = offered
        answer = host.inspect(A, **change)
        assert answer["failed"]
        assert f"limits has {word}" in answer["msg"]
        assert f"no controller {controller}" in answer["msg"]
        assert "leave the limit out" in answer["msg"]
        assert host.shop.snapshot() == before
    monkeypatch.setattr(fitness, "host_controllers", lambda: {"memory", "pids"})
    assert not host.inspect(A, **change)["failed"]
    Supervisor.offered = frozenset({"memory", "pids"})
    assert not host.inspect(A, **change)["failed"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_host_that_cannot_mount_refuses_a_tmp_of_the_apps_own_before_anything_is_made(
    host: Host, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    monkeypatch.setattr(fitness, "mount_problem", lambda: "unshare: Operation not permitted")
    before = host.shop.snapshot()
    answer = host.inspect(A, private_tmp=True, check_mode=check_mode)
    assert answer["failed"]
    for word in ("private_tmp is true", "unshare: Operation not permitted", "CAP_SYS_ADMIN", "set private_tmp: false"):
        assert word in answer["msg"]
    assert host.shop.snapshot() == before
    assert not host.inspect(A, private_tmp=False)["failed"]


@pytest.mark.parametrize("private", [True, False])
def test_a_supervisord_that_may_not_mount_yet_is_brought_up_to_date_first(
    host: Host, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    monkeypatch.setattr(fitness, "mount_problem", lambda: "")
    monkeypatch.setattr(host.shop.supervisor, "can_mount", lambda: False)
    answer = host.inspect(A, private_tmp=private)
    assert answer["failed"]
    assert "Run site.yml first" in answer["msg"]


def test_open_files_are_limited_on_every_host(host: Host) -> None:
    assert not host.inspect(A, limits={"memory": 0, "processes": 0, "open_files": 64})["failed"]
