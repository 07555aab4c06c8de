"""Redis: its configuration, read by a real server; what becomes of data when persistence changes, and at removal."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.baremetal.web.plugins.filter.address_scope import address_scope
from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, pending_marker
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Entry
from ansible_collections.baremetal.web.plugins.module_utils._host.generated_secrets import generated_secret, substitute
from conftest import GROUP, OWNER, PATIENCE, ROOT, Systemd, run_ansible, wait_until

RunModule = Callable[..., dict[str, Any]]
ROLE = ROOT / "roles" / "redis"
TEMPLATES = ROLE / "templates" / "etc" / "baremetal-redis"
PASSWORD, ADMIN = "correct-horse-battery", "staple-horse-battery"
PROGRAM, CLIENT = shutil.which("redis-server"), shutil.which("redis-cli")
needs_redis = pytest.mark.usefixtures("programs")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
PLATFORMS = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__redis_platforms"]
# What the package's own file says on every platform, as far as it matters here.
PACKAGED = 'bind 127.0.0.1 -::1\nport 6379\nsave ""\nappenddirname appendonlydir\n'
with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = free.getsockname()[1]
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"redis_persistence": "none"},
    "snapshots": {},
    "append-only": {"redis_persistence": "append-only"},
    "dangerous": {"redis_dangerous_commands_enabled": True, "redis_password": PASSWORD},
    "private": {"redis_address": "10.0.0.7", "redis_memory": "auto", "redis_eviction": "allkeys-lru"},
    "everywhere": {"redis_address": "0.0.0.0", "redis_public_enabled": True},
    "six": {"redis_address": "fd00::7"},
}
FILES = ("prepare", "redis.conf", "users.conf")


@pytest.fixture(scope="session")
def programs() -> None:
    """Skip what needs Redis where it is not; `make test` has installed it, so nothing is skipped there."""
    if not (PROGRAM and CLIENT):
        refuse = pytest.fail if "TEST_PROGRAMS_REQUIRED" in os.environ else pytest.skip
        refuse("redis-server and redis-cli are not installed")


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        *((address, "loopback") for address in ("127.0.0.1", "127.8.8.8", "::1")),
        *((address, "private") for address in ("10.0.0.7", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::7")),
        *((address, "public") for address in ("8.8.8.8", "2001:4860::8888", "224.0.0.1")),
        *((address, "everywhere") for address in ("0.0.0.0", "::")),
        *((address, "") for address in ("", "*", "localhost", "10.0.0", "10.0.0.7/24", "[::1]")),
    ],
)
def test_an_address_tells_who_can_reach_it(address: str, scope: str) -> None:
    assert address_scope(address) == scope


def test_every_supported_platform_has_a_server() -> None:
    python = yaml.safe_load((ROOT / "roles" / "python" / "vars" / "main.yml").read_text())
    assert sorted(PLATFORMS) == sorted(python["__python_platforms"])


def kept(path: Path, secret: str) -> Entry:
    """Return a secret that a host has."""
    path.write_text(f"{secret}\n")
    return generated_secret({"path": str(path), "length": 32, "owner": OWNER, "group": OWNER})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render all variants in one run of ansible-playbook; each has a directory of its own."""
    place = tmp_path_factory.mktemp("redis")
    (place / "packaged.conf").write_text(PACKAGED)
    tasks = yaml.safe_load((ROLE / "tasks" / "configure.yml").read_text())
    (computed,) = [task["vars"] for task in tasks if task["name"] == "Configure and run Redis"]
    secrets = {"apps": kept(place / "password", PASSWORD), "admin": kept(place / "admin-password", ADMIN)}
    facts = {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "12", "memtotal_mb": 3999}
    play_tasks: list[dict[str, Any]] = [{"ansible.builtin.set_fact": {**facts, "cacheable": True}}]
    for name, variables in VARIANTS.items():
        directory = place / name
        (directory / "data").mkdir(parents=True)
        platform = {"program": PROGRAM or "", "config": str(place / "packaged.conf"), "user": OWNER, "channels": "&*"}
        own = {"__redis_platform": {**platform, "data": str(directory / "data")}, "__redis_directory": str(directory)}
        values = {"redis_port": PORT, "redis_memory": "64mb", **computed, **own, **variables}
        texts = ", ".join(f"lookup('ansible.builtin.template', '{TEMPLATES}/{file}.j2')" for file in FILES)
        content = f"{{{{ [__redis_check, {texts}] | to_json }}}}"
        copy = {"content": content, "dest": str(directory / "rendered.json"), "mode": "0600"}
        play_tasks.append({"ansible.builtin.copy": copy, "vars": values})
    files = [str(ROLE / "defaults" / "main.yml"), str(ROLE / "vars" / "main.yml")]
    play = [{"hosts": "h", "gather_facts": False, "vars_files": files, "tasks": play_tasks}]
    (place / "play.yml").write_text(json.dumps(play))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (place / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"h": local}}}))
    run_ansible(place, "playbook", "-i", "hosts.yml", "play.yml")
    for name in VARIANTS:
        for file, text in zip(FILES, json.loads((place / name / "rendered.json").read_text())[1:], strict=True):
            (place / name / file).write_text(substitute(text, secrets))
    return place


def settings(place: Path, variant: str) -> dict[str, list[str]]:
    """Return what a configuration says, by name."""
    found: dict[str, list[str]] = {}
    for line in (place / variant / "redis.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _space, value = line.partition(" ")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("variant", "bind"),
    [
        ("snapshots", "127.0.0.1"),
        ("private", "10.0.0.7 127.0.0.1"),
        ("everywhere", "0.0.0.0"),
        ("six", "fd00::7 127.0.0.1"),
    ],
)
def test_a_server_for_others_listens_on_loopback_as_well(place: Path, variant: str, bind: str) -> None:
    assert settings(place, variant)["bind"] == [bind]
    assert settings(place, variant)["protected-mode"] == ["yes"]


def test_the_automatic_memory_is_a_quarter_of_the_host_s_in_steps(place: Path) -> None:
    assert settings(place, "private")["maxmemory"] == ["960mb"]  # of 3999 MB


def test_no_file_of_the_server_holds_a_password(place: Path) -> None:
    texts = "".join((place / name / file).read_text() for name in VARIANTS for file in FILES)
    assert PASSWORD not in texts
    assert ADMIN not in texts
    assert texts.count(hashlib.sha256(PASSWORD.encode()).hexdigest()) == len(VARIANTS)


def judge(place: Path, variant: str) -> subprocess.CompletedProcess[str]:
    command = json.loads((place / variant / "rendered.json").read_text())[0]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_redis
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_server_takes_its_configuration(place: Path, variant: str) -> None:
    done = judge(place, variant)
    assert (done.returncode, done.stdout) == (0, "")


@needs_redis
@pytest.mark.parametrize(("file", "line"), [("redis.conf", "maxclients many"), ("users.conf", "user x on #short")])
def test_the_checker_names_the_line_that_is_wrong(place: Path, file: str, line: str) -> None:
    path = place / "none" / file
    text = path.read_text()
    try:
        path.write_text(f"{line}\n{text}")
        done = judge(place, "none")
    finally:
        path.write_text(text)
    assert done.returncode == 1
    assert line in done.stdout


@pytest.fixture
def run(place: Path) -> Iterator[SimpleNamespace]:
    """Run the real server as a variant says, as systemd does, with data that goes from one to the next."""
    running: list[subprocess.Popen[bytes]] = []
    data = place / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()

    def ask(*words: str, user: str = "default", password: str = PASSWORD) -> str:
        command = [str(CLIENT), "-p", str(PORT), "--user", user, *words]
        done = subprocess.run(command, capture_output=True, text=True, env={"REDISCLI_AUTH": password}, check=False)
        return done.stdout.strip()

    def start(variant: str) -> subprocess.CompletedProcess[str]:
        prepare = (place / variant / "prepare").read_text().replace(str(place / variant / "data"), str(data))
        done = subprocess.run(["sh", "-c", prepare], capture_output=True, text=True, check=False)
        if not done.returncode:
            config = ["--include", str(place / variant / "redis.conf"), "--dir", str(data), "--bind", "127.0.0.1"]
            command = [str(PROGRAM), str(place / "packaged.conf"), *config]
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            wait_until(lambda: ask("PING") == "PONG")
        return done

    def stop(kill: bool = False) -> None:
        for process in running:
            process.kill() if kill else process.terminate()
            process.wait(PATIENCE)
        running.clear()

    yield SimpleNamespace(ask=ask, start=start, stop=stop, data=data)
    stop(kill=True)


@needs_redis
def test_the_apps_user_does_no_harm_and_the_operators_may_do_all(run: SimpleNamespace) -> None:
    run.start("snapshots")
    for command in (["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "port"], ["SHUTDOWN"], ["ACL", "LIST"]):
        assert "NOPERM" in run.ask(*command)
    assert run.ask("SET", "a", "1") == "OK"
    assert "redis_version" in run.ask("INFO", "server")
    assert run.ask("CONFIG", "GET", "port", user="admin", password=ADMIN).split() == ["port", str(PORT)]
    assert "WRONGPASS" in run.ask("PING", user="admin") or run.ask("PING", user="admin").startswith("NOAUTH")


@needs_redis
def test_dangerous_commands_can_be_allowed(run: SimpleNamespace) -> None:
    run.start("dangerous")
    assert run.ask("FLUSHALL") == "OK"


@needs_redis
def test_a_change_of_persistence_takes_the_data_along(run: SimpleNamespace) -> None:
    steps = ("snapshots", "append-only", "append-only", "snapshots", "append-only", "snapshots")
    for number, variant in enumerate(steps):
        run.start(variant)
        assert run.ask("GET", "number") == (str(number) if number else "")
        run.ask("INCR", "number")
        run.stop()


@needs_redis
def test_without_persistence_a_server_starts_empty_and_what_was_kept_comes_back_later(run: SimpleNamespace) -> None:
    for variant, found in (("snapshots", ""), ("none", ""), ("none", ""), ("snapshots", "1")):
        run.start(variant)
        assert run.ask("GET", "number") == found
        run.ask("INCR", "number")
        run.stop()


@needs_redis
def test_an_append_only_file_that_is_newer_than_the_snapshot_is_not_given_up(run: SimpleNamespace) -> None:
    run.start("append-only")
    run.ask("INCR", "number")
    run.stop(kill=True)
    done = run.start("snapshots")
    assert done.returncode == 1
    assert "Start once with redis_persistence: append-only" in done.stderr
    run.start("append-only")
    assert run.ask("GET", "number") == "1"


@as_root
def test_the_server_s_account_gets_no_file_of_root_s_by_a_link(place: Path) -> None:
    """What prepares the data runs as that account, in its own directory."""
    drop_in = ROLE / "templates" / "etc" / "systemd" / "system" / "redis.service.d" / "baremetal-web.conf.j2"
    (line,) = [line for line in drop_in.read_text().splitlines() if line.startswith("ExecStartPre=")]
    assert line.startswith("ExecStartPre=+/usr/bin/setpriv --reuid={{ __redis_platform.user }} ")
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        roots, data = Path(directory, "roots"), Path(directory, "data")
        roots.touch(mode=0o600)
        roots.write_text("root's alone")
        data.mkdir()
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        (data / "dump.rdb").symlink_to(roots)
        prepare = (
            (place / "append-only" / "prepare").read_text().replace(str(place / "append-only" / "data"), str(data))
        )
        command = [
            "setpriv",
            f"--reuid={nobody.pw_uid}",
            f"--regid={nobody.pw_gid}",
            "--clear-groups",
            "sh",
            "-c",
            prepare,
        ]
        subprocess.run(command, check=False, capture_output=True)
        found = [path.name for path in data.iterdir() if path.is_file() and not path.is_symlink()]
        assert not [name for name in found if "alone" in (data / name).read_text()]
        assert roots.stat().st_uid == 0


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(tmp_path / "marks"))
    return tmp_path / "data" / "db"


@pytest.fixture
def keep(run_module: RunModule, data: Path) -> Callable[[], dict[str, Any]]:
    """Make the directory of a service's data."""
    directory: Mapping[str, Any] = {"path": str(data), "owner": OWNER, "group": GROUP, "data_of": "db.service"}
    return lambda: run_module("service_config", {"directories": [directory]})


def noted() -> dict[str, Any]:
    return change_record.read().get("data", {})


def test_a_directory_of_data_is_noted_with_the_service_that_writes_there(keep: Any, data: Path) -> None:
    assert keep()["changed"]
    assert noted() == {str(data): {"unit": "db.service"}}
    assert str(data.parent) in change_record.read()["directory"]
    assert not keep()["changed"]


def test_data_that_was_there_before_is_not_ours(keep: Any, data: Path) -> None:
    data.mkdir(parents=True, mode=0o700)
    keep()
    assert noted() == {}


@as_root
def test_removal_stops_the_service_first_and_keeps_the_data_as_root_s(
    run_module: RunModule, keep: Any, data: Path, systemd: Systemd
) -> None:
    systemd.add("db.service")
    keep()
    (data / "dump").write_text("dear to somebody")
    os.chown(data / "dump", 64123, 64123)
    told = run_module("removal", {"phase": "everything"}, check_mode=True)
    assert systemd.is_active("db.service")
    done = run_module("removal", {"phase": "everything"})
    assert told["kept"] == done["kept"] == [str(data)]
    assert not systemd.is_active("db.service")
    assert ((data / "dump").read_text(), (data / "dump").stat().st_uid) == ("dear to somebody", 0)
    run_module("removal", {"phase": "finish"})
    assert noted() == {str(data): {"unit": ""}}  # so that it can be removed later


@as_root
def test_data_that_outlived_a_removal_comes_back_into_use_and_can_be_removed(
    run_module: RunModule, keep: Any, data: Path, systemd: Systemd
) -> None:
    keep()
    (data / "dump").write_text("")
    run_module("removal", {"phase": "everything"})
    data.chmod(0o700)
    keep()
    assert noted() == {str(data): {"unit": "db.service"}}
    done = run_module("removal", {"phase": "everything", "data_kept": False})
    assert str(data) in done["removed"]
    assert not data.exists()
    assert noted() == {}


@as_root
def test_data_that_outlived_a_removal_is_the_service_s_again(run_module: RunModule, data: Path, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    (data / "appendonlydir").mkdir(parents=True)
    (data / "appendonlydir" / "base").touch()
    (tmp_path / "roots").touch()
    os.link(tmp_path / "roots", data / "mine")
    (data / "link").symlink_to(tmp_path)
    directory = {"path": str(data), "owner": "nobody", "group": GROUP, "data_of": "db.service"}
    assert run_module("service_config", {"directories": [directory]})["changed"]
    owners = {path.name: path.lstat().st_uid for path in (data, *data.rglob("*"))}
    assert owners == {"db": nobody, "appendonlydir": nobody, "base": nobody, "link": nobody, "mine": 0}
    assert tmp_path.stat().st_uid == 0


@as_root
def test_an_empty_directory_of_data_is_not_worth_keeping(
    run_module: RunModule, keep: Any, data: Path, systemd: Systemd
) -> None:
    keep()
    assert run_module("removal", {"phase": "everything"})["kept"] == []
    assert not data.exists()
