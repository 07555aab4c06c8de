"""Removal: what came to a host goes, what stood there before comes back, and what is an app's or anybody's stays."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, pending_marker, services
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord, freeze
from ansible_collections.baremetal.web.plugins.module_utils._host.files import read_state
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, render_program
from ansible_collections.baremetal.web.plugins.module_utils._host.web_server import WEB_SERVERS
from ansible_collections.baremetal.web.plugins.module_utils._release import home as app_home
from ansible_collections.baremetal.web.plugins.module_utils._release import removal as removal_utils
from conftest import StandIns, Systemd, own_shm

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")

Remove = Callable[..., dict[str, Any]]
# Numbers that no account of this machine has, and the names that they have in these tests.
USERS = {64123: "wsgi-shop", 64124: "wsgi-api"}
APP_UNIT = "supervisord-baremetal.service"
NEW, LIVE = "shop-0123456789ab", "shop-ba9876543210"


class Host(NamedTuple):
    """The parts of a host, all below one directory."""

    place: Path

    @property
    def root(self) -> Path:
        return self.place / "srv"

    @property
    def units(self) -> Path:
        return self.place / "units"

    @property
    def sysusers(self) -> Path:
        return self.place / "sysusers.d"

    @property
    def crontabs(self) -> Path:
        return self.place / "crontabs"

    def files(self) -> dict[str, Any]:
        return {str(path.relative_to(self.place)): read_state(str(path)) for path in sorted(self.place.rglob("*"))}


def note(kind: str, name: object, before: Any = None) -> None:
    with ChangeRecord() as notes:
        notes.note(kind, str(name), before)


def write(path: Path, text: str = "", before: str | None = None) -> Path:
    """Write a file of this collection, in the place of one that was there before."""
    if before is not None:
        path.write_text(before)
    note("file", path, freeze(read_state(str(path))))
    path.write_text(text)
    return path


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_ins: StandIns, systemd: Systemd) -> Host:
    """Return a host on which nothing is yet; systemctl and the programs that change accounts are stand-ins."""
    host = Host(tmp_path / "host")
    for directory in (host.root, host.units, host.sysusers, host.crontabs):
        directory.mkdir(parents=True)
    monkeypatch.setattr(services, "UNIT_DIRECTORY", str(host.units))
    monkeypatch.setattr(removal_utils, "SYSUSERS", str(host.sysusers / "baremetal-*.conf"))
    monkeypatch.setattr(removal_utils, "BUILD_HOME", str(host.place / "cache"))
    monkeypatch.setattr(app_home, "SHM", own_shm())
    monkeypatch.setattr(removal_utils, "CRONTABS", (str(host.crontabs),))
    monkeypatch.setattr(removal_utils, "LOGS", str(host.place / "logs"))
    servers = [server._replace(directory=f"{host.place}{server.directory}") for server in WEB_SERVERS]
    monkeypatch.setattr(removal_utils, "WEB_SERVERS", servers)
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(tmp_path / "marks"))
    for program in ("getent", "userdel", "groupdel"):
        stand_ins.add(program)
    return host


@pytest.fixture
def remove(run_module: Remove, host: Host) -> Remove:
    def _remove(phase: str, app: str = "", data_kept: bool = True, check_mode: bool = False) -> dict[str, Any]:
        arguments = {"phase": phase, "app": app, "data_kept": data_kept}
        return run_module("removal", arguments, check_mode)

    return _remove


def add_app(host: Host, name: str, uid: int, noted: bool = True) -> Path:
    """Put an app on the host, as releases leave it."""
    home = host.root / name
    for directory in ("releases/0123456789ab/app", "run", "slots", "data/uploads"):
        (home / directory).mkdir(parents=True)
    (home / "releases" / "0123456789ab" / "release.json").write_text("{}")
    (home / "current").symlink_to("releases/0123456789ab")
    (home / "slots" / "b.sock").symlink_to("../run/0123456789ab.sock")
    for name in ("slots/b", "lock.json", ".guard"):
        (home / name).touch()
    (home / "data" / "uploads" / "photo").write_text("dear to somebody\n")
    (home / "releases.log").write_text("one line\n")
    (home / ".lock").touch()
    for path in (home / "run", home / "data", home / "data" / "uploads", home / "data" / "uploads" / "photo"):
        os.chown(path, uid, uid)
    if noted:
        note("app", home, {"user": USERS[uid]})
        note("account", USERS[uid])
    return home


@pytest.fixture
def shop(host: Host) -> Path:
    return add_app(host, "shop", 64123)


@pytest.fixture
def api(host: Host) -> Path:
    return add_app(host, "api", 64124)


def noted(kind: str) -> list[str]:
    return sorted(change_record.read().get(kind, {}))


# One app.


def test_an_app_goes_and_its_data_and_audit_log_stay_and_are_roots(remove: Remove, shop: Path) -> None:
    result = remove("app", "shop")
    assert result["changed"]
    assert result["kept"] == [str(shop / "data"), str(shop / "releases.log")]
    assert sorted(path.name for path in shop.iterdir()) == ["data", "releases.log"]
    assert (shop / "data" / "uploads" / "photo").read_text() == "dear to somebody\n"
    left = [shop, shop / "data", *(shop / "data").rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in left} == {(0, 0)}
    assert noted("app") == [str(shop)]  # for the data is still to be removed one day


def test_what_was_kept_for_the_builds_of_an_app_goes_with_it(remove: Remove, host: Host, shop: Path) -> None:
    for name in ("shop", "api"):
        (host.place / "cache" / name / ".cache").mkdir(parents=True)
    assert str(host.place / "cache" / "shop") in remove("app", "shop")["removed"]
    assert [path.name for path in (host.place / "cache").iterdir()] == ["api"]


def test_what_an_app_has_in_the_place_of_tmp_and_dev_shm_goes_with_it(
    remove: Remove, host: Host, shop: Path, api: Path
) -> None:
    for home in (shop, api):
        for directory in (home / "private" / "tmp", Path(app_home.SHM) / home.name):
            directory.mkdir(parents=True)
            (directory / "file").touch()
    remove("app", "shop")
    assert not (shop / "private").exists()
    assert os.listdir(app_home.SHM) == ["api"]
    assert (api / "private" / "tmp" / "file").exists()
    note("tree", app_home.SHM)
    remove("everything")
    assert not os.path.exists(app_home.SHM)


def test_an_app_goes_with_its_data_when_told(remove: Remove, shop: Path) -> None:
    result = remove("app", "shop", data_kept=False)
    assert result["kept"] == []
    assert not shop.exists()
    assert noted("app") == []


def test_an_empty_data_directory_is_no_data(remove: Remove, shop: Path) -> None:
    (shop / "data" / "uploads" / "photo").unlink()
    (shop / "data" / "uploads").rmdir()
    (shop / "releases.log").unlink()
    assert remove("app", "shop")["kept"] == []
    assert not shop.exists()


@pytest.mark.parametrize("data_kept", [True, False])
def test_a_second_removal_changes_nothing(remove: Remove, shop: Path, data_kept: bool) -> None:
    remove("app", "shop", data_kept)
    again = remove("app", "shop", data_kept)
    assert (again["changed"], again["removed"]) == (False, [])


def test_data_that_was_kept_goes_when_a_later_removal_is_told(remove: Remove, shop: Path) -> None:
    remove("app", "shop")
    assert remove("app", "shop", data_kept=False)["changed"]
    assert not shop.exists()


def test_another_app_stays_as_it_is(remove: Remove, host: Host, shop: Path, api: Path) -> None:
    before = {path: state for path, state in host.files().items() if path.startswith("srv/api")}
    remove("app", "shop", data_kept=False)
    assert {path: state for path, state in host.files().items() if path.startswith("srv/api")} == before
    assert noted("account") == ["wsgi-api"]


def test_a_directory_that_is_not_noted_is_somebody_elses_and_stays(remove: Remove, host: Host, api: Path) -> None:
    theirs = add_app(host, "shop", 64123, noted=False)
    before = host.files()
    assert not remove("app", "shop", data_kept=False)["changed"]
    assert theirs.exists()
    assert host.files() == before


def test_an_app_that_is_being_released_is_refused_and_stays(remove: Remove, host: Host, shop: Path) -> None:
    before = host.files()
    with open(shop / ".lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = remove("app", "shop", data_kept=False)
    said = f"A release of shop is under way. It holds {shop}/.lock. Try again when it has ended."
    assert result["msg"] == f"{said} What was removed before: nothing."
    assert host.files() == before
    assert not remove("app", "shop", data_kept=False)["failed"]


@pytest.mark.parametrize("data_kept", [True, False])
def test_check_mode_tells_of_an_app_and_removes_nothing(
    remove: Remove, host: Host, systemd: Systemd, shop: Path, data_kept: bool
) -> None:
    (host.crontabs / "wsgi-shop").write_text("* * * * * true\n")
    before, notes = host.files(), change_record.read()
    told = remove("app", "shop", data_kept, check_mode=True)
    assert (host.files(), change_record.read(), systemd.calls) == (before, notes, [])
    done = remove("app", "shop", data_kept)
    assert (sorted(told["removed"]), told["kept"]) == (sorted(done["removed"]), done["kept"])


def test_the_diff_lists_what_goes(remove: Remove, shop: Path) -> None:
    result = remove("app", "shop", check_mode=True)
    assert result["diff"]["before"].splitlines() == result["removed"]
    assert str(shop / "releases") in result["removed"]


def test_the_logs_of_an_app_go_and_those_of_another_stay(remove: Remove, shop: Path) -> None:
    logs = Path(removal_utils.LOGS)
    logs.mkdir()
    for name in ("shop.log", "shop.log.1", "shop.mailer.log", "shop.mailer-0.log.1", "shop-two.log"):
        (logs / name).touch()
    remove("app", "shop")
    assert [path.name for path in logs.iterdir()] == ["shop-two.log"]


def test_nothing_is_released_while_an_app_is_removed(remove: Remove, shop: Path, stand_ins: StandIns) -> None:
    with open(shop / ".lock", "rb") as lock:  # is held until the end, when the account goes
        stand_ins.add("userdel", f"flock --nonblock /proc/{os.getpid()}/fd/{lock.fileno()} true; test $? = 1")
        assert not remove("app", "shop")["failed"]
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Programs; supervisord is a real one.


def test_the_programs_of_an_app_stop_and_those_of_others_run_on(
    remove: Remove,
    shop: Path,
    supervisor: Supervisor,
    program: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removal_utils, "Supervisor", lambda: supervisor)
    others = ["shop", "shop-web-0123456789ab", "shop-web-0123456789ab.mailer", "api-0123456789ab", "theirs"]
    for name in (NEW, LIVE, f"{LIVE}.mailer", f"{LIVE}.2", *others):
        supervisor.add(name, render_program(program(name), supervisor.log_directory))
    told = remove("app", "shop", check_mode=True)
    assert {f"program {name}" for name in (NEW, LIVE, f"{LIVE}.mailer", f"{LIVE}.2")} <= set(told["removed"])
    assert supervisor.state(LIVE) in ("STARTING", "RUNNING")
    remove("app", "shop")
    assert supervisor.programs() == set(others)


def test_the_end_of_a_standby_release_is_no_longer_waited_for(
    remove: Remove, shop: Path, supervisor: Supervisor, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal_utils, "Supervisor", lambda: supervisor)
    remove("app", "shop", check_mode=True)
    assert systemd.calls == []
    remove("app", "shop")
    assert "stop baremetal-web-retire-shop.timer" in systemd.calls


def test_a_program_that_cannot_be_stopped_leaves_the_app_and_says_what_to_do(
    remove: Remove, shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "supervisord.conf"
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / f"{LIVE}.conf").touch()
    config.write_text(
        f"[supervisord]\nchildlogdir = {tmp_path}\n[unix_http_server]\nfile = {tmp_path}/nobody-listens.sock\n"
        f"[include]\nfiles = {tmp_path}/conf.d/*.conf\n"
    )
    monkeypatch.setattr(removal_utils, "Supervisor", lambda: Supervisor(str(config)))
    result = remove("app", "shop")
    assert f"The program {LIVE} cannot be stopped: " in result["msg"]
    assert "systemctl start supervisord-baremetal" in result["msg"]
    assert (shop / "releases").exists()
    assert (tmp_path / "conf.d" / f"{LIVE}.conf").exists()  # so that the next removal finds it


# Accounts; the programs that change them are stand-ins.


def account_calls(stand_ins: StandIns) -> list[str]:
    return [call for call in stand_ins.calls if call.startswith(("userdel", "groupdel"))]


def test_the_account_of_an_app_goes_with_its_crontab_and_does_not_come_back_at_the_next_boot(
    remove: Remove, host: Host, shop: Path, api: Path, stand_ins: StandIns
) -> None:
    lines = ['u wsgi-api - "web application"\n', 'u wsgi-shop - "web application"\n', 'u wsgi-shop-two - "another"\n']
    (host.sysusers / "baremetal-web.conf").write_text("".join(lines))
    (host.sysusers / "theirs.conf").write_text("u wsgi-shop 500\n")
    (host.crontabs / "wsgi-shop").write_text("* * * * * true\n")
    (host.crontabs / "wsgi-api").write_text("* * * * * true\n")
    assert "account wsgi-shop" in remove("app", "shop")["removed"]
    assert account_calls(stand_ins) == ["userdel wsgi-shop", "groupdel wsgi-shop"]
    assert (host.sysusers / "baremetal-web.conf").read_text() == lines[0] + lines[2]
    assert (host.sysusers / "theirs.conf").read_text() == "u wsgi-shop 500\n"
    assert [path.name for path in host.crontabs.iterdir()] == ["wsgi-api"]
    assert noted("account") == ["wsgi-api"]


def test_an_account_that_another_app_uses_stays_until_that_goes_too(
    remove: Remove, host: Host, shop: Path, stand_ins: StandIns
) -> None:
    add_app(host, "api", 64123)
    remove("app", "shop")
    assert account_calls(stand_ins) == []
    assert noted("account") == ["wsgi-shop"]
    remove("app", "api")
    assert account_calls(stand_ins) == ["userdel wsgi-shop", "groupdel wsgi-shop"]


def test_an_account_that_was_there_before_stays(remove: Remove, shop: Path, stand_ins: StandIns) -> None:
    with ChangeRecord() as notes:
        notes.forget("account", "wsgi-shop")
    remove("app", "shop")
    assert account_calls(stand_ins) == []


def test_an_account_that_somebody_removed_already_is_only_forgotten(
    remove: Remove, shop: Path, stand_ins: StandIns
) -> None:
    stand_ins.add("getent", "exit 2")
    assert not remove("app", "shop")["failed"]
    assert account_calls(stand_ins) == []
    assert noted("account") == []


def test_an_account_that_cannot_be_removed_is_a_failure_that_says_what_went_before(
    remove: Remove, shop: Path, stand_ins: StandIns
) -> None:
    stand_ins.add("userdel", "echo user wsgi-shop is currently used by process 7 >&2; exit 8")
    result = remove("app", "shop")
    assert "userdel wsgi-shop failed: user wsgi-shop is currently used by process 7" in result["msg"]
    assert str(shop / "releases") in result["msg"]
    assert noted("account") == ["wsgi-shop"]
    stand_ins.add("userdel")
    assert not remove("everything")["failed"]
    assert noted("account") == []


@pytest.fixture
def stray(monkeypatch: pytest.MonkeyPatch, start: Callable[..., subprocess.Popen]) -> subprocess.Popen:
    """Return a process of the account of the shop, which supervisord knows nothing of."""
    numbers = {name: uid for uid, name in USERS.items()}
    monkeypatch.setattr(removal_utils.pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=numbers[name]))
    process = start("sleep", "600", user=64123)
    threading.Thread(target=process.wait, daemon=True).start()  # so that nothing is left of it when it ends
    return process


def test_what_an_app_left_running_ends_before_its_account_goes(
    remove: Remove, shop: Path, stray: subprocess.Popen, stand_ins: StandIns
) -> None:
    stand_ins.add("userdel", f"! test -e /proc/{stray.pid}")
    assert remove("app", "shop", check_mode=True)["changed"]
    assert stray.poll() is None
    assert not remove("app", "shop")["failed"]
    assert stray.wait(60) == -signal.SIGKILL


def test_the_processes_of_an_account_that_another_app_uses_or_that_is_not_ours_run_on(
    remove: Remove, host: Host, shop: Path, stray: subprocess.Popen
) -> None:
    add_app(host, "api", 64123)
    remove("app", "shop")
    with ChangeRecord() as notes:
        notes.forget("account", "wsgi-shop")
    remove("app", "api")
    assert stray.poll() is None


# Everything.


@pytest.fixture
def stack(host: Host, systemd: Systemd, shop: Path) -> Host:
    """Return a host with all kinds of things of this collection, and of others."""
    for directory in ("etc", "etc/supervisord", "etc/supervisord/conf.d", "etc/shared"):
        (host.place / directory).mkdir()
        note("directory", host.place / directory)
    (host.place / "opt").mkdir()
    note("tree", host.place / "opt")
    (host.place / "opt" / "tool").write_text("whatever came later\n")
    write(host.place / "etc" / "supervisord" / "supervisord.conf", "ours\n")
    (host.place / "etc" / "shared" / "theirs").write_text("theirs\n")
    (host.place / "theirs").write_text("theirs\n")
    write(host.place / "nginx.conf", "ours\n", before="packaged\n")
    welcome = host.place / "welcome"
    welcome.symlink_to("theirs")
    note("removed", welcome, freeze(read_state(str(welcome))))
    welcome.unlink()
    write(host.units / APP_UNIT, "[Service]\n")
    write(host.sysusers / "baremetal-web.conf", "u wsgi-shop -\n")
    systemd.add(APP_UNIT)
    systemd.add("nginx.service")
    note("unit", APP_UNIT, {"active": False, "enabled": False})
    note("unit", "nginx.service", {"active": True, "enabled": True})
    note("account", "wsgi-build")
    return host


def test_everything_of_ours_goes_and_what_was_there_before_comes_back(remove: Remove, stack: Host) -> None:
    assert remove("everything", data_kept=False)["changed"]
    assert sorted(stack.files()) == [
        *("crontabs", "etc", "etc/shared", "etc/shared/theirs", "nginx.conf"),
        *("srv", "sysusers.d", "theirs", "units", "welcome"),
    ]
    assert (stack.place / "nginx.conf").read_text() == "packaged\n"
    assert os.readlink(stack.place / "welcome") == "theirs"
    assert {kind: names for kind, names in change_record.read().items() if names} == {
        "directory": {str(stack.place / "etc"): None, str(stack.place / "etc" / "shared"): None},
        "unit": {"nginx.service": {"active": True, "enabled": True}},
    }


def test_a_unit_of_ours_stops_before_its_file_goes_and_systemd_is_told_after(
    remove: Remove, stack: Host, systemd: Systemd, stand_ins: StandIns
) -> None:
    remove("everything")
    assert systemd.calls[-3:] == ["groupdel wsgi-build", "daemon-reload", f"reset-failed {APP_UNIT}"]
    assert [call for call in systemd.calls if "disable" in call] == [f"disable --now --quiet {APP_UNIT}"]
    assert not systemd.is_active(APP_UNIT)
    assert systemd.is_active("nginx.service")


def test_accounts_go_after_everything_that_may_run_as_them(remove: Remove, stack: Host, systemd: Systemd) -> None:
    remove("everything")
    assert systemd.calls.index(f"disable --now --quiet {APP_UNIT}") < systemd.calls.index("userdel wsgi-build")


def test_data_that_is_kept_keeps_its_app_in_the_change_record_and_nothing_else(
    remove: Remove, stack: Host, shop: Path
) -> None:
    assert remove("everything")["kept"] == [str(shop / "data"), str(shop / "releases.log")]
    assert (shop / "data" / "uploads" / "photo").exists()
    assert noted("app") == [str(shop)]
    assert noted("file") == noted("account") == []


def test_everything_removed_twice_changes_nothing(remove: Remove, stack: Host) -> None:
    remove("everything")
    before = stack.files()
    assert not remove("everything")["changed"]
    assert stack.files() == before


@pytest.mark.parametrize("data_kept", [True, False])
def test_check_mode_tells_of_everything_and_removes_nothing(
    remove: Remove, stack: Host, systemd: Systemd, data_kept: bool
) -> None:
    before, notes = stack.files(), change_record.read()
    told = remove("everything", data_kept=data_kept, check_mode=True)
    assert (stack.files(), change_record.read(), systemd.calls) == (before, notes, [])
    done = remove("everything", data_kept=data_kept)
    assert (sorted(told["removed"]), told["kept"]) == (sorted(done["removed"]), done["kept"])


def test_packages_and_streams_are_named_and_left_to_their_own_module(remove: Remove, stack: Host) -> None:
    note("package", "nginx")
    note("package", "python3.12")
    note("stream", "nginx:1.24")
    result = remove("everything")
    assert result["noted"] == {
        "package": ["nginx", "python3.12"],
        "stream": ["nginx:1.24"],
        "firewall": [],
        "selinux": [],
    }
    assert noted("package") == ["nginx", "python3.12"]


def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    remove: Remove, stack: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(self: removal_utils.Removal, name: str) -> None:
        if name == "wsgi-build":
            raise KeyboardInterrupt
        account(self, name)

    account = removal_utils.Removal.account
    with monkeypatch.context() as patch:
        patch.setattr(removal_utils.Removal, "account", cut_off)
        with pytest.raises(KeyboardInterrupt):
            remove("everything")
    assert "account wsgi-build" in remove("everything")["removed"]
    assert (stack.place / "nginx.conf").read_text() == "packaged\n"
    assert noted("account") == []


def test_a_file_that_came_back_in_the_meantime_is_not_taken_away_again(remove: Remove, stack: Host) -> None:
    remove("everything")
    theirs = stack.place / "nginx.conf"
    theirs.write_text("theirs\n")
    remove("everything")
    assert theirs.read_text() == "theirs\n"


def test_a_file_that_somebody_put_where_we_took_one_away_stays(remove: Remove, stack: Host) -> None:
    (stack.place / "welcome").write_text("theirs\n")
    remove("everything")
    assert (stack.place / "welcome").read_text() == "theirs\n"
    assert noted("removed") == []


def test_the_data_of_an_app_stays_wherever_its_home_is(remove: Remove, stack: Host) -> None:
    elsewhere = stack.place / "elsewhere" / "blog"
    (elsewhere / "data").mkdir(parents=True)
    (elsewhere / "data" / "post").write_text("dear to somebody\n")
    note("app", elsewhere, {"user": "wsgi-blog"})
    assert str(elsewhere / "data") in remove("everything")["kept"]
    assert (elsewhere / "data" / "post").read_text() == "dear to somebody\n"


def test_nginx_stays_where_somebody_has_put_files_of_his_own_into_it(remove: Remove, stack: Host) -> None:
    theirs = stack.place / "etc" / "nginx" / "conf.d" / "theirs.conf"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs\n")
    write(theirs.parent / "ours.conf", "ours\n")
    (theirs.parent / "ours.conf.dpkg-old").touch()
    for name in ("nginx", "nginx-common", "python3-venv"):
        note("package", name)
    told = remove("everything", check_mode=True)
    done = remove("everything")
    assert told["kept"] == done["kept"]
    assert f"nginx, nginx-common (in use by {theirs})" in done["kept"]
    assert told["noted"]["package"] == done["noted"]["package"] == ["python3-venv"]
    assert change_record.read()["unit"]["nginx.service"] == {"active": True, "enabled": True}


def test_a_file_of_somebody_that_comes_back_keeps_nginx_as_well(remove: Remove, stack: Host) -> None:
    (stack.place / "etc" / "nginx").mkdir()
    theirs = write(stack.place / "etc" / "nginx" / "nginx.conf", "ours\n", before="theirs\n")
    note("package", "nginx")
    told = remove("everything", check_mode=True)
    done = remove("everything")
    assert told["kept"] == done["kept"]
    assert f"nginx (in use by {theirs})" in done["kept"]


def test_nginx_goes_where_all_its_files_are_those_of_packages(remove: Remove, stack: Host, conffile: Path) -> None:
    (stack.place / "etc" / "nginx").mkdir()
    (stack.place / "etc" / "nginx" / "enabled").symlink_to(conffile)
    write(stack.place / "etc" / "nginx" / "ours.conf", "ours\n")
    note("package", "nginx")
    assert remove("everything", data_kept=False, check_mode=True)["kept"] == []
    result = remove("everything", data_kept=False)
    assert (result["kept"], result["noted"]["package"]) == ([], ["nginx"])


def test_a_removal_that_was_killed_does_not_do_again_what_it_did(
    remove: Remove, stack: Host, stand_ins: StandIns
) -> None:
    stand_ins.add("userdel", "[ $1 != wsgi-build ] || kill -9 $PPID")
    killed = multiprocessing.get_context("fork").Process(target=remove, args=("everything",))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert noted("account") == ["wsgi-build"]
    (stack.place / "nginx.conf").write_text("theirs, by now\n")
    stand_ins.add("userdel")
    assert not remove("everything")["failed"]
    assert (stack.place / "nginx.conf").read_text() == "theirs, by now\n"
    assert noted("account") == []


def test_a_removal_that_was_killed_does_not_stumble_over_what_is_done(
    remove: Remove, stack: Host, systemd: Systemd
) -> None:
    (stack.units / APP_UNIT).unlink()
    assert not remove("everything")["failed"]
    assert [call for call in systemd.calls if "disable" in call] == []


def test_a_directory_that_bears_the_name_of_an_account_among_crontabs_stays(
    remove: Remove, host: Host, shop: Path
) -> None:
    (host.crontabs / "wsgi-shop").mkdir()
    (host.crontabs / "wsgi-shop" / "somebody").touch()
    remove("app", "shop")
    assert (host.crontabs / "wsgi-shop" / "somebody").exists()


# The end.


@pytest.mark.parametrize(
    ("before", "calls"),
    [
        ({"active": True, "enabled": True}, ["reload-or-restart nginx.service"]),
        ({"active": False, "enabled": True}, ["stop nginx.service"]),
        ({"active": False, "enabled": False}, ["disable --quiet nginx.service", "stop nginx.service"]),
    ],
)
def test_a_service_that_was_there_before_is_as_it_was(
    remove: Remove, host: Host, systemd: Systemd, before: dict[str, bool], calls: list[str]
) -> None:
    systemd.add("nginx.service")
    note("unit", "nginx.service", before)
    assert not remove("finish", check_mode=True)["failed"]
    assert systemd.calls == []
    remove("finish")
    assert systemd.calls == calls


def test_a_service_that_was_on_and_that_supervisord_ran_since_is_on_again(
    remove: Remove, host: Host, systemd: Systemd
) -> None:
    systemd.add("nginx.service", active=False, enabled=False)
    note("unit", "nginx.service", {"active": True, "enabled": True})
    remove("finish")
    assert systemd.calls == ["enable --quiet nginx.service", "reload-or-restart nginx.service"]


def test_a_service_that_went_with_its_package_is_only_forgotten(remove: Remove, host: Host, systemd: Systemd) -> None:
    note("unit", "nginx.service", {"active": False, "enabled": False})
    remove("finish")
    assert systemd.calls == []
    assert not os.path.exists(change_record.ROOT)


def test_at_the_end_the_change_record_and_the_marks_go_too(remove: Remove, stack: Host) -> None:
    Path(pending_marker.DIRECTORY).mkdir()
    remove("everything", data_kept=False)
    remove("finish", data_kept=False)
    assert not os.path.exists(change_record.ROOT)
    assert not os.path.exists(pending_marker.DIRECTORY)
    before = stack.files()
    for phase in ("everything", "finish"):
        assert not remove(phase, data_kept=False)["changed"]
    assert stack.files() == before


def test_the_change_record_stays_while_it_has_to_know_of_data_or_packages(
    remove: Remove, stack: Host, shop: Path
) -> None:
    note("package", "nginx")
    remove("everything")
    remove("finish")
    assert noted("package") == ["nginx"]
    with ChangeRecord() as notes:
        notes.forget("package", "nginx")
    remove("finish")
    assert noted("app") == [str(shop)]
    remove("everything", data_kept=False)
    remove("finish")
    assert not os.path.exists(change_record.ROOT)


def test_a_host_that_nothing_came_to_is_left_alone(remove: Remove, host: Host) -> None:
    for phase in ("everything", "finish"):
        assert not remove(phase)["changed"]
    assert not remove("app", "shop")["changed"]
    assert not os.path.exists(change_record.ROOT)
