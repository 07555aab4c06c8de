"""Programs of supervisord: what it reads is what was meant, and a change touches one program alone."""

from __future__ import annotations

import base64
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import supervisor as supervisor_utils
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    Supervisor,
    SupervisorError,
    render_program,
)
from conftest import OWNER, PATIENCE, ROOT, startsecs, wait_until

Program = Callable[..., dict[str, Any]]
Read = Callable[[str], Any]


@pytest.fixture
def read_all(tmp_path: Path) -> Callable[[str], list]:
    """Let supervisord's own code read a program; return what it understood of each of its processes."""
    options = pytest.importorskip("supervisor.options")

    def _read_all(text: str) -> list:
        config = tmp_path / "supervisord.conf"
        config.write_text(f"[supervisord]\nchildlogdir = {tmp_path}\n[include]\nfiles = {tmp_path}/*.program\n")
        (tmp_path / "the.program").write_text(text)
        server = options.ServerOptions()
        server.realize(["--configuration", str(config)])
        (group,) = server.process_group_configs
        return group.process_configs

    return _read_all


@pytest.fixture
def read(read_all: Callable[[str], list]) -> Read:
    """Let supervisord's own code read a program of one process."""

    def _read(text: str) -> Any:
        (program,) = read_all(text)
        return program

    return _read


# What has to arrive.
VALUES = {
    "nothing": "",
    "one letter": "x",
    "a space": "two words",
    "spaces at the ends": " padded ",
    "a comma": "a,b=c,d",
    "a per cent sign": "100%",
    "an expansion": "%(program_name)s and %(ENV_HOME)s and %s and %%",
    "a single quote": "it's",
    "a dollar": "$HOME ${HOME} $(id)",
    "a semicolon": "a;b; c",
    "a hash": "a#b# c",
    "a URL": "postgresql://user:p%40ss@db.example:5432/shop?sslmode=require&x=#1",
    "another script": "naïve → 漢字 😀",
    "a section": "[program:other]",
}
# What supervisord may not be able to hold: it is refused, or arrives.
AWKWARD = {
    "a double quote": 'say "hello" to',
    "a backslash": r"C:\temp\new",
    "a backslash at the end": "C:\\temp\\",
    "a semicolon after a space": "a ;b;c ; d",
    "a hash after a space": "a #b#c # d",
    "a tab": "a\tb",
    "JSON": '{"a": [1, "two"], "b": null}',
    "both quotes": """it's "so" """,
    "a quote at the start": '"a',
    "a quote at the end": "a'",
    "quotes around it": "'a'",
    "quotes alone": '"\'"',
    "a backslash before a quote": 'a\\"b',
    "the place of the file": "in %(here)s",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_an_environment_value_arrives_as_it_was_given(program: Program, read: Read, value: str) -> None:
    environment = {"BEFORE": "1", "VALUE": value, "ZAFTER": "2"}
    assert read(render_program(program(environment=environment), "/")).environment == environment


@pytest.mark.parametrize("value", AWKWARD.values(), ids=AWKWARD.keys())
def test_an_environment_value_that_supervisord_cannot_hold_is_refused_and_never_changed(
    program: Program, read: Read, value: str
) -> None:
    environment = {"BEFORE": "1", "VALUE": value, "ZAFTER": "2"}
    text, refusal = attempt(program(environment=environment))
    if refusal:
        assert "VALUE" in refusal
        assert value not in refusal
    else:
        assert read(text).environment == environment


def attempt(program: dict[str, Any]) -> tuple[str, str]:
    """Return the text of a program, or why there is none."""
    try:
        return render_program(program, "/"), ""
    except SupervisorError as error:
        return "", str(error)


@pytest.mark.parametrize("value", ["a\nb", "a\n", "a\rb", "a\r\nb"])
def test_a_line_break_in_an_environment_value_is_refused_by_name(program: Program, value: str) -> None:
    with pytest.raises(SupervisorError, match="VALUE"):
        render_program(program(environment={"VALUE": value}), "/")


@pytest.mark.parametrize("option", ["command", "directory", "user", "log_name"])
def test_no_text_of_a_program_can_add_an_option_to_it(program: Program, option: str) -> None:
    with pytest.raises(SupervisorError):
        render_program(program() | {option: "/bin/true\nuser = root"}, "/")


@pytest.mark.parametrize(
    "command",
    [
        "/bin/sleep 60",
        '/bin/sh -c "echo 100% %(program_name)s; date +%%F"',
        "/usr/bin/app --name 'two words' --path C:\\temp --greeting naïve",
    ],
)
def test_a_command_arrives_as_it_was_given(program: Program, read: Read, command: str) -> None:
    assert read(render_program(program(command=command), "/")).command == command


@pytest.mark.parametrize(
    "command", ["/bin/sh -c 'a ; b'", "/bin/sh -c 'a # b'", "; a", "# a", "a\tb ;", "echo %(here)s"]
)
def test_a_command_that_supervisord_would_read_otherwise_is_refused_and_never_changed(
    program: Program, read: Read, command: str
) -> None:
    text, refusal = attempt(program() | {"command": command})
    if refusal:
        assert repr(command) in refusal
    else:
        assert read(text).command == command


def test_every_option_arrives_as_it_was_given(program: Program, read: Read, tmp_path: Path) -> None:
    wanted = {
        "directory": f"{tmp_path}/100%",
        "priority": 7,
        "autostart": False,
        "startsecs": 9,
        "startretries": 4,
        "stopwaitsecs": 123,
        "stopasgroup": True,
        "killasgroup": True,
    }
    described = program("worker-1.a_b", **wanted, umask="077", stopsignal="QUIT", log_maxbytes="2MB", log_backups=3)
    understood = read(render_program(described, str(tmp_path)))
    assert {option: getattr(understood, option) for option in wanted} == wanted
    assert understood.name == "worker-1.a_b"
    assert understood.uid == pwd.getpwnam(OWNER).pw_uid
    assert understood.umask == 0o077
    assert understood.stopsignal == signal.SIGQUIT
    assert understood.stdout_logfile == f"{tmp_path}/worker-1.a_b.log"
    assert understood.stdout_logfile_maxbytes == 2 * 1024 * 1024
    assert understood.stdout_logfile_backups == 3


@pytest.mark.parametrize(
    ("autorestart", "understood"),
    [("true", "RestartUnconditionally"), ("false", False), ("unexpected", "RestartWhenExitUnexpected")],
)
def test_a_program_is_started_again_when_it_was_asked_for(
    program: Program, read: Read, autorestart: str, understood: str | bool
) -> None:
    datatypes = pytest.importorskip("supervisor.datatypes")
    expected = getattr(datatypes, understood) if isinstance(understood, str) else understood
    assert read(render_program(program(autorestart=autorestart), "/")).autorestart is expected


def test_the_output_of_a_program_goes_to_one_log_of_the_name_it_wants(
    program: Program, read: Read, tmp_path: Path
) -> None:
    understood = read(render_program(program(log_name="shop"), str(tmp_path)))
    assert understood.redirect_stderr is True
    assert understood.stdout_logfile == f"{tmp_path}/shop.log"


def test_the_same_program_is_the_same_text_in_whatever_order_its_environment_came(program: Program) -> None:
    one, two = program(environment={"A": "1", "B": "2"}), program(environment={"B": "2", "A": "1"})
    assert render_program(one, "/") == render_program(two, "/")


@pytest.fixture
def add(supervisor: Supervisor, program: Program) -> Callable[..., None]:
    """Add a program to the running supervisord, or change it."""

    def _add(name: str, **options: Any) -> None:
        supervisor.add(name, render_program(program(name, **options), supervisor.log_directory))
        wait_until(lambda: is_itself(pid(supervisor, name)))

    return _add


def pid(supervisor: Supervisor, name: str) -> int:
    return supervisor.call("getProcessInfo", name)["pid"]


def is_itself(pid: int) -> bool:
    """Tell whether a child of supervisord, which begins as its copy and deaf to signals, has become its command."""
    try:
        return b"supervisord" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def test_a_program_that_is_added_runs_and_one_that_was_never_added_is_absent(
    supervisor: Supervisor, add: Callable[..., None]
) -> None:
    add("one")
    assert supervisor.wait("one", PATIENCE) == "RUNNING"
    assert supervisor.state("other") == "ABSENT"
    assert supervisor.programs() == {"one"}


def test_a_programs_file_is_closed_to_others_for_it_may_hold_secrets(
    supervisor: Supervisor, add: Callable[..., None]
) -> None:
    add("one", environment={"PASSWORD": "hunter2"})
    path = Path(supervisor.path("one"))
    assert "hunter2" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_changed_program_is_started_anew_and_no_other_is_touched(
    supervisor: Supervisor, add: Callable[..., None]
) -> None:
    add("one")
    add("other")
    before = pid(supervisor, "one"), pid(supervisor, "other")
    add("one", command="sleep 601")
    assert supervisor.wait("one", PATIENCE) == "RUNNING"
    assert pid(supervisor, "one") not in (0, before[0])
    assert pid(supervisor, "other") == before[1]
    command = Path(f"/proc/{pid(supervisor, 'one')}/cmdline")
    wait_until(lambda: command.read_bytes() == b"sleep\x00601\x00")  # it may not be in its place yet


def test_a_removed_program_ends_loses_its_file_and_leaves_the_others_alone(
    supervisor: Supervisor, add: Callable[..., None]
) -> None:
    add("one")
    add("other")
    gone, kept = pid(supervisor, "one"), pid(supervisor, "other")
    supervisor.remove("one")
    assert supervisor.state("one") == "ABSENT"
    assert supervisor.current_text("one") is None
    assert not os.path.exists(f"/proc/{gone}")
    assert pid(supervisor, "other") == kept


def test_several_processes_of_a_program_count_as_the_one_that_is_farthest_from_running(
    supervisor: Supervisor, program: Program, tmp_path: Path
) -> None:
    command = f"sh -c 'if mkdir {tmp_path}/first; then exit 3; fi; exec sleep 600'"
    one = program("many", command=command, startsecs=startsecs(), startretries=0)
    supervisor.add("many", render_program({**one, "number": 3}, supervisor.log_directory))
    wait_until(lambda: sorted(supervisor.states("many")) == ["FATAL", "RUNNING", "RUNNING"])
    assert supervisor.state("many") == "FATAL"
    assert all(os.path.exists(f"/proc/{process}") for process in supervisor.processes("many"))
    assert len(supervisor.processes("many")) == 2
    supervisor.remove("many")
    assert supervisor.states("many") == []


def test_several_processes_of_a_program_have_a_log_each(
    program: Program, read_all: Callable[[str], list], tmp_path: Path
) -> None:
    described = {**program("worker", log_name="shop.worker"), "number": 2}
    found = read_all(render_program(described, str(tmp_path)))
    assert [(one.name, one.stdout_logfile) for one in found] == [
        ("worker-0", f"{tmp_path}/shop.worker-0.log"),
        ("worker-1", f"{tmp_path}/shop.worker-1.log"),
    ]


def test_a_removal_that_is_cut_off_leaves_the_file_by_which_the_program_is_found(
    supervisor: Supervisor, add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_name: str) -> None:
        raise KeyboardInterrupt

    add("one")
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "_forget", cut_off)
        with pytest.raises(KeyboardInterrupt):
            supervisor.remove("one")
    assert supervisor.programs() == {"one"}
    supervisor.remove("one")
    assert (supervisor.programs(), supervisor.state("one")) == (set(), "ABSENT")


def test_a_program_that_was_never_there_can_be_removed(supervisor: Supervisor) -> None:
    supervisor.remove("never-was")
    assert supervisor.state("never-was") == "ABSENT"


def test_a_program_whose_file_somebody_deleted_can_be_removed(supervisor: Supervisor, add: Callable[..., None]) -> None:
    add("one")
    Path(supervisor.path("one")).unlink()
    supervisor.remove("one")
    assert supervisor.state("one") == "ABSENT"


def test_a_program_that_ends_at_once_is_given_up(supervisor: Supervisor, add: Callable[..., None]) -> None:
    add("one", command="false", startsecs=PATIENCE, startretries=0)
    assert supervisor.wait("one", PATIENCE) == "FATAL"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'exit 7'", ", with exit status 7"),
        ("sh -c no-such-program", ", with exit status 127"),
        ("sh -c 'kill -9 $$'", ", terminated by SIGKILL"),
        ("sh -c 'sleep 5 & exit 0'", ", with exit status 0; a program has to stay in the foreground"),
    ],
)
def test_the_end_of_a_program_is_told(
    supervisor: Supervisor, add: Callable[..., None], command: str, said: str
) -> None:
    add("one", command=command, startsecs=PATIENCE, startretries=0)
    assert supervisor.wait("one", PATIENCE) == "FATAL"
    assert supervisor.ending("one").startswith(said)


def test_a_program_that_runs_or_never_ran_has_no_end(supervisor: Supervisor, add: Callable[..., None]) -> None:
    add("never-ended")
    assert (supervisor.ending("never-ended"), supervisor.ending("absent")) == ("", "")


# A pool: its child works for a while, and would not survive a signal; its parent waits for it when asked to end.
POOL = """
import os, pathlib, signal, sys, time
done = pathlib.Path(sys.argv[1])
if child := os.fork():
    signal.signal(signal.SIGTERM, lambda *_: (os.waitpid(child, 0), os._exit(0)))
    done.with_suffix(".ready").touch()
    while True:
        signal.pause()
time.sleep(float(sys.argv[2]))
done.touch()
"""


def run_pool(add: Callable[..., None], place: Path, seconds: float, **options: Any) -> Path:
    (place / "pool.py").write_text(POOL)
    add("pool", command=f"{sys.executable} -IS {place}/pool.py {place}/done {seconds}", **options)
    wait_until((place / "done.ready").exists)
    return place / "done"


def test_what_the_children_of_a_program_work_at_is_done_before_it_ends(
    supervisor: Supervisor, add: Callable[..., None], tmp_path: Path
) -> None:
    done = run_pool(add, tmp_path, 1, stopwaitsecs=PATIENCE)
    supervisor.remove("pool")
    assert done.exists()


def test_the_children_of_a_program_that_takes_too_long_end_with_it(
    supervisor: Supervisor, add: Callable[..., None], tmp_path: Path
) -> None:
    done = run_pool(add, tmp_path, 600, stopwaitsecs=1)
    group = pid(supervisor, "pool")
    supervisor.remove("pool")
    wait_until(lambda: not members(group))
    assert not done.exists()


@pytest.mark.parametrize("line", ["cd / && {}", "{}; true", "true | {}"], ids=["and", "then", "pipeline"])
def test_a_program_that_a_shell_waits_for_ends_its_work_when_the_shell_is_stopped(
    supervisor: Supervisor, add: Callable[..., None], tmp_path: Path, line: str
) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    script = tmp_path / "start.sh"
    script.write_text(line.format(f"{sys.executable} -IS {tmp_path}/pool.py {tmp_path}/done 1") + "\n")
    add("shell", command=f"sh {script}", stopwaitsecs=PATIENCE)
    wait_until((tmp_path / "done.ready").exists)
    group = pid(supervisor, "shell")
    supervisor.remove("shell")
    assert (tmp_path / "done").exists()
    assert members(group) == []


def test_what_a_stopped_shell_leaves_behind_is_killed_when_it_takes_too_long(
    supervisor: Supervisor, add: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    script = tmp_path / "start.sh"
    script.write_text(f"cd / && {sys.executable} -IS {tmp_path}/pool.py {tmp_path}/done 600\n")
    add("shell", command=f"sh {script}", stopwaitsecs=1)
    wait_until((tmp_path / "done.ready").exists)
    group = pid(supervisor, "shell")
    supervisor.remove("shell")
    assert members(group) == []
    assert not (tmp_path / "done").exists()


# A worker whose task runs in a session of its own, as RQ's do; neither ends when it is asked to.
SESSION = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    time.sleep(600)
os.setsid()
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""


def test_a_child_in_a_session_of_its_own_ends_with_its_program(
    supervisor: Supervisor, add: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "session.py").write_text(SESSION)
    add("worker", command=f"{sys.executable} -IS {tmp_path}/session.py {tmp_path}/child", stopwaitsecs=1)
    wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    assert members(child) == [child]
    supervisor.remove("worker")
    assert members(child) == []


def test_programs_that_stop_together_have_the_same_time_for_it(
    supervisor: Supervisor, add: Callable[..., None], tmp_path: Path
) -> None:
    names = ["one", "two", "three"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "pool.py").write_text(POOL)
        command = f"{sys.executable} -IS {tmp_path}/{name}/pool.py {tmp_path}/{name}/done 2"
        add(name, command=command, stopwaitsecs=PATIENCE)
    wait_until(lambda: all((tmp_path / name / "done.ready").exists() for name in names))
    started = time.monotonic()
    supervisor.remove(*names)
    assert all((tmp_path / name / "done").exists() for name in names)
    assert time.monotonic() - started < PATIENCE / 2
    assert supervisor.programs() == set()


def members(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _parent, its_group = path.read_text(encoding="latin-1").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


@pytest.fixture
def stubborn(supervisor: Supervisor, add: Callable[..., None], tmp_path: Path) -> str:
    """Run a program that does not stop when it is asked to, and is killed after two seconds."""
    ready = tmp_path / "ready"
    command = f"""{sys.executable} -c "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ; pathlib.Path('{ready}').touch(); time.sleep(600)\""""
    add("stubborn", command=" ".join(command.split()).replace(" ;", ";"), stopwaitsecs=2)
    wait_until(ready.exists)
    return "stubborn"


def test_a_program_gets_the_time_to_stop_that_it_was_promised(
    supervisord: Path, supervisor: Supervisor, stubborn: str
) -> None:
    Supervisor(str(supervisord), timeout=1.5).remove(stubborn)
    assert supervisor.state(stubborn) == "ABSENT"


def test_a_program_that_is_stopping_already_can_be_removed(supervisor: Supervisor, stubborn: str) -> None:
    supervisor.call("stopProcessGroup", stubborn, False)
    supervisor.remove(stubborn)
    assert supervisor.state(stubborn) == "ABSENT"


def test_it_tells_whether_supervisord_may_mount(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/proc/self/status", encoding="utf-8") as lines:
        permitted = next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))
    assert supervisor.can_mount() == bool(permitted >> 21 & 1)
    bare = subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", "sleep", "60"]) if not os.geteuid() else None
    if bare:
        try:
            wait_until(lambda: os.stat(f"/proc/{bare.pid}").st_uid == 65534)
            with monkeypatch.context() as patch:
                patch.setattr(supervisor, "call", lambda _method: bare.pid)
                assert not supervisor.can_mount()
        finally:
            bare.kill()
            bare.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="asks what root may")
def test_it_tells_why_a_host_cannot_mount_and_leaves_no_mount(tmp_path: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    code = (
        "from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import mount_problem as problem"
    )
    command = [sys.executable, "-c", f"{code}; print(problem())"]
    place = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    bounded = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--ambient-caps=-all", *command]
    said = subprocess.run(bounded, check=True, capture_output=True, text=True, env=place).stdout
    assert "Operation not permitted" in said
    supervisor_utils.mount_problem()
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_refusal_of_supervisord_is_quoted(supervisor: Supervisor) -> None:
    with pytest.raises(SupervisorError, match=r"startProcess.*never-was.*BAD_NAME"):
        supervisor.call("startProcess", "never-was")


def test_a_file_that_supervisord_cannot_read_is_refused(supervisor: Supervisor) -> None:
    broken = Path(supervisor.path("broken"))
    broken.write_text("[program:broken]\n")
    with pytest.raises(SupervisorError, match="CANT_REREAD"):
        supervisor.call("reloadConfig")
    broken.unlink()


def test_a_program_that_supervisord_refuses_leaves_everything_as_it_was(
    supervisor: Supervisor, add: Callable[..., None], program: Program
) -> None:
    add("one")
    before = pid(supervisor, "one"), supervisor.current_text("one")
    for name in ("one", "two"):
        text = render_program(program(name), supervisor.log_directory)
        with pytest.raises(SupervisorError):
            supervisor.add(name, text.replace("umask = 027", "umask = ugo"))
    assert (pid(supervisor, "one"), supervisor.current_text("one")) == before
    assert supervisor.programs() == {"one"}


def test_a_refusal_does_not_show_the_environment(supervisor: Supervisor, program: Program) -> None:
    text = render_program(program("one"), supervisor.log_directory) + 'environment = PASSWORD="hunter2",OTHER\n'
    with pytest.raises(SupervisorError) as refusal:
        supervisor.add("one", text)
    assert "hunter2" not in str(refusal.value)


def test_a_supervisord_that_does_not_run_is_named_by_its_socket(supervisord: Path, tmp_path: Path) -> None:
    config = tmp_path / "supervisord.conf"
    config.write_text(supervisord.read_text().replace(str(supervisord.parent), str(tmp_path)))
    with pytest.raises(SupervisorError, match=f"{tmp_path}/supervisor.sock"):
        Supervisor(str(config)).state("one")


def test_a_host_without_supervisord_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match=f"{tmp_path}/supervisord.conf is missing"):
        Supervisor(str(tmp_path / "supervisord.conf"))


@pytest.fixture
def run_program(
    run_module: Callable[..., dict[str, Any]], supervisord: Path, program: Program
) -> Callable[..., dict[str, Any]]:
    """Run the module supervisor_program."""

    def _run_program(check_mode: bool = False, **options: Any) -> dict[str, Any]:
        described = program("one", **options)
        environment = base64.b64encode(json.dumps(described.pop("environment")).encode()).decode()
        arguments = {"program": described, "environment": environment, "config": str(supervisord)}
        return run_module("supervisor_program", arguments, check_mode)

    return _run_program


def test_a_program_is_added_once_changed_when_it_differs_and_removed_once(
    run_program: Callable[..., dict[str, Any]], supervisor: Supervisor
) -> None:
    for options, changed, state in (
        ({}, True, "RUNNING"),
        ({}, False, "RUNNING"),
        ({"priority": 1}, True, "RUNNING"),
        ({"priority": 1, "environment": {"A": "1"}}, True, "RUNNING"),
        ({"state": "absent"}, True, "ABSENT"),
        ({"state": "absent"}, False, "ABSENT"),
    ):
        result = run_program(**options)
        assert (result["changed"], result["state"]) == (changed, state), options


def test_check_mode_tells_of_a_change_and_makes_none(
    run_program: Callable[..., dict[str, Any]], supervisor: Supervisor
) -> None:
    assert run_program(check_mode=True)["changed"]
    assert supervisor.programs() == set()


def test_the_diff_of_a_program_has_its_command_and_not_its_environment(
    run_program: Callable[..., dict[str, Any]], supervisor: Supervisor
) -> None:
    result = run_program(environment={"PASSWORD": "hunter2"})
    assert "hunter2" in (supervisor.current_text("one") or "")
    assert "sleep 600" in result["diff"]["after"]
    assert "hunter2" not in str(result)


def test_a_program_that_does_not_stay_up_is_a_failure_that_names_its_log(
    run_program: Callable[..., dict[str, Any]], supervisor: Supervisor
) -> None:
    result = run_program(command="false", startsecs=PATIENCE, startretries=0)
    assert result["failed"]
    assert "FATAL" in result["msg"]
    assert f"{supervisor.log_directory}/one.log" in result["msg"]
