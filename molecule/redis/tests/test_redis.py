"""Two apps on one host: one counts in a Redis beside it, the other in one on another host."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from probes import PROJECT, SUPERVISORCTL, Answer, App, eventually, fetch, pid, play, snapshot

INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
APPS = yaml.safe_load((INVENTORY / "host_vars" / "redis-debian.yml").read_text())["wsgi_apps"]
NEAR, FAR, JOBS = App("near", 8080, ""), App("far", 8081, ""), App("jobs", 8082, "")
UNIT, DATA, SECRETS = "valkey-server", "/var/lib/baremetal-redis", "/etc/baremetal-redis"
SHARED_UNIT, SHARED_PASSWORD = "redis-server", "not-a-secret-in-a-test"
KINDS = ("celery", "fork", "pipeline", "rq")
# Says how a port of another host takes a connection.
KNOCK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2); print('open')"
# What the package managers and sshd leave: logs, backups, and what a login as root copies.
LEFT_BY_OTHERS = ("/var/backups", "/var/lib/nginx", "/var/www", "/root/.ansible", "/etc/systemd/system/")


@pytest.fixture
def other(connect: Callable[[str], Host]) -> Host:
    """The host that has the shared Redis, and where clients come from."""
    return connect("redis-ubuntu")


@pytest.fixture
def ask(host: Host, other: Host) -> Callable[..., Answer]:
    """Ask an app through nginx."""
    return lambda app, path, method="GET": fetch(other, app.url(host, path), method)


Ask = Callable[..., Answer]


def count(ask: Ask, app: App, method: str = "GET") -> int:
    answer = ask(app, "/counter", method)
    assert answer.status == 200, answer.text
    return json.loads(answer.text)["counter"]


def checks(ask: Ask, app: App) -> tuple[int, dict[str, str]]:
    answer = ask(app, "/readyz")
    return answer.status, json.loads(answer.text)["checks"]


def ready(ask: Ask, app: App) -> bool:
    return checks(ask, app) == (200, {"redis": "ok"})


def configure(*arguments: str, playbook: str = "site.yml", host: str = "redis-debian", **variables: Any) -> str:
    """Run a playbook, the part that is about Redis if nothing else is said; return what it printed."""
    words = arguments or ("--tags=redis",)
    code, printed = play(playbook, f"--limit={host}", *words, inventory=INVENTORY, **variables)
    assert code == 0
    return printed


def redis(host: Host, command: str, user: str = "default", file: str = "password") -> str:
    script = f"REDISCLI_AUTH=$(cat {SECRETS}/{file}) valkey-cli --user {user} {command}"
    return host.check_output("sh -c %s", script)


def found(host: Host, word: str) -> set[str]:
    """Tell which files and command lines of a host hold the word that is in a file."""
    places = "/etc /var/lib/baremetal.web /var/log /srv/wsgi /proc/[0-9]*/cmdline"
    return set(host.run("sh -c %s", f"grep -rlsF -f {word} {places}").stdout.split())


def files(host: Host) -> dict[str, str]:
    """Describe every file of a host."""
    return snapshot(host)["files"]


@pytest.mark.parametrize("app", [NEAR, FAR], ids=lambda app: app.name)
def test_the_counter_goes_up_through_nginx(ask: Ask, app: App) -> None:
    before = count(ask, app)
    assert [count(ask, app, "POST") for _ in range(5)] == [before + number for number in range(1, 6)]
    assert count(ask, app) == before + 5


@pytest.mark.parametrize(("app", "on", "unit"), [(NEAR, "debian", UNIT), (FAR, "ubuntu", SHARED_UNIT)])
def test_the_counter_survives_a_restart_of_redis(
    ask: Ask, connect: Callable[[str], Host], app: App, on: str, unit: str
) -> None:
    before = count(ask, app, "POST")
    connect(f"redis-{on}").check_output("systemctl restart %s", unit)
    assert count(ask, app) == before
    assert ready(ask, app)


def test_what_is_appended_survives_a_crash(host: Host, ask: Ask) -> None:
    before = count(ask, NEAR, "POST")
    host.check_output("systemctl kill --signal=KILL %s", UNIT)
    eventually(lambda: ready(ask, NEAR))
    assert count(ask, NEAR) == before


def test_while_redis_is_down_the_app_is_alive_and_not_ready_and_then_recovers_by_itself(host: Host, ask: Ask) -> None:
    server = pid(host, NEAR.program(host))
    host.check_output("systemctl stop %s", UNIT)
    try:
        assert checks(ask, NEAR) == (503, {"redis": "failed"})
        assert ask(NEAR, "/counter", "POST").status == 503
        assert ask(NEAR, "/healthz").status == ask(NEAR, "/hello").status == 200
        assert ready(ask, FAR)
    finally:
        host.check_output("systemctl start %s", UNIT)
    assert ready(ask, NEAR)
    assert pid(host, NEAR.program(host)) == server


@pytest.fixture
def other_password(host: Host) -> Iterator[None]:
    """The file holds another password for a while, as after a mistake of somebody."""
    host.check_output("cp -p %s %s", f"{SECRETS}/password", "/root/kept")
    yield
    host.check_output("cp -p %s %s", "/root/kept", f"{SECRETS}/password")
    host.check_output("rm %s", "/root/kept")
    host.check_output("systemctl restart %s", UNIT)


def test_an_app_with_a_wrong_password_is_not_ready_until_it_has_the_right_one(
    host: Host, ask: Ask, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("other_password")
    host.check_output("sh -c %s", f"echo wrong > {SECRETS}/password")
    host.check_output("systemctl restart %s", UNIT)  # a connection that is made keeps its rights
    assert checks(ask, NEAR) == (503, {"redis": "failed"})
    host.check_output("cp -p %s %s", "/root/kept", f"{SECRETS}/password")
    assert ready(ask, NEAR)


def test_a_password_that_is_made_anew_reaches_the_app_by_itself(host: Host, ask: Ask) -> None:
    before, server = host.file(f"{SECRETS}/password").content_string, pid(host, NEAR.program(host))
    host.check_output("rm %s", f"{SECRETS}/password")
    configure()
    assert host.file(f"{SECRETS}/password").content_string != before
    assert ready(ask, NEAR)
    assert pid(host, NEAR.program(host)) == server


def test_loopback_is_not_reached_from_another_host_and_a_private_address_wants_the_password(other: Host) -> None:
    refused = other.run("python3 -c %s redis-debian 6379", KNOCK)
    assert "ConnectionRefusedError" in refused.stderr
    assert other.check_output("python3 -c %s redis-ubuntu 6390", KNOCK) == "open"
    assert "NOAUTH" in other.run("redis-cli -h redis-ubuntu -p 6390 get x").stdout
    listening = other.check_output("ss -ltnH 'sport = :6390'").split()
    assert sorted(word for word in listening if word.endswith(":6390")) == ["10.89.92.12:6390", "127.0.0.1:6390"]


def test_the_passwords_are_read_by_those_who_need_them_alone(host: Host, other: Host) -> None:
    expected = {"password": (0o640, "wsgi-near"), "admin-password": (0o600, "root"), "users.conf": (0o640, "valkey")}
    for name, (mode, group) in expected.items():
        file = host.file(f"{SECRETS}/{name}")
        assert (file.mode, file.user, file.group) == (mode, "root", group)
    assert host.run("runuser -u wsgi-near -- cat %s", f"{SECRETS}/password").rc == 0
    assert host.run("runuser -u wsgi-far -- cat %s", f"{SECRETS}/password").rc != 0
    assert not other.file(f"{SECRETS}/password").exists


def test_no_password_is_anywhere_else(host: Host, other: Host) -> None:
    generated = [f"{SECRETS}/{name}" for name in ("password", "admin-password")]
    assert [len(host.file(path).content_string.strip()) for path in generated] == [32, 32]
    assert [found(host, path) for path in generated] == [{path} for path in generated]
    # A command is logged, so this one does not hold the word itself.
    encoded = base64.b64encode(SHARED_PASSWORD.encode()).decode()
    other.check_output("sh -c %s", f"echo {encoded} | base64 -d > /root/word")
    assert found(other, "/root/word") == set()
    other.check_output("rm /root/word")


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "DEBUG SLEEP 0", "SHUTDOWN"])
def test_an_app_can_do_no_harm_to_the_server(host: Host, ask: Ask, command: str) -> None:
    assert re.search("NOPERM|not allowed", redis(host, command))
    assert ready(ask, NEAR)


def test_an_app_may_use_every_key_and_ask_about_the_server_and_an_operator_may_do_all(host: Host) -> None:
    assert redis(host, "SET test:key value EX 5") == "OK"
    assert redis(host, "PUBLISH test:channel word") == "0"
    assert "server_name:valkey" in redis(host, "INFO server")
    assert "maxmemory\n67108864" in redis(host, "CONFIG GET maxmemory", "admin", "admin-password")


def test_the_package_s_own_configuration_is_as_it_was(host: Host, other: Host) -> None:
    assert host.check_output("dpkg --verify %s", UNIT) == ""
    assert other.check_output("dpkg --verify %s", SHARED_UNIT) == ""


def test_a_check_shows_a_change_and_makes_none(host: Host, ask: Ask) -> None:
    since = host.check_output("systemctl show -p ActiveEnterTimestamp %s", UNIT)
    printed = configure("--tags=redis", "--check", "--diff", redis_clients=500)
    assert "-maxclients 1000 +maxclients 500" in printed
    assert host.file(f"{SECRETS}/password").content_string.strip() not in printed
    assert host.check_output("systemctl show -p ActiveEnterTimestamp %s", UNIT) == since


def test_a_change_of_persistence_takes_the_data_along_and_a_second_run_changes_nothing(host: Host, ask: Ask) -> None:
    before = count(ask, NEAR, "POST")
    for persistence in ("snapshots", "append-only"):
        configure(redis_persistence=persistence)
        assert count(ask, NEAR) == before
        before = count(ask, NEAR, "POST")
        assert "changed=0" in configure(redis_persistence=persistence)
        host.check_output("systemctl restart %s", UNIT)
        assert count(ask, NEAR) == before


def test_a_newer_append_only_file_is_not_given_up_for_an_older_snapshot(host: Host, ask: Ask) -> None:
    before = count(ask, NEAR, "POST")
    host.check_output("systemctl kill --signal=KILL %s", UNIT)  # leaves no snapshot
    host.check_output("systemctl stop %s", UNIT)
    code, printed = play(
        "site.yml", "--limit=redis-debian", "--tags=redis", inventory=INVENTORY, redis_persistence="snapshots"
    )
    assert code == 2
    assert "The append-only file has data that no snapshot has." in printed
    host.check_output("systemctl start %s", UNIT)
    assert count(ask, NEAR) == before


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"redis_address": "0.0.0.0"}, "which is every address of the host. Passwords and data would be sent in plain"),
        ({"redis_address": "cache.example"}, "which is no IP address"),
        ({"redis_memory": "lots"}, "redis_memory is lots (auto, or for example 256mb or 2gb)"),
        ({"redis_address": "10.89.92.99"}, "every file is as it was before. systemctl restart valkey-server.service"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_work_is_refused_and_the_server_goes_on(ask: Ask, variables: dict[str, Any], says: str) -> None:
    code, printed = play("site.yml", "--limit=redis-debian", "--tags=redis", inventory=INVENTORY, **variables)
    assert code == 2
    assert says in printed
    assert eventually(lambda: ready(ask, NEAR))


def test_no_secret_is_shown_or_readable_to_others(host: Host, ask: Ask) -> None:
    words = {name: f"not-a-{name}-in-a-test" for name in ("token", "web-password")}
    words["redis-password"] = host.file(f"{SECRETS}/password").content_string.strip()
    app = {**APPS[0], "environment": {**APPS[0]["environment"], "TOKEN": words["token"]}}
    changed = {"wsgi_apps": [app, *APPS[1:]], "supervisor_web_password": words["web-password"]}
    code, printed = play("site.yml", "--limit=redis-debian", "-vvv", "--diff", inventory=INVENTORY, **changed)
    assert code == 0
    assert "TOKEN" in printed
    assert [name for name, word in words.items() if word in printed] == []
    # A command is logged, so this one does not hold the words themselves.
    encoded = base64.b64encode("\n".join(words.values()).encode()).decode()
    host.check_output("sh -c %s", f"umask 077; echo {encoded} | base64 -d > /root/words")
    grep = "grep -rlsF --devices=skip -f /dev/stdin /dev/shm /etc /home /opt /run /srv /tmp /usr/local /var"
    holders = host.check_output("sh -c %s", f"{grep} < /root/words").split()
    assert {f"/srv/wsgi/near/releases/{NEAR.release(host)}/environment", f"{SECRETS}/password"} <= set(holders)
    processes = "/proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    assert host.run("runuser -u nobody -- sh -c %s < /root/words", f"{grep} {processes}").stdout == ""
    assert host.run("sh -c %s", "journalctl --quiet --no-pager | grep -F -f /root/words").stdout == ""
    host.check_output("rm /root/words")
    assert eventually(lambda: ready(ask, NEAR))


# Background programs.


def notes(host: Host, what: str) -> list[dict[str, Any]]:
    """Return what the background programs have noted."""
    lines = host.check_output("cat /srv/wsgi/jobs/data/notes").splitlines()
    return [note for note in map(json.loads, lines) if note["what"] == what]


def versions(host: Host, number: int, what: str = "done") -> dict[str, str]:
    """Return which version did a task, for each kind of program; none did it twice."""
    found = [note for note in notes(host, what) if note["number"] == number and note["kind"] in KINDS]
    by_kind = {note["kind"]: note["version"] for note in found}
    assert len(by_kind) == len(found)
    return by_kind


def send(host: Host, number: int, seconds: float) -> None:
    """Give a task to every kind of program."""
    host.check_output("/usr/local/bin/app-run jobs python tasks.py send %s %s", str(number), str(seconds))


def send_long(host: Host, number: int) -> None:
    """Give every kind of program a task that it is at for a while."""
    send(host, number, 22)
    eventually(lambda: len(versions(host, number, "begun")) == len(KINDS))
    assert versions(host, number) == {}


def all_done(host: Host, number: int, version: str) -> bool:
    return versions(host, number) == dict.fromkeys(KINDS, version)


def strangers(host: Host) -> list[str]:
    """Return the processes of the app that neither supervisord knows nor one of those has started."""
    rows = [line.split(maxsplit=3) for line in host.check_output("ps -eo pid,ppid,user:32,args").splitlines()[1:]]
    known = {pid(host, line.split()[0]) for line in host.run(f"{SUPERVISORCTL} status").stdout.splitlines()}
    mine = {row[0]: row for row in rows if row[2] == "wsgi-jobs"}
    while added := {int(row[0]) for row in mine.values() if int(row[1]) in known} - known:
        known |= added
    return [row[3] for row in mine.values() if int(row[0]) not in known]


def test_no_task_of_a_background_program_is_lost_by_a_release_and_a_rollback(host: Host, tmp_path: Path) -> None:
    first = JOBS.release(host)
    send_long(host, 1)
    shutil.copytree(PROJECT / "molecule/redis/jobs", tmp_path / "jobs")
    code = tmp_path / "jobs/tasks.py"
    code.write_text(code.read_text().replace('VERSION = "one"', 'VERSION = "two"'))
    changed = [{**app, "source": {"path": str(code.parent)}} if app["name"] == "jobs" else app for app in APPS]
    configure("--tags=wsgi", app="jobs", wsgi_apps=changed)
    assert JOBS.release(host) != first
    assert all_done(host, 1, "one")
    # Two children begin at the same time, in any order.
    assert eventually(lambda: sorted(x["number"] for x in notes(host, "begun") if x["version"] == "two") == [1, 2])
    send_long(host, 2)
    configure("--tags=all", playbook="playbooks/rollback.yml", app="jobs")
    assert JOBS.release(host) == first
    assert all_done(host, 2, "two")
    send(host, 3, 0)
    assert eventually(lambda: all_done(host, 3, "one"))


def test_a_background_program_leaves_no_process_behind(host: Host) -> None:
    left = {note["process"] for note in notes(host, "begun") if note["kind"] == "leave"}
    alive = {process for process in left if host.file(f"/proc/{process}").exists}
    assert len(left) >= 6
    assert len(alive) == 2
    assert strangers(host) == []


def left(host: Host) -> set[int]:
    """Return the children of the program "leave" that are there; it ends none of them."""
    started = {note["process"] for note in notes(host, "begun") if note["kind"] == "leave"}
    return {process for process in started if host.file(f"/proc/{process}").exists}


@pytest.mark.parametrize("how", ["restart", "crash", "stop and start"])
def test_what_a_program_leaves_behind_ends_with_it(host: Host, how: str) -> None:
    program = f"{JOBS.program(host)}.leave"
    before = left(host)
    assert len(before) == 2
    if how == "crash":
        host.check_output("kill -KILL %s", str(pid(host, program)))
    elif how == "restart":
        host.check_output(f"{SUPERVISORCTL} restart %s", program)
    else:
        host.check_output(f"{SUPERVISORCTL} stop %s", program)
        assert eventually(lambda: not left(host))
        host.check_output(f"{SUPERVISORCTL} start %s", program)
    assert eventually(lambda: len(left(host) - before) == 2 and not left(host) & before)
    assert strangers(host) == []


def test_each_app_has_a_tmp_of_its_own_that_its_programs_hooks_and_releases_share(host: Host) -> None:
    places = ("/tmp", "/var/tmp", "/dev/shm")
    host.check_output("/usr/local/bin/app-run jobs touch /tmp/by-jobs /var/tmp/by-jobs /dev/shm/by-jobs")

    def seen(app: App, program: str, place: str) -> set[str]:
        """Return what a program sees; its own account alone may ask for that."""
        command = f"runuser -u wsgi-{app.name} -- ls /proc/{pid(host, program)}/root{place}"
        return set(host.check_output(command).splitlines())

    for place in places:
        of_jobs = seen(JOBS, JOBS.program(host), place)
        assert of_jobs == seen(JOBS, f"{JOBS.program(host)}.rq", place) >= {"by-jobs"}
        assert not of_jobs & seen(NEAR, NEAR.program(host), place)
        assert "by-jobs" not in host.file(place).listdir()
    # Of the releases that went live before, and again.
    assert len([name for name in seen(JOBS, JOBS.program(host), "/tmp") if name.startswith("of-")]) == 2
    for user in ("wsgi-near", "ops"):
        assert host.run("runuser -u %s -- ls /srv/wsgi/jobs/private /dev/shm/baremetal-web", user).stdout == ""


def test_no_task_is_lost_and_no_process_left_by_a_restart_of_supervisord(host: Host) -> None:
    before = left(host)
    send(host, 4, 4)
    eventually(lambda: len(versions(host, 4, "begun")) == len(KINDS))
    host.check_output("systemctl restart supervisord-baremetal")
    assert all_done(host, 4, "one")
    assert eventually(lambda: len(left(host) - before) == 2 and not left(host) & before)


def test_removal_keeps_the_data_and_the_next_run_finds_it(host: Host, ask: Ask) -> None:
    before = count(ask, NEAR, "POST")
    send(host, 9, 5)
    eventually(lambda: len(versions(host, 9, "begun")) == len(KINDS))
    printed = configure("--diff", playbook="playbooks/remove.yml", remove="stack", confirm="stack")
    assert all_done(host, 9, "one")
    assert DATA in printed
    assert not host.package(UNIT).is_installed
    assert not host.file(SECRETS).exists
    data = host.file(DATA)
    assert (data.user, data.mode) == ("root", 0o750)
    configure("--diff")
    assert count(ask, NEAR) == before


def test_a_removal_that_is_told_to_takes_everything(host: Host) -> None:
    configure("--diff", playbook="playbooks/remove.yml", remove="stack", confirm="stack", remove_data=True)
    before, after = json.loads(host.file("/root/before.json").content_string)["files"], files(host)
    left = {path for path in after.keys() - before.keys() if not path.startswith(LEFT_BY_OTHERS)}
    assert left == set()
    assert not host.file(DATA).exists
    assert not host.file("/dev/shm/baremetal-web").exists
