"""What the unit tests share: the collection on the path, and the real programs that they speak to."""

from __future__ import annotations

import atexit
import grp
import hashlib
import importlib
import json
import math
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator  # noqa: E402

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, transient, work  # noqa: E402
from ansible_collections.baremetal.web.plugins.module_utils._host import supervisor as supervisor_utils  # noqa: E402
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import AddressConnection  # noqa: E402
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor  # noqa: E402
from ansible_collections.baremetal.web.plugins.module_utils._release import activation, retirement, staging  # noqa: E402
from ansible_collections.baremetal.web.plugins.module_utils._release import home as app_home  # noqa: E402
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete  # noqa: E402

PLUGINS = "ansible_collections.baremetal.web.plugins"
OWNER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
# Seconds until what has not happened is a failure: enough for a busy machine, and only a test that fails waits so long.
PATIENCE = 60
# What the apps of a host are resolved with.
HOST = {"names": ["web1"], "cpus": 2, "memory": 4096, "machine": "x86_64", "python": "3.13"}

# Answers at APP_SOCKET, on a socket that was handed over if there is one, with the status that the path names; /slow
# takes too long, /garbage is no HTTP, / is 200.
# "ends NUMBER" makes a server that ends, "loses NUMBER" one that loses a worker, at that request.
ANSWERER = r"""
import itertools, os, signal, socket, sys, threading, time

def answer(connection):
    with connection, connection.makefile("rb") as stream:
        words, host = stream.readline().split(), ""
        while line := stream.readline().strip():
            if line.lower().startswith(b"host:"):
                host = line[5:].strip().decode()
        path = words[1].decode().strip("/") if words else ""
        if words and next(asked) == int(number):
            os._exit(0) if what == "ends" else os.kill(worker, signal.SIGKILL)
        if path == "slow":
            time.sleep(60)
        body = host + " " + os.environ.get("APP_RELEASE", "")
        head = "HTTP/1.0 %s Status\r\nContent-Length: %d" % (path if path.isdigit() else "200", len(body))
        if words:
            connection.sendall(((head if path != "garbage" else "what?") + "\r\n\r\n" + body).encode())

what, number = [*sys.argv[1:], "", "0"][:2]
asked = itertools.count(1)
place = os.environ["APP_SOCKET"]
if os.environ.get("LISTEN_PID") == str(os.getpid()):
    server = socket.socket(fileno=3)
else:
    if os.path.exists(place):
        os.unlink(place)
    server = socket.socket(socket.AF_UNIX if place.startswith("/") else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(place if place.startswith("/") else (place.split(":")[0], int(place.split(":")[1])))
server.listen(64)
if what == "loses" and not (worker := os.fork()):
    time.sleep(600)
while True:
    threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()
"""


LAUNCHER = f"{sys.executable} -I -S {ROOT}/roles/supervisor/files/launch.py"


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return the first true answer; fail when there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return answer


def startsecs() -> int:
    """Return seconds in which a program that fails at once has ended, on this machine and as busy as it is."""
    began = time.monotonic()
    subprocess.run([*shlex.split(LAUNCHER), f"user={OWNER}", "--", sys.executable, "-IS", "-c", ""], check=True)
    return max(1, math.ceil(5 * (time.monotonic() - began)))


def run_ansible(place: Path, *command: str) -> str:
    """Run one of Ansible's commands with the collection and nobody's settings; return its output."""
    (place / "ansible.cfg").touch()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_HOME": str(place / "home"),
        "ANSIBLE_REMOTE_TMP": str(place / "remote"),
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "LC_ALL": "C.UTF-8",
    }
    arguments = [sys.executable, "-m", "ansible", *command]
    done = subprocess.run(arguments, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture
def own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let code that gives files to other users or runs commands as them run as anybody: who is not root stays so."""
    if os.geteuid():
        for name in ("chown", "fchown"):
            monkeypatch.setattr(os, name, lambda *_, **__: None)
        for module in (activation, staging):
            monkeypatch.setattr(module, "account", lambda _: (os.getuid(), os.getgid()))
    # Stand-ins take the place of systemd's programs; a test of the units themselves takes it back.
    monkeypatch.setattr(transient, "BUS", "/nonexistent")


@pytest.fixture(autouse=True)
def own_change_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_files: None) -> None:
    """Keep the notes of the tests out of the machine's."""
    monkeypatch.setattr(change_record, "ROOT", str(tmp_path / "changes"))


@pytest.fixture(scope="session")
def conffile() -> Path:
    """Return a configuration file of this machine that is as its package installed it."""
    if not shutil.which("dpkg-query"):
        pytest.skip("dpkg is not installed")
    command = ["dpkg-query", "--show", "--showformat=${Conffiles}\n"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for words in map(str.split, listing.splitlines()):
        path = Path(words[0]) if len(words) == 2 else Path("/")
        readable = path.is_file() and path.resolve() == path and os.access(path, os.R_OK)
        if readable and hashlib.md5(path.read_bytes()).hexdigest() == words[1]:
            return path
    pytest.skip("no configuration file of this machine is as its package installed it")


@pytest.fixture(scope="session")
def shared_environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def shared_environment(shared_environments: Path) -> Callable[[str], Path]:
    """Return where pip or uv installs the package probe, in an environment that is made once: pip's takes seconds."""

    def _shared_environment(tool: str) -> Path:
        path = shared_environments / tool
        for leftover in [*path.glob("lib/python*/site-packages/probe*"), path / "pip.conf"]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        return path

    return _shared_environment


class StandIns:
    """Shell scripts on the PATH in the place of real programs; each call is written down."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.log = directory / "calls"

    def add(self, name: str, script: str = "") -> None:
        program = self.directory / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """Return where to put programs that stand in for those that would change this machine, or that it lacks."""
    directory = tmp_path / "stand-ins"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    return StandIns(directory)


# A unit is three files: NAME.active (since when, in seconds), NAME.enabled, and NAME.start, which has to succeed.
SYSTEMCTL = """
cd "$(dirname "$0")/units" || exit 9
for unit; do :; done
case $1 in
show)
    state=inactive since=0 enabled=disabled load=not-found
    [ ! -e "$unit" ] || load=loaded
    [ ! -e "$unit.active" ] || { state=active; since=$(cat "$unit.active"); }
    now=$(date +%s.%N)
    since=$(awk -v now="$now" -v since="$since" '{ printf "%.0f", ($1 - now + since) * 1000000 }' /proc/uptime)
    [ ! -e "$unit.enabled" ] || enabled=enabled
    printf '%s\n' ActiveState=$state UnitFileState=$enabled ActiveEnterTimestampMonotonic=$since LoadState=$load ;;
start|restart|reload)
    [ "$1" != restart ] || rm -f "$unit.active"
    sh "./$unit.start" || { echo "$unit does not come up" >&2; exit 1; }
    date +%s.%N > "$unit.active" ;;
stop) rm -f "$unit.active" ;;
enable) touch "$unit.enabled" ;;
disable) rm -f "$unit.enabled"; case $* in *--now*) rm -f "$unit.active" ;; esac ;;
esac
"""


class Systemd:
    """A stand-in for systemctl: which units there are, what became of them, and what was asked of it."""

    def __init__(self, stand_ins: StandIns):
        self.units = stand_ins.directory / "units"
        self.units.mkdir()
        self.stand_ins = stand_ins
        stand_ins.add("systemctl", SYSTEMCTL)
        stand_ins.add("journalctl")

    def add(self, name: str, active: bool = True, enabled: bool = True, since: int = 1, start: str = "true") -> None:
        """Add a unit; ``start`` is what it runs to come up."""
        (self.units / name).touch()
        (self.units / f"{name}.start").write_text(start)
        if active:
            (self.units / f"{name}.active").write_text(str(since))
        if enabled:
            (self.units / f"{name}.enabled").touch()

    def is_active(self, name: str) -> bool:
        return (self.units / f"{name}.active").exists()

    def is_enabled(self, name: str) -> bool:
        return (self.units / f"{name}.enabled").exists()

    @property
    def calls(self) -> list[str]:
        """What was asked but for questions, and whatever the test's own commands wrote."""
        calls = (call.removeprefix("systemctl ") for call in self.stand_ins.calls)
        return [call for call in calls if not call.startswith(("show", "journalctl"))]


@pytest.fixture
def systemd(stand_ins: StandIns) -> Systemd:
    return Systemd(stand_ins)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start programs that end with the test."""
    running: list[subprocess.Popen] = []

    def _start(*command: str, **options: Any) -> subprocess.Popen:
        running.append(subprocess.Popen(command, **options))
        return running[-1]

    yield _start
    for process in running:
        process.kill()
        process.wait(PATIENCE)


@pytest.fixture
def answerer(tmp_path: Path) -> Path:
    """Return a program that answers HTTP where APP_SOCKET says."""
    path = tmp_path / "answerer.py"
    path.write_text(ANSWERER)
    return path


@pytest.fixture
def unix_server(tmp_path: Path, start: Callable[..., subprocess.Popen], answerer: Path) -> Path:
    """Return the unix socket of a running HTTP server."""
    path = tmp_path / "http.sock"
    start(sys.executable, str(answerer), env={"APP_SOCKET": str(path)})
    wait_until(lambda: listens(path))
    return path


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a supervisord of the tests' own; return its configuration."""
    pytest.importorskip("supervisor")
    directory = tmp_path_factory.mktemp("d")
    (directory / "conf.d").mkdir()
    config = directory / "supervisord.conf"
    config.write_text(f"""
[supervisord]
logfile = {directory}/supervisord.log
childlogdir = {directory}
pidfile = {directory}/supervisord.pid
nodaemon = true
[unix_http_server]
file = {directory}/supervisor.sock
[baremetal]
launcher = {LAUNCHER}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://{directory}/supervisor.sock
[include]
files = {directory}/conf.d/*.conf
""")
    command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(directory / "supervisor.sock"))
        yield config
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def supervisor(supervisord: Path, own_files: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Return a client of the running supervisord, which has no program before and after the test."""
    for module in (activation, supervisor_utils):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    client = Supervisor(str(supervisord))
    yield client
    groups = {info["group"] for info in client.call("getAllProcessInfo")}
    for group in groups:
        client.call("stopProcessGroup", group, False)
    for name in groups | client.programs():
        wait_until(lambda name=name: client.state(name) != "STOPPING")
        client.remove(name)


@pytest.fixture
def program() -> Callable[..., dict[str, Any]]:
    """Describe a program with the role's own defaults, run by the user of the tests.

    It is killed soon, for one that is asked to stop before supervisord's child has become its command does not hear it.
    """

    def _program(name: str = "worker", **options: Any) -> dict[str, Any]:
        quick = {"command": "sleep 600", "user": OWNER, "startsecs": 0, "stopwaitsecs": 2}
        return complete({"name": name, **quick, **options}, "supervisor", "program", "supervisor_program")

    return _program


class Ended(Exception):
    """A module has given its result."""

    def __init__(self, result: dict[str, Any]):
        super().__init__(result)
        self.result = result


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a module of the collection in this process, with Ansible's own validation of its arguments."""

    def _run_module(name: str, arguments: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
        module = importlib.import_module(f"{PLUGINS}.modules.{name}")

        class Module:
            def __init__(self, argument_spec: dict[str, Any], **_options: Any):
                result = ArgumentSpecValidator(argument_spec).validate(arguments)
                assert not result.error_messages
                self.params = result.validated_parameters
                self.check_mode = check_mode
                self._diff = True
                self.run_command_environ_update: Mapping[str, str] = {}
                self.said: dict[str, list[str]] = {}

            def warn(self, warning: str) -> None:
                self.said.setdefault("warnings", []).append(warning)

            def run_command(
                self, command: list[str], check_rc: bool = False, handle_exceptions: bool = True
            ) -> tuple[int, str, str]:
                environment = {**os.environ, **self.run_command_environ_update}
                try:
                    done = subprocess.run(command, capture_output=True, text=True, check=check_rc, env=environment)
                except OSError as error:  # as AnsibleModule does
                    if not handle_exceptions:
                        raise
                    self.fail_json(msg=str(error))
                return done.returncode, done.stdout, done.stderr

            def exit_json(self, **result: Any) -> NoReturn:
                raise Ended({"failed": False, **self.said, **result})

            def fail_json(self, **result: Any) -> NoReturn:
                raise Ended({"failed": True, **self.said, **result})

        # A module whose work stands apart is made an AnsibleModule there.
        monkeypatch.setattr(module if hasattr(module, "AnsibleModule") else work, "AnsibleModule", Module)
        with pytest.raises(Ended) as ended:
            module.main()
        return ended.value.result

    return _run_module


def killed_at(
    number: int, work: Callable[[], Any], steps: list[tuple[Any, str]], counts: Callable[..., bool] = lambda *_: True
) -> bool:
    """Do something in another process, which is killed before its n-th step; tell whether there was an n-th."""
    process = os.fork()
    if not process:
        done = iter(range(number))

        def watch(owner: Any, name: str) -> None:
            real = getattr(owner, name)

            def watched(*arguments: Any, **options: Any) -> Any:
                if counts(name, *arguments) and next(done, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            setattr(owner, name, watched)

        for owner, name in steps:
            watch(owner, name)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


A, B, C, D, E = (letter * 12 for letter in "abcde")
NO_HOOKS: dict[str, list] = {"after_stage": [], "migrate": [], "before_activate": [], "after_activate": []}


def hook(command: str, name: str = "hook", **options: Any) -> dict[str, Any]:
    own = {"user": "", "timeout": PATIENCE, "run_once": False, "irreversible_enabled": False}
    return {"name": name, "command": command, **own, **options}


class Shop:
    """The app "shop" on a host with a running supervisord."""

    def __init__(self, home: app_home.Home, supervisor: Supervisor, description: dict[str, Any], answerer: str):
        self.home = home
        self.supervisor = supervisor
        self.description = description
        self.answerer = answerer

    def lay(
        self, release: str, version: str = "", healthy: bool = False, layout: int = staging.LAYOUT, **changes: Any
    ) -> None:
        """Put a complete release there without building it."""
        path = Path(self.home.release(release))
        (path / "app").mkdir(parents=True)
        (path / "environment").write_text(f"export APP_RELEASE={release}\n")
        manifest = {"release": release, "version": version, "run": "this", "layout": layout, "staged": time.time()}
        described = {
            key: {**value, **changes[key]} if isinstance(value, dict) and key in changes else changes.get(key, value)
            for key, value in self.description.items()
        }
        proved = {"healthy": time.time()} if healthy else {}
        (path / "release.json").write_text(json.dumps({**manifest, **proved, "description": described}))

    def activation(self, release: str) -> activation.Activation:
        return activation.Activation(self.home, self.supervisor, release)

    def go_live(self, *releases: str, **changes: Any) -> None:
        """Lay releases and let one after the other go live."""
        for release in releases:
            if not os.path.exists(self.home.release(release)):
                self.lay(release, **changes)
            self.activation(release).run()
            self.home.log("deploy", "live", release=release)

    def visit(self) -> str:
        """Return the release that a client gets, through the sockets that nginx uses."""
        for path in (self.home.slot_link("b" if os.path.exists(self.home.marker) else "a"), self.home.current_socket):
            connection = AddressConnection(path, PATIENCE)
            try:
                connection.request("GET", "/", headers={"Host": "shop.example"})
                return connection.getresponse().read().decode().split()[-1]
            except (FileNotFoundError, ConnectionRefusedError):
                continue
            finally:
                connection.close()
        return ""

    def pid(self, release: str) -> int:
        """Return the process of a release's server; 0 for none."""
        return next(iter(self.supervisor.processes(self.home.program(release))), 0)

    def snapshot(self) -> dict[str, Any]:
        """Return all that a release that did not go live has to leave as it was."""
        home = self.home
        links = [home.slot_link("a"), home.slot_link("b"), home.current_link, home.current_socket]
        return {
            "links": {link: os.readlink(link) for link in links if os.path.islink(link)},
            "slot": home.slot,
            "programs": {name: self.supervisor.current_text(name) for name in self.supervisor.programs()},
            "processes": {info["name"]: info["pid"] for info in self.supervisor.call("getAllProcessInfo")},
            "releases": sorted(os.listdir(home.releases)),
            "sockets": sorted([*os.listdir(home.run), *os.listdir(home.sockets)]),
            "lock": os.path.exists(os.path.join(home.path, "lock.json")),
        }


@pytest.fixture
def description(
    tmp_path: Path, answerer: Path, program: Callable[..., dict[str, Any]], supervisord: Path
) -> dict[str, Any]:
    """Return what is remembered of a release, so that it can be run: one that answers HTTP on its socket."""
    command = f"{sys.executable} -IS {answerer}"
    return {
        "user": OWNER,
        "entrypoint": "shop:app",
        "endpoint": {"protocol": "http", "port": 0},
        "stats_port": 0,
        "program": program("shop", command=command, directory="$release/app", log_name="shop"),
        "limits": {"memory": 0, "processes": 0, "open_files": 0},
        "private_tmp": False,  # a release of the tests may itself be in /tmp
        "programs": [],
        "hooks": NO_HOOKS,
        "health": {
            **{"path": "/", "host": "shop.example", "prefix": "/", "statuses": ["2xx"]},
            **{"timeout": PATIENCE, "stable": 0},
        },
        "releases": {"keep": 3, "warm": 300, "keep_failed_enabled": False},
        "check": "/bin/true",
        "supervisorctl": f"{sys.executable} -m supervisor.supervisorctl -c {supervisord}",
    }


def own_shm() -> str:
    """Return the place that the tests have in the place of the apps' own in /dev/shm; nothing is there yet."""
    place = f"/dev/shm/baremetal-web-tests-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


# Keeps what it is asked to do later, for the test to do it: one argument on each line.
SYSTEMD_RUN = r"""printf '%s\n' "$@" > "$(dirname "$0")/later" """


@pytest.fixture
def shop(
    tmp_path: Path,
    supervisor: Supervisor,
    description: dict[str, Any],
    answerer: Path,
    stand_ins: StandIns,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """Return the app on a host with a running supervisord, and with stand-ins in the place of systemd."""
    monkeypatch.setattr(retirement, "LEAST_WARM_SECONDS", 0.05)
    monkeypatch.setattr(app_home, "BUILD_HOME", str(tmp_path / "build"))
    monkeypatch.setattr(app_home, "SHM", own_shm())
    stand_ins.add("systemd-run", SYSTEMD_RUN)
    stand_ins.add("systemctl")
    stand_ins.add("busctl")
    home = app_home.Home("shop", str(tmp_path / "w"))
    home.create_directories(OWNER, GROUP)
    return Shop(home, supervisor, description, f"{sys.executable} -IS {answerer}")
