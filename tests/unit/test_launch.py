"""A program of supervisord starts as root, on a socket that root bound, and becomes its account."""

from __future__ import annotations

import grp
import json
import os
import pwd
import runpy
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import supervisor
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import mount_problem
from conftest import LAUNCHER, ROOT

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
MOUNTS = pytest.mark.skipif(os.geteuid() != 0 or bool(mount_problem()), reason="may not mount")
NOBODY = pwd.getpwnam("nobody")
SAY = """
import json, os, socket
shown = {name: os.environ[name] for name in ("LISTEN_FDS", "LISTEN_PID") if name in os.environ}
fd = socket.socket(fileno=3).getsockname() if shown else ""
print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), os.getpid(), shown, fd]))
"""
BY_NOBODY = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[Path]:
    """Return a directory of sockets as root makes it, which everybody can reach."""
    place = Path(f"/run/launch-test-{os.getpid()}")
    place.mkdir(mode=0o711)
    os.chown(place, 0, grp.getgrnam("daemon").gr_gid)
    place.chmod(0o711)
    yield place
    for path in place.iterdir():
        path.unlink()
    place.rmdir()


def launch(*words: str) -> subprocess.Popen:
    command = [*shlex.split(LAUNCHER), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@AS_ROOT
def test_a_program_is_its_account_with_no_group_of_roots_and_the_process_that_supervisord_started(
    sockets: Path,
) -> None:
    with launch("user=nobody", f"socket={sockets}/one.sock", "--", "python3", "-c", SAY) as process:
        assert process.stdout
        uids, gids, groups, pid, shown, name = json.loads(process.stdout.read())
    assert (uids, gids) == ([NOBODY.pw_uid] * 3, [NOBODY.pw_gid] * 3)
    assert groups == [NOBODY.pw_gid]
    assert pid == process.pid
    assert shown == {"LISTEN_FDS": "1", "LISTEN_PID": str(pid)}
    assert name == f"{sockets}/one.sock"


@AS_ROOT
def test_a_program_without_a_socket_is_handed_none() -> None:
    with launch("user=nobody", "--", "python3", "-c", SAY) as process:
        assert process.stdout
        assert json.loads(process.stdout.read())[4:] == [{}, ""]


@AS_ROOT
def test_the_account_and_the_group_of_the_directory_connect_and_the_account_replaces_nothing(sockets: Path) -> None:
    path = sockets / "one.sock"
    with launch("user=nobody", f"socket={path}", "--", "true") as process:
        pass
    assert process.returncode == 0
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o660, NOBODY.pw_uid)
    assert found.st_gid == grp.getgrnam("daemon").gr_gid
    for attempt in (["rm", "-f", path], ["ln", "-sfn", "/run/other.sock", path], ["mkdir", sockets / "next.sock"]):
        assert subprocess.run([*BY_NOBODY, *attempt], stderr=subprocess.DEVNULL, check=False).returncode
    assert os.path.samestat(found, path.lstat())
    assert os.listdir(sockets) == ["one.sock"]


def output(*words: str) -> str:
    with launch(*words) as process:
        assert process.stdout
        said = process.stdout.read()
    assert process.returncode == 0, said
    return said


@pytest.fixture
def own() -> Iterator[Callable[[str], list[str]]]:
    """Return what tells the launcher of an app's own places; their directories are gone after the test."""
    shm = Path(f"/dev/shm/launch-test-{os.getpid()}")
    with tempfile.TemporaryDirectory(dir="/var/lib") as directory:
        yield lambda app: ["user=nobody", f"private_tmp={directory}/{app}", f"private_shm={shm}/{app}", "--"]
    for path in Path("/dev/shm").glob(f"{shm.name}*"):
        path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)


PLACES = "/tmp /var/tmp /dev/shm"


@MOUNTS
def test_what_an_app_writes_to_tmp_is_seen_by_all_of_its_programs_and_by_nobody_else(
    own: Callable[[str], list[str]],
) -> None:
    mark = f"launch-test-mark-{os.getpid()}"
    output(*own("shop"), "sh", "-c", f"for place in {PLACES}; do touch $place/{mark}; done")
    find = ["sh", "-c", f"ls -d {' '.join(f'{place}/{mark}' for place in PLACES.split())} 2>/dev/null; true"]
    assert len(output(*own("shop"), *find).split()) == 3
    assert output(*own("blog"), *find) == output("user=nobody", "--", *find) == ""
    assert subprocess.run(find, check=True, capture_output=True).stdout == b""
    closed = [word.partition("=")[2] for word in own("shop")[1:3]]
    assert subprocess.run([*BY_NOBODY, "ls", *closed], capture_output=True, check=False).stdout == b""


@MOUNTS
def test_an_apps_own_places_are_as_those_of_the_host_and_its_programs_have_no_right_to_mount(
    own: Callable[[str], list[str]],
) -> None:
    assert output(*own("shop"), "stat", "--format=%a %U", *PLACES.split()).split() == ["1777", "root"] * 3
    found = output(*own("shop"), "findmnt", "--noheadings", "--output=TARGET,FSTYPE,OPTIONS", "--list").splitlines()
    mounts = {words[0]: words[1:] for words in map(str.split, found)}
    assert mounts["/dev/shm"][0] == "tmpfs"
    for place in PLACES.split():
        assert {"rw", "nosuid", "nodev"} <= set(mounts[place][1].split(","))
    assert ("noexec" in mounts["/dev/shm"][1].split(",")) == bool(os.statvfs("/dev/shm").f_flag & os.ST_NOEXEC)
    rights = output(*own("shop"), "grep", "-E", "Cap(Inh|Prm|Eff|Amb)", "/proc/self/status").split()
    assert set(rights[1::2]) == {"0" * 16}
    assert subprocess.run([*shlex.split(LAUNCHER), *own("shop"), "umount", "/tmp"], stderr=-3, check=False).returncode


@MOUNTS
def test_what_another_account_has_put_in_the_place_of_an_apps_dev_shm_is_put_aside(
    own: Callable[[str], list[str]],
) -> None:
    above = Path(own("shop")[2].partition("=")[2]).parent
    for squat in (["mkdir", above], ["ln", "-s", "/etc", above], ["touch", above]):
        subprocess.run([*BY_NOBODY, *squat], check=True)
        output(*own("shop"), "touch", "/dev/shm/mine")
        assert os.listdir(above / "shop") == ["mine"]
        assert (above.stat().st_uid, stat.S_IMODE(above.lstat().st_mode)) == (0, 0o700)
        shutil.rmtree(above)


# As supervisord, whose /tmp is one that systemd has given to it.
AS_SUPERVISORD = """
import os, runpy, sys
launcher = runpy.run_path(sys.argv[1])
launcher["leave_mounts"]()
for place in ("/tmp", "/var/tmp"):
    launcher["call"]("mount", sys.argv[2].encode(), place.encode(), None, launcher["MS_BIND"], None)
print(os.listdir("/tmp"), os.listdir("/var/tmp"))
launcher["host_tmp"]()
print(sys.argv[3] in os.listdir("/tmp"), "of-supervisord" in os.listdir("/tmp") + os.listdir("/var/tmp"))
"""


@MOUNTS
def test_a_program_without_a_tmp_of_its_own_has_the_hosts_and_not_that_of_supervisord() -> None:
    with tempfile.TemporaryDirectory(dir="/var/lib") as directory, tempfile.NamedTemporaryFile(dir="/tmp") as file:
        given = Path(directory, "systemd-private-test", "tmp")
        given.mkdir(parents=True)
        (given / "of-supervisord").touch()
        words = [shlex.split(LAUNCHER)[-1], str(given), os.path.basename(file.name)]
        said = subprocess.run(
            [sys.executable, "-c", AS_SUPERVISORD, *words], check=True, capture_output=True, text=True
        )
    assert said.stdout == "['of-supervisord'] ['of-supervisord']\nTrue False\n"


@AS_ROOT
def test_a_program_that_cannot_have_the_tmp_that_it_is_told_does_not_start(own: Callable[[str], list[str]]) -> None:
    bounded = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    command = [*bounded, *shlex.split(LAUNCHER), *own("shop"), "echo", "started"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "Operation not permitted (unshare), so it cannot have the /tmp that private_tmp says" in done.stderr
    assert "started\n" not in done.stdout


@AS_ROOT
def test_a_program_and_its_children_have_the_limit_of_open_files() -> None:
    with launch("user=nobody", "open_files=99", "--", "sh", "-c", "ulimit -Hn; sh -c 'ulimit -Sn'") as process:
        assert process.stdout
        assert process.stdout.read().split() == ["99", "99"]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("open_files=999999999", "supervisor_open_files"),
        ("memory=536870912", "no control group"),
        ("processes=20", "no control group"),
    ],
)
def test_a_program_whose_limit_would_have_no_effect_does_not_start(limit: str, said: str) -> None:
    with launch(f"user={pwd.getpwuid(os.geteuid()).pw_name}", limit, "--", "echo", "started") as process:
        assert process.stdout
        output = process.stdout.read()
    assert process.returncode
    assert said in output
    assert "started\n" not in output
    assert "Traceback" not in output


@pytest.fixture
def control_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """Return the launcher's functions, and a directory in the place of this process's control group."""
    functions = runpy.run_path(shlex.split(LAUNCHER)[-1])
    monkeypatch.setitem(functions["limit"].__globals__, "control_group", lambda: str(tmp_path))
    return functions, tmp_path


def test_limits_are_written_into_the_control_group(control_groups: tuple[dict[str, Any], Path]) -> None:
    functions, group = control_groups
    for name in ("memory.max", "memory.swap.max", "pids.max"):
        (group / name).write_text("max")
    functions["limit"]({"user": "nobody", "memory": "536870912"})
    assert [(group / name).read_text()[:9] for name in ("memory.max", "memory.swap.max")] == ["536870912", "0ax"]
    assert (group / "pids.max").read_text() == "max"
    functions["limit"]({"user": "nobody", "processes": "200"})
    assert (group / "pids.max").read_text() == "200"


def test_a_limit_without_its_controller_is_an_error_and_one_of_swap_is_not(
    control_groups: tuple[dict[str, Any], Path],
) -> None:
    functions, group = control_groups
    (group / "memory.max").write_text("max")
    functions["limit"]({"memory": "536870912"})
    assert os.listdir(group) == ["memory.max"]
    with pytest.raises(OSError, match=r"pids\.max"):
        functions["limit"]({"processes": "200"})


def test_what_was_left_of_a_killed_program_is_replaced(tmp_path: Path) -> None:
    user, path = pwd.getpwuid(os.geteuid()).pw_name, tmp_path / "one.sock"
    inodes = []
    for _ in range(2):
        with launch(f"user={user}", f"socket={path}", "--", "true") as process:
            pass
        assert process.returncode == 0
        inodes.append(path.stat().st_ctime_ns)
    assert inodes[0] != inodes[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["user=no-such-account", "--", "true"], "no-such-account"),
        ([f"user={pwd.getpwuid(os.geteuid()).pw_name}", "--", "/no/such/program"], "No such file"),
    ],
)
def test_a_program_that_cannot_be_started_says_why_in_its_log(words: list[str], said: str) -> None:
    with launch(*words) as process:
        assert process.stdout
        output = process.stdout.read()
    assert process.returncode
    assert said in output
    assert "Traceback" not in output


def test_the_three_programs_mean_the_same_control_groups() -> None:
    """They cannot import each other: one makes the groups, one writes the limits, and the module looks at both."""
    files = ROOT / "roles" / "supervisor" / "files"
    groups, launch = (runpy.run_path(str(files / name)) for name in ("control_groups.py", "launch.py"))
    assert groups["ROOT"] == launch["CONTROL_GROUPS"] == supervisor.CONTROL_GROUPS
    assert f"/{groups['OWN']}" == supervisor.OWN_GROUP
    assert groups["LEEWAY_SECONDS"] == supervisor.LEEWAY_SECONDS
    assert set(groups["CONTROLLERS"]) == set(supervisor.CONTROLLERS.values())
    assert launch["GROUP_LIMITS"].keys() == supervisor.CONTROLLERS.keys()
    for key, files_of in launch["GROUP_LIMITS"].items():
        assert {name.partition(".")[0] for name in files_of} == {supervisor.CONTROLLERS[key]}
