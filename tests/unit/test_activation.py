"""A release goes live: started beside the live one, proved, switched to, and the standby one retired."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    Supervisor,
    SupervisorError,
    mount_problem,
    render_program,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError
from ansible_collections.baremetal.web.plugins.module_utils._release import activation as module
from ansible_collections.baremetal.web.plugins.module_utils._release import retirement, staging
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import Activation, crossed
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError, replace_symlink
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import mutex
from ansible_collections.baremetal.web.plugins.module_utils._release.programs import Programs
from conftest import (
    GROUP,
    NO_HOOKS,
    OWNER,
    PATIENCE,
    A,
    B,
    C,
    D,
    Shop,
    StandIns,
    hook,
    killed_at,
    startsecs,
    wait_until,
)

# What a release consists of.


def test_the_placeholders_of_a_release_are_filled_into_its_program_and_only_there(shop: Shop) -> None:
    shop.lay(A, program={"command": "$python -m shop --config $release/shop.py"})
    server = shop.activation(A).server()
    path = shop.home.release(A)
    assert server["name"] == f"shop-{A}"
    assert f"{path}/venv/bin/python -m shop --config {path}/shop.py" in server["command"]
    assert server["directory"] == f"{path}/app"
    assert "$release" in shop.description["program"]["directory"]


def test_the_environment_of_an_app_is_not_where_supervisord_could_change_or_show_it(shop: Shop) -> None:
    shop.lay(A, program={"environment": {"PASSWORD": "hunter2"}}, programs=[background("mailer")])
    one = shop.activation(A)
    for program in (one.server(), *one.background()):
        assert "hunter2" not in one.text(program)


def test_the_name_of_a_release_is_one_that_its_programs_are_found_by(shop: Shop) -> None:
    again = f"{A}.2"
    ours = [f"shop-{A}", f"shop-{A}.mailer", f"shop-{again}", f"shop-{again}.mailer", f"shop-{B}.2x"]
    for name in (*ours, "shop", "shop-api", f"shop-api-{A}", f"my-shop-{A}", "shop-not-hex-at-all", f"shop-{A}x"):
        Path(shop.supervisor.path(name)).touch()
    programs = Programs(shop.home, shop.supervisor)
    found = programs.releases(), programs.of(A), programs.of(again)
    for path in Path(shop.supervisor.directory).iterdir():
        path.unlink()
    assert found == ([A, again], ours[:2], ours[2:4])


def test_a_release_that_is_not_there_or_was_made_by_an_earlier_version_is_refused(shop: Shop) -> None:
    with pytest.raises(ReleaseError, match="not complete"):
        shop.activation(A)
    shop.lay(A)
    (Path(shop.home.release(A)) / "release.json").write_text('{"version": "1", "staged": 1}')
    with pytest.raises(ReleaseError, match="earlier version"):
        shop.activation(A)


def test_an_app_that_cannot_be_imported_is_refused_with_the_last_line_of_its_traceback(shop: Shop) -> None:
    shop.lay(A, check=f"{sys.executable} -c 'import json'")
    shop.activation(A).check()
    shop.lay(B, check=f"{sys.executable} -c 'import no_such_package; app'")
    with pytest.raises(ReleaseError) as refusal:
        shop.activation(B).check()
    assert "'shop:app'" in str(refusal.value)
    assert "ModuleNotFoundError: No module named 'no_such_package'" in str(refusal.value)


def test_an_import_failure_shows_the_frames_in_the_apps_own_files(shop: Shop) -> None:
    shop.lay(B, check=f"{sys.executable} -c 'import shop'")
    code = Path(shop.home.release(B), "app")
    (code / "shop.py").write_text("import basket\n")
    raising = "except ValueError as error:\n    raise RuntimeError('no basket') from error\n"
    (code / "basket.py").write_text(f"import json\ntry:\n    json.loads('x')\n{raising}")
    with pytest.raises(ReleaseError) as refusal:
        shop.activation(B).check()
    assert str(refusal.value).splitlines() == [
        "entrypoint 'shop:app' does not import: RuntimeError: no basket",
        "  basket.py line 3: json.loads('x')",
        "  shop.py line 1: import basket",
        "  basket.py line 5: raise RuntimeError('no basket') from error",
    ]
    (code / "basket.py").write_text("x = \n")
    with pytest.raises(ReleaseError) as refusal:
        shop.activation(B).check()
    said = str(refusal.value).splitlines()
    assert said[0].startswith("entrypoint 'shop:app' does not import: SyntaxError")
    assert said[1:] == ["  shop.py line 1: import basket", "  basket.py line 1: x ="]


@pytest.mark.parametrize(
    ("wanted", "named"),
    [("app/instance", " instance."), ("venv/var", " venv/var/PACKAGE-instance."), ("venv/var/shop", " venv/var/shop.")],
)
def test_an_app_that_writes_into_its_release_is_told_where_its_data_can_be(shop: Shop, wanted: str, named: str) -> None:
    place = f"{shop.home.release(B)}/{wanted}"
    shop.lay(B, check=f'{sys.executable} -c \'raise PermissionError(13, "Permission denied", "{place}")\'')
    with pytest.raises(ReleaseError, match=r"shared\.directories") as refusal:
        shop.activation(B).check()
    assert str(refusal.value).endswith(named)
    shop.lay(C, check=f'{sys.executable} -c \'raise PermissionError(13, "Permission denied", "/etc/shop")\'')
    with pytest.raises(ReleaseError) as refusal:
        shop.activation(C).check()
    assert "shared" not in str(refusal.value)


# Live.


def background(name: str, command: str = "sleep 600", **options: Any) -> dict[str, Any]:
    return {"name": name, "command": command, "number": 1, "stop_timeout": 1, **options}


def links(home: Home) -> tuple[str, str, str, str]:
    return home.slot, home.occupant(home.slot), os.readlink(home.current_link), os.readlink(home.current_socket)


def test_a_release_of_an_earlier_version_listens_where_it_did_before_and_after_one_of_this_version(shop: Shop) -> None:
    shop.lay(A, layout=0)
    shop.go_live(A)
    assert links(shop.home) == ("a", A, f"releases/{A}", f"run/{A}.sock")
    shop.go_live(B)
    assert links(shop.home) == ("b", B, f"releases/{B}", f"sockets/{B}.sock")
    assert shop.visit() == B
    shop.activation(A).run()
    assert links(shop.home) == ("a", A, f"releases/{A}", f"run/{A}.sock")
    assert shop.visit() == A
    assert not shop.activation(A).drift()


def test_nothing_that_an_app_has_put_where_releases_listened_is_in_the_way_of_the_next_one(shop: Shop) -> None:
    Path(shop.home.run, f"{A}.sock").mkdir()
    shop.go_live(A)
    assert shop.visit() == A


def test_a_supervisord_of_an_earlier_version_is_refused_with_what_to_do(shop: Shop) -> None:
    shop.lay(A)
    shop.supervisor.launcher = ""
    with pytest.raises(SupervisorError, match=r"Run site\.yml first"):
        shop.activation(A).run()


def test_the_first_release_goes_live_in_slot_a_and_starts_with_the_host(shop: Shop) -> None:
    shop.lay(A)
    done = shop.activation(A).run()
    assert (done["release"], done["previous"]) == (A, "")
    assert {"start", "healthy", "stable", "switch", "total"} <= set(done["seconds"])
    assert links(shop.home) == ("a", A, f"releases/{A}", f"sockets/{A}.sock")
    assert shop.visit() == A
    assert "autostart = true" in (shop.supervisor.current_text(f"shop-{A}") or "")
    assert shop.home.manifest(A)["healthy"]
    assert not shop.activation(A).drift()


def test_every_release_goes_into_the_other_slot_and_the_standby_one_stays_warm(shop: Shop) -> None:
    shop.go_live(A)
    standby = shop.pid(A)
    shop.go_live(B)
    assert links(shop.home) == ("b", B, f"releases/{B}", f"sockets/{B}.sock")
    assert shop.visit() == B
    assert (shop.home.standby, shop.pid(A)) == (A, standby)
    assert "autostart = false" in (shop.supervisor.current_text(f"shop-{A}") or "")
    assert not shop.activation(B).drift()
    shop.go_live(C)
    assert links(shop.home) == ("a", C, f"releases/{C}", f"sockets/{C}.sock")
    assert sorted(shop.supervisor.programs()) == [f"shop-{B}", f"shop-{C}"]


def test_whoever_had_the_slot_has_ended_before_the_next_one_starts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So none of the idle connections that nginx keeps for a slot leads to a release before the standby one."""
    shop.go_live(A, B)
    running = {}
    start = Activation._start

    def watched(self: Activation) -> None:
        running.update({name: shop.pid(name) for name in (A, B)}, slot=shop.home.occupant("a"))
        start(self)

    monkeypatch.setattr(Activation, "_start", watched)
    shop.go_live(C)
    assert (running[A], running["slot"]) == (0, "")
    assert running[B] == shop.pid(B)


def test_a_release_that_took_the_slot_a_moment_ago_is_not_ended_before_its_clients_are_accepted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.go_live(A, B)
    monkeypatch.setattr(retirement, "LEAST_WARM_SECONDS", 1)
    since = time.monotonic()
    os.utime(shop.home.slots)
    shop.go_live(C)
    assert 0.9 < time.monotonic() - since < PATIENCE / 2


def test_a_release_that_is_warm_is_live_again_by_the_switch_alone(shop: Shop) -> None:
    shop.go_live(A, B)
    pids = shop.pid(A), shop.pid(B)
    done = shop.activation(A).run()
    assert not {"start", "healthy", "stable"} & set(done["seconds"])
    assert done["seconds"]["total"] < PATIENCE / 2
    assert links(shop.home) == ("a", A, f"releases/{A}", f"sockets/{A}.sock")
    assert (shop.visit(), shop.home.standby) == (A, B)
    assert (shop.pid(A), shop.pid(B)) == pids
    texts = [shop.supervisor.current_text(f"shop-{name}") or "" for name in (A, B)]
    assert ["autostart = true" in text for text in texts] == [True, False]


def test_a_release_that_is_cold_is_started_and_proved_again(shop: Shop) -> None:
    shop.go_live(A, B, C)
    assert shop.pid(A) == 0
    done = shop.activation(A).run()
    assert "start" in done["seconds"]
    assert (shop.visit(), shop.home.standby) == (A, C)


def test_a_warm_release_that_hangs_is_started_anew(shop: Shop) -> None:
    shop.go_live(A, B)
    hanging = shop.pid(A)
    os.unlink(shop.home.socket(A))
    shop.activation(A).run()
    assert shop.visit() == A
    assert shop.pid(A) not in (0, hanging)


def test_a_release_proves_itself_while_the_live_one_serves(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    prove = Activation.prove

    def watched(self: Activation) -> None:
        prove(self)
        seen.append(shop.visit())

    shop.go_live(A)
    monkeypatch.setattr(Activation, "prove", watched)
    shop.go_live(B)
    assert (seen, shop.visit()) == ([A], B)


def test_the_live_release_that_is_well_keeps_its_process_when_it_is_activated_again(shop: Shop) -> None:
    shop.go_live(A)
    before = shop.snapshot()
    shop.go_live(A)
    assert shop.snapshot() == before


def test_the_live_release_that_ended_runs_again_when_it_is_activated_again(shop: Shop) -> None:
    shop.go_live(A)
    shop.supervisor.call("stopProcess", f"shop-{A}")
    assert shop.activation(A).drift()
    shop.go_live(A)
    assert shop.visit() == A
    assert not shop.activation(A).drift()


@pytest.mark.parametrize(
    ("place", "spoil"),
    [
        ("sockets", lambda path: path.chmod(0o700)),
        ("slots", lambda path: path.chmod(0o700)),
        ("releases", lambda path: path.chmod(0o700)),
        ("data", lambda path: path.chmod(0o755)),
        (".", lambda path: path.chmod(0o700)),
        ("run", lambda path: path.rmdir()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_directory_that_is_not_open_to_those_alone_who_need_it_is_a_drift_until_it_is_made_again(
    shop: Shop, place: str, spoil: Callable[[Path], None]
) -> None:
    shop.go_live(A)
    path = Path(shop.home.path, place)
    spoil(path)
    assert shop.activation(A).drift().startswith(f"{path} is missing, or is not open")
    shop.home.create_directories(OWNER, GROUP)
    assert not shop.activation(A).drift()


def test_a_socket_that_the_web_server_may_not_use_is_opened_again_and_nothing_restarts(shop: Shop) -> None:
    shop.go_live(A)
    pid = shop.pid(A)
    os.chmod(shop.home.socket(A), 0o600)
    assert "sock is not open" in shop.activation(A).drift()
    shop.go_live(A)
    assert not shop.activation(A).drift()
    assert shop.pid(A) == pid


def test_a_server_whose_socket_is_gone_starts_again(shop: Shop) -> None:
    shop.go_live(A)
    pid = shop.pid(A)
    os.unlink(shop.home.socket(A))
    assert shop.activation(A).drift()
    shop.go_live(A)
    assert shop.visit() == A
    assert shop.pid(A) != pid


def test_a_background_program_that_supervisord_has_lost_is_started_again(shop: Shop) -> None:
    shop.go_live(A, programs=[background("mailer")])
    shop.supervisor.call("stopProcessGroup", f"shop-{A}.mailer")
    shop.supervisor.call("removeProcessGroup", f"shop-{A}.mailer")
    assert shop.activation(A).drift().endswith(f"shop-{A}.mailer is ABSENT")
    shop.go_live(A)
    assert not shop.activation(A).drift()


@pytest.mark.parametrize(
    ("place", "spoil"),
    [
        ("environment", lambda path: path.write_text("export APP_RELEASE=other\n")),
        ("environment", lambda path: path.chmod(0o400)),
        ("server/launch.py", lambda path: path.unlink()),
        ("venv/bin/python", lambda path: path.unlink()),
        (".", lambda path: path.chmod(0o700)),
    ],
    ids=["environment", "closed", "launcher", "python", "release"],
)
def test_a_release_whose_files_are_not_as_written_is_not_used_again(
    shop: Shop, place: str, spoil: Callable[[Path], None]
) -> None:
    shop.lay(A)
    path = Path(shop.home.release(A))
    for directory in ("server", "venv/bin"):
        (path / directory).mkdir(parents=True)
    (path / "server/launch.py").touch()
    (path / "venv/bin/python").symlink_to(sys.executable)
    assert shop.home.same(A) == [A]
    staging.Staging(shop.home, shop.description, A).finish()
    assert shop.home.same(A) == [A]
    spoil(path / place)
    assert shop.home.damage(A) == place
    assert shop.home.same(A) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda shop: os.unlink(shop.home.current_link), "current does not lead to it"),
        (lambda shop: os.unlink(shop.home.current_socket), "current.sock does not lead to its socket"),
        (lambda shop: shop.supervisor.remove(f"shop-{A}.mailer"), f"not as described: shop-{A}.mailer"),
        (lambda shop: shop.activation(A).autostart(False), f"not as described: shop-{A}"),
        (lambda shop: Path(shop.supervisor.path(f"shop-{C}")).touch(), f"supervisord has programs of {C}"),
        (lambda shop: shop.home.remember(A, healthy=None), "it has not proved to be healthy"),
    ],
    ids=["link", "socket", "background", "autostart", "leftover", "unproved"],
)
def test_a_release_of_which_something_is_not_as_described_says_so_until_it_is_activated_again(
    shop: Shop, spoil: Callable[[Shop], None], said: str
) -> None:
    shop.go_live(A, programs=[background("mailer")])
    assert not shop.activation(A).drift()
    spoil(shop)
    assert shop.activation(A).drift().endswith(said)
    pid = shop.pid(A)
    shop.go_live(A)
    assert not shop.activation(A).drift()
    assert shop.pid(A) == pid


def test_an_app_from_before_there_were_slots_goes_on_until_its_next_release_is_live(
    shop: Shop, start: Callable[..., subprocess.Popen]
) -> None:
    shop.lay(A)
    start(*shop.answerer.split(), env={"APP_RELEASE": A, "APP_SOCKET": shop.home.socket(A)})
    os.symlink(f"sockets/{A}.sock", shop.home.current_socket)
    os.symlink(f"releases/{A}", shop.home.current_link)
    assert wait_until(shop.visit) == shop.home.current == A
    shop.go_live(B)
    assert (shop.visit(), shop.home.slot) == (B, "a")


def test_the_other_apps_of_the_host_are_left_alone(shop: Shop, program: Callable[..., dict[str, Any]]) -> None:
    other = f"shop-api-{A}"
    shop.supervisor.add(other, render_program(program(other), shop.supervisor.log_directory))
    before = shop.supervisor.processes(other)
    shop.go_live(A, B, C)
    assert shop.supervisor.processes(other) == before


# The end of the standby one.


def scheduled(stand_ins: StandIns) -> list[str]:
    """Return what systemd is to do later, as a command with its arguments."""
    asked = (stand_ins.directory / "later").read_text()
    options, _, command = asked.partition("\nflock\n")
    lock, shell, flag, script = command.rstrip("\n").split("\n", 3)
    return [*options.splitlines(), "flock", lock, shell, flag, script]


def retire_now(stand_ins: StandIns) -> None:
    command = scheduled(stand_ins)
    subprocess.run(command[command.index("flock") :], check=True, stdout=subprocess.DEVNULL)


def test_the_standby_release_ends_when_its_time_to_be_warm_is_over(shop: Shop, stand_ins: StandIns) -> None:
    shop.go_live(A, B)
    assert {"--on-active=300", "--unit=baremetal-web-retire-shop.timer"} <= set(scheduled(stand_ins))
    retire_now(stand_ins)
    assert shop.pid(A) == 0
    assert sorted(shop.supervisor.programs()) == [f"shop-{B}"]
    assert os.listdir(shop.home.sockets) == [f"{B}.sock"]
    assert shop.visit() == B
    assert not shop.activation(B).drift()
    assert shop.activation(A).is_warm() is False


def test_a_release_that_is_live_again_is_not_ended_by_the_timer_of_before(shop: Shop, stand_ins: StandIns) -> None:
    shop.go_live(A, B)
    timer = (stand_ins.directory / "later").read_text()
    shop.go_live(A)
    assert "systemctl stop baremetal-web-retire-shop.timer" in stand_ins.calls
    (stand_ins.directory / "later").write_text(timer)
    retire_now(stand_ins)
    assert shop.visit() == A


def test_the_end_of_the_standby_release_waits_for_a_release_that_is_under_way(shop: Shop, stand_ins: StandIns) -> None:
    shop.go_live(A, B)
    command = scheduled(stand_ins)
    with mutex(shop.home):
        waiting = subprocess.Popen(command[command.index("flock") :], stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        assert shop.pid(A)
    waiting.wait(PATIENCE)
    assert shop.pid(A) == 0


def test_where_systemd_takes_no_timer_the_standby_release_ends_at_once(shop: Shop, stand_ins: StandIns) -> None:
    stand_ins.add("systemd-run", "exit 1")
    shop.go_live(A, B)
    assert sorted(shop.supervisor.programs()) == [f"shop-{B}"]
    assert shop.visit() == B


def test_a_release_is_live_even_when_the_standby_one_cannot_be_retired(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("systemd-run", 30)

    shop.go_live(A)
    shop.lay(B)
    with monkeypatch.context() as patch:
        patch.setattr(retirement.Retirement, "schedule", fail)
        assert shop.activation(B).run()["release"] == B
    assert shop.visit() == B
    assert f"shop-{A} would start with the host" in shop.activation(B).drift()
    shop.activation(B).run()
    assert not shop.activation(B).drift()


def test_the_newest_releases_are_kept_and_the_two_that_run(shop: Shop) -> None:
    shop.go_live(A, B, releases={"keep": 2})
    for name in "0123":
        shop.lay(name * 12)
    shop.activation(A).run()
    assert sorted(os.listdir(shop.home.releases)) == ["2" * 12, "3" * 12, A, B]


# Whatever fails.

DEAD = {"command": "sh -c 'echo the reason; exit 3'", "startsecs": PATIENCE, "startretries": 0}
NO_LONGER = {"stable": PATIENCE}


def failing(shop: Shop) -> dict[str, tuple[dict[str, Any], str, str]]:
    """Return releases that fail, each with the step at which, and what has to be said."""
    runs = {key: {"command": f"{shop.answerer} {key} 3"} for key in ("ends", "loses")}
    return {
        "start": ({"program": {**DEAD, "command": "/no/such/program"}}, "healthy", "FATAL"),
        "user": ({"program": {"user": "no-such-user"}}, "start", "no-such-user"),
        "dead": ({"program": DEAD}, "healthy", "with exit status 3. The end of"),
        "probe": ({"health": {"path": "/503", "timeout": 3}}, "healthy", "within 3 s: answer 503"),
        "hangs": ({"health": {"path": "/slow", "timeout": 3}}, "healthy", "within 3 s: no answer"),
        "ends": ({"program": runs["ends"], "health": NO_LONGER}, "stable", "healthy on / at first, but not"),
        "worker": ({"program": runs["loses"], "health": NO_LONGER}, "stable", "a process of it has ended"),
        "before": ({"hooks": {"before_activate": [hook("echo why; exit 4")]}}, "before_activate", "exit status 4\nwhy"),
        "background": (
            {"programs": [background("mailer", "false")], "program": {"startsecs": startsecs(), "startretries": 0}},
            "background",
            f"program shop-{B}.mailer is FATAL, with exit status 1. The end of",
        ),
        "crashes": (
            {"programs": [background("mailer", "sh -c 'echo the reason; sleep 1; exit 3'")], "health": {"stable": 4}},
            "background",
            f"program shop-{B}.mailer has ended within 4 s after it began to run, with exit status 3. The end of",
        ),
        "after": ({"hooks": {"after_activate": [hook("echo why; exit 5")]}}, "after_activate", "exit status 5\nwhy"),
    }


FAILURES = ["start", "user", "dead", "probe", "hangs", "ends", "worker", "before", "background", "crashes", "after"]


def fail_to_go_live(shop: Shop, failure: str) -> None:
    changes, step, said = failing(shop)[failure]
    shop.lay(B, **changes)
    attempt = shop.activation(B)
    with pytest.raises((ReleaseError, VenvError, SupervisorError)) as refusal:
        attempt.run()
    assert said in str(refusal.value)
    assert attempt.step == step


@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_fails_leaves_the_live_release_as_it_was(shop: Shop, failure: str) -> None:
    shop.go_live(A, programs=[background("clock")])
    before = shop.snapshot()
    fail_to_go_live(shop, failure)
    shop.home.drop(B)
    after = shop.snapshot()
    if failure in (
        "background",
        "crashes",
        "after",
    ):  # clients had it for a moment, and the clock of the standby one stopped
        assert after["processes"].pop(f"shop-{A}.clock") != before["processes"].pop(f"shop-{A}.clock")
    assert after == before
    assert shop.visit() == A
    assert not shop.activation(A).drift()


@pytest.mark.parametrize("failure", ["dead", "before", "background", "after"])
def test_a_first_release_that_fails_leaves_none_live(shop: Shop, failure: str) -> None:
    before = shop.snapshot()
    fail_to_go_live(shop, failure)
    shop.home.drop(B)
    assert shop.snapshot() == before
    assert shop.home.current == shop.visit() == ""


def test_a_warm_release_whose_hook_fails_stays_warm_and_still_ends_in_time(shop: Shop, stand_ins: StandIns) -> None:
    shop.go_live(A, hooks={"before_activate": [hook("test ! -e no")]})
    shop.go_live(B)
    Path(shop.home.release(A), "app", "no").touch()
    (stand_ins.directory / "later").unlink()
    before = shop.snapshot()
    with pytest.raises(VenvError, match="before_activate"):
        shop.activation(A).run()
    assert shop.snapshot() == before
    retire_now(stand_ins)
    assert (shop.pid(A), shop.visit()) == (0, B)


def test_after_a_failed_release_the_next_one_goes_live(shop: Shop) -> None:
    shop.go_live(A)
    fail_to_go_live(shop, "after")
    shop.home.drop(B)
    shop.go_live(C)
    assert (shop.visit(), shop.home.standby) == (C, A)


def test_links_that_a_killed_switch_left_behind_follow_even_when_the_next_release_fails(shop: Shop) -> None:
    shop.go_live(A, C)
    replace_symlink(shop.home.current_link, f"releases/{A}")
    replace_symlink(shop.home.current_socket, f"sockets/{A}.sock")
    fail_to_go_live(shop, "before")
    assert links(shop.home) == ("b", C, f"releases/{C}", f"sockets/{C}.sock")


def test_why_a_release_was_taken_back_is_told_even_when_that_does_not_work(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    shop.go_live(A)
    monkeypatch.setattr(Activation, "autostart", lambda self, wanted: fail() if self.release == A else None)
    fail_to_go_live(shop, "after")
    assert shop.visit() == A


# Hooks and background programs.


def test_hooks_run_in_the_code_with_the_environment_in_their_order_and_as_their_user(shop: Shop) -> None:
    shop.lay(A, hooks={"migrate": [hook("echo $APP_RELEASE > one"), hook("cat one > two; id -un >> two", "second")]})
    place = Path(shop.home.release(A), "app")
    assert shop.activation(A).hooks("migrate", run_once=False) == ["hook", "second"]
    assert (place / "two").read_text().splitlines()[0] == A
    assert shop.activation(A).hooks("migrate", run_once=True) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a command as another user")
def test_the_server_the_programs_and_the_hooks_of_a_release_have_the_same_tmp(shop: Shop) -> None:
    words = f"private_tmp={shop.home.private} private_shm={shop.home.shm} -- "
    worker = {"name": "worker", "command": "work", "number": 1, "stop_timeout": 5}
    for private, wanted in ((True, words), (False, "private_tmp=no -- ")):
        shop.description["private_tmp"] = private
        shop.lay(A if private else B, programs=[worker])
        activation = shop.activation(A if private else B)
        for program in (activation.server(), *activation.background()):
            assert f" {wanted}" in activation.text(program)
        launcher = activation._unit(OWNER).launcher
        assert " ".join(launcher).endswith(f" user=root {wanted.strip()}")
        assert not activation._unit(OWNER).private
        # Root's hook opens nothing where the app can put a link.
        assert activation._unit("nobody").launcher == ()
        assert not activation._unit("nobody").private
    del shop.description["private_tmp"]
    shop.lay(C)
    assert "private" not in shop.activation(C).text(shop.activation(C).server())
    assert shop.activation(C)._unit(OWNER).private


@pytest.mark.skipif(bool(mount_problem()), reason="may not mount")
def test_hooks_and_the_check_write_to_the_tmp_of_the_app_and_another_users_to_the_hosts(shop: Shop) -> None:
    mark = f"by-a-hook-{os.getpid()}"
    write = " && ".join(f"touch {place}/{mark}" for place in ("/tmp", "/var/tmp", "/dev/shm"))
    shop.description["private_tmp"] = True
    seen = f"test ! -e /tmp/{mark} && touch /tmp/{mark}.host"
    hooks = {"migrate": [hook(f"{write} && echo $APP_RELEASE > said"), hook(seen, "other", user="nobody")]}
    shop.lay(A, hooks=hooks, check=f"test -e /tmp/{mark} -a -e /dev/shm/{mark}")
    with pytest.raises(ReleaseError):
        shop.activation(A).check()
    try:
        shop.activation(A).hooks("migrate", run_once=False)
        assert os.path.exists(f"/tmp/{mark}.host")
    finally:
        with suppress(FileNotFoundError):
            os.unlink(f"/tmp/{mark}.host")
    shop.activation(A).check()
    assert Path(shop.home.release(A), "app", "said").read_text() == f"{A}\n"
    for place in (f"{shop.home.private}/tmp", f"{shop.home.private}/var-tmp", shop.home.shm):
        assert os.listdir(place) == [mark]
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o1777
    for above in (shop.home.private, os.path.dirname(shop.home.shm)):
        assert stat.S_IMODE(os.stat(above).st_mode) == 0o700
    assert not any(os.path.exists(f"{place}/{mark}") for place in ("/tmp", "/var/tmp", "/dev/shm"))


def test_a_hook_runs_as_the_user_that_it_names(shop: Shop) -> None:
    shop.lay(A, hooks={"migrate": [hook("test $(id -un) = nobody", user="nobody")]})
    assert shop.activation(A).hooks("migrate", run_once=False)
    shop.lay(B, hooks={"migrate": [hook("true", user="no-such-user")]})
    with pytest.raises(ReleaseError, match="no user 'no-such-user'"):
        shop.activation(B).hooks("migrate", run_once=False)


def test_a_hook_that_fails_is_named_and_those_after_it_do_not_run(shop: Shop) -> None:
    shop.lay(A, hooks={"migrate": [hook("false", "first"), hook("touch ran", "second")]})
    with pytest.raises(VenvError, match="hook first of migrate failed with exit status 1"):
        shop.activation(A).hooks("migrate", run_once=False)
    assert not Path(shop.home.release(A), "app", "ran").exists()


def test_a_hook_that_takes_too_long_is_ended(shop: Shop) -> None:
    shop.lay(A, hooks={"migrate": [hook("sleep 60", timeout=0.2)]})
    with pytest.raises(VenvError, match=r"did not end within 0\.2 s"):
        shop.activation(A).hooks("migrate", run_once=False)


def test_hooks_of_an_activation_see_the_world_before_and_after_the_switch(shop: Shop) -> None:
    def look(file: str) -> list[dict[str, Any]]:
        return [hook(f"readlink {shop.home.current_link} > {shop.home.data}/{file}")]

    shop.go_live(A)
    shop.go_live(B, hooks={**NO_HOOKS, "before_activate": look("before"), "after_activate": look("after")})
    seen = [Path(shop.home.data, name).read_text().strip() for name in ("before", "after")]
    assert seen == [f"releases/{A}", f"releases/{B}"]


def test_background_programs_follow_the_release_with_its_environment(shop: Shop) -> None:
    shop.go_live(A, programs=[background("mailer", "sh -c 'echo mail of $APP_RELEASE; sleep 600'", number=2)])
    assert shop.supervisor.states(f"shop-{A}.mailer") == ["RUNNING", "RUNNING"]
    log = Path(shop.supervisor.log_directory, "shop.mailer-0.log")
    wait_until(lambda: f"mail of {A}" in log.read_text())
    shop.go_live(B, programs=[background("clock")])
    assert shop.supervisor.states(f"shop-{A}.mailer") == []
    assert shop.supervisor.states(f"shop-{B}.clock") == ["RUNNING"]
    shop.go_live(A)
    assert shop.supervisor.states(f"shop-{A}.mailer") == ["RUNNING", "RUNNING"]
    assert shop.supervisor.states(f"shop-{B}.clock") == []
    assert not shop.activation(A).drift()


def test_a_message_shows_what_this_attempt_has_added_to_the_log_of_that_program(shop: Shop) -> None:
    log = Path(shop.supervisor.log_directory, "shop.mailer.log")
    shop.go_live(A, programs=[background("mailer", "sh -c 'echo of the previous one; sleep 600'")])
    wait_until(lambda: "previous" in log.read_text())
    crash = background("mailer", "sh -c 'echo the reason; sleep 1; exit 3'")
    shop.lay(B, programs=[crash], health={"stable": 4})
    with pytest.raises(ReleaseError) as refusal:
        shop.activation(B).run()
    assert "the reason" in str(refusal.value)
    assert "of the previous one" not in str(refusal.value)


def test_background_programs_of_two_releases_never_run_at_the_same_time(shop: Shop) -> None:
    note = "sh -c 'trap \"rm $HOME/runs; exit\" TERM; test ! -e $HOME/runs || touch $HOME/two; touch $HOME/runs; {}'"
    command = note.format("while sleep 0.02\\; do :\\; done".replace("\\;", ";")).replace("$HOME", shop.home.data)
    for release in (A, B, C):
        shop.go_live(release, programs=[background("only", command, stop_timeout=PATIENCE)])
        wait_until(lambda: os.path.exists(os.path.join(shop.home.data, "runs")))
    assert not os.path.exists(os.path.join(shop.home.data, "two"))


# Irreversible migrations.


def test_migrations_are_crossed_that_happened_since_a_release_was_live_the_last_time(shop: Shop) -> None:
    home = shop.home
    for release, names in ((A, []), (B, ["drop"]), (C, []), (B, ["drop"])):
        home.log("deploy", "live", release=release, irreversible=names)
    assert crossed(home, A) == [f"drop of {B}"]
    assert crossed(home, C) == [f"drop of {B}"]
    assert crossed(home, B) == []
    home.log("rollback", "live", release=A, irreversible=[])
    assert crossed(home, A) == []
    # It happened, though the release never came to life.
    home.log("hooks", "ran", release=D, irreversible=["wipe"])
    assert crossed(home, A) == [f"wipe of {D}"]


# The process that activates is killed.

# Goes to the app all the time, on the way that nginx takes, and prints which release answers.
VISITOR = r"""
import os, socket, sys, time
slots, current, end = sys.argv[1], sys.argv[2], time.monotonic() + 3600

def ask(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.makefile().read().split()[-1]

while time.monotonic() < end:
    answer = "nobody"
    for path in (slots + ("/b.sock" if os.path.exists(slots + "/b") else "/a.sock"), current):
        try:
            answer = ask(path)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except Exception as error:
            answer = repr(error)
    print(answer, flush=True)
    time.sleep(0.01)
"""
STEPS = [(os, name) for name in ("replace", "unlink", "symlink", "fsync")]
STEPS += [(Supervisor, "call"), (subprocess, "run"), (module.venv, "run"), (Home, "drop")]


def changes_something(step: str, *arguments: Any) -> bool:
    return step != "call" or not str(arguments[1]).startswith("get")


@pytest.mark.parametrize(
    ("cycle", "programs"), [((A, B, C), []), ((A, B), [background("mailer")])], ids=["cold", "warm"]
)
def test_wherever_an_activation_is_killed_the_app_answers_and_the_next_one_succeeds(
    shop: Shop, tmp_path: Path, start: Callable[..., subprocess.Popen], cycle: tuple[str, ...], programs: list
) -> None:
    for release in cycle:
        shop.lay(release, programs=programs)
    live, lives, number = cycle[0], [cycle[0]], 0
    shop.go_live(live)
    with open(tmp_path / "clients", "w", encoding="utf-8") as log:
        start(sys.executable, "-IS", "-c", VISITOR, shop.home.slots, shop.home.current_socket, stdout=log)
    killed = True
    while killed:
        wanted = cycle[len(lives) % len(cycle)]
        killed = killed_at(number, shop.activation(wanted).run, STEPS, changes_something)
        assert shop.visit() == shop.home.current, number
        assert shop.home.current in (live, wanted), number
        shop.activation(wanted).run()
        assert shop.visit() == wanted, number
        # On a busy machine the client may come late; each release has to be seen before the next one is made.
        wait_until(lambda wanted=wanted: (tmp_path / "clients").read_text().endswith(f"{wanted}\n"))
        assert not shop.activation(wanted).drift(), number
        assert {name[:17] for name in shop.supervisor.programs()} <= {f"shop-{live}", f"shop-{wanted}"}, number
        assert {info["group"] for info in shop.supervisor.call("getAllProcessInfo")} == shop.supervisor.programs()
        assert [name for name in os.listdir(shop.home.path) if name.endswith(".new")] == [], number
        live = wanted
        lives.append(wanted)
        number += 1
    assert number > 20
    answers = (tmp_path / "clients").read_text().splitlines()
    changes = [answer for answer, before in zip(answers, ["", *answers], strict=False) if answer != before]
    assert changes == lives
