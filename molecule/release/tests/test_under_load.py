"""Under load from another host, releases go live and come back, and nobody notices."""

import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from testinfra.host import Host

from probes import INVENTORY, PROJECT, SUPERVISORCTL, apps, eventually, fetch, name, play
from traffic import Target, ask, lives, load, stamped

# Each host has another class of worker; each app has an address of its own besides its site.
CLASSES = {"app-centos": "sync", "app-debian": "gthread", "app-ubuntu": "gevent"}
APP = "stamped"
BIND = 5085
# Ten releases, by what is changed in each.
STEPS: list[dict[str, dict[str, Any]]] = [
    {"environment": {"VERSION": "2"}},
    {"environment": {"VERSION": "3"}},
    {"server": {"workers": "4"}},
    {"server": {"workers": "2"}},
    {"environment": {"VERSION": "4"}},
    {"server": {"graceful_timeout": 6}},
    {"server": {"timeout": 31}},
    {"environment": {"VERSION": "5"}},
    {"server": {"backlog": 1024, "workers": "3"}},
    {"environment": {"VERSION": "6"}},
]
LEAST_SECONDS = 150
KILLS = 21
# A while without a process that Ansible started: what was on its way to the host has ended by then.
QUIET = """
for turn in 1 2 3 4 5; do while pgrep -f '/python3[.0-9]*( && sleep 0)?$'; do sleep 0.2; done; sleep 0.2; done
"""
ONE_EACH: dict[str, Any] = {"connections": {"kept": 1, "closed": 1, "post": 1, "slow": 1}}


def described(number: int = 0, **variables: str) -> dict[str, Any]:
    """Describe the apps of each host, after so many of the steps, with variables in the environment."""
    server: dict[str, Any] = {"workers": "3", "graceful_timeout": 5, "bind": f"0.0.0.0:{BIND}"}
    environment = {"VERSION": "1", **variables}
    for step in STEPS[:number]:
        server |= step.get("server", {})
        environment |= step.get("environment", {})
    health = {"stable": 1}
    return {
        "described": {
            host: [
                *apps(),
                stamped(APP, server={**server, "worker_class": kind}, environment=environment, health=health),
            ]
            for host, kind in CLASSES.items()
        },
        "wsgi_apps": "{{ described[inventory_hostname] }}",
        "wsgi_selected": [APP],
    }


@pytest.fixture(scope="module", autouse=True)
def published() -> Iterator[None]:
    """The app beside the apps of the inventory; removed in the end."""
    code, _ = play("site.yml", "--limit=wsgi", **described())
    assert code == 0
    yield
    code, _ = play("playbooks/remove.yml", "--limit=wsgi", remove=APP, confirm=APP, remove_data=True)
    assert code == 0


@pytest.fixture
def hosts(connect: Callable[[str], Host]) -> list[Host]:
    """The hosts that get releases."""
    return [connect(host) for host in CLASSES]


def targets(hosts: list[Host]) -> list[Target]:
    """Return every address of the app."""
    return [target for host in hosts for target in (Target(host, APP), Target(host, APP, BIND, ""))]


def answer(host: Host, client: Host) -> dict[str, Any]:
    """Return what the app of a host answers; nothing while it does not."""
    got = fetch(client, Target(host, APP).url)
    return json.loads(got.text) if got.status == 200 else {}


def rollback() -> dict[str, dict[str, Any]]:
    """Go back, or forward again, on all hosts; return what each says."""
    return ask("wsgi", "release_rollback", name=APP)


def test_releases_and_rollbacks_and_changes_of_the_server_lose_no_request(hosts: list[Host], client: Host) -> None:
    began, before = time.monotonic(), [len(lives(host, APP)) for host in hosts]
    with load(client, targets(hosts), rate=40, **ONE_EACH) as judgement:
        for number in range(1, len(STEPS) + 1):
            code, _ = play("site.yml", "--limit=wsgi", "--tags=wsgi", **described(number))
            assert code == 0
        backs = 0
        while backs < 4 or time.monotonic() < began + LEAST_SECONDS:
            said = rollback()
            assert [said[host]["warm"] for host in CLASSES] == [True] * len(CLASSES)
            backs += 1
    judgement.assert_flawless()
    assert [len(lives(host, APP)) for host in hosts] == [number + len(STEPS) + backs for number in before]
    assert judgement.found["count"] > 100_000


def family(process: int) -> list[int]:
    """Return a process and all below it: Ansible's workers have sessions of their own."""
    pairs = [line.split() for line in subprocess.check_output(["ps", "-eo", "ppid=,pid="], text=True).splitlines()]
    found = [process]
    for parent in found:
        found += [int(pid) for ppid, pid in pairs if int(ppid) == parent]
    return found


def run_and_kill(host: Host, seconds: float, *options: str, **variables: Any) -> bool:
    """Run site.yml on a host and kill all of it after a while; tell whether it came to that."""
    limit, extra = f"--limit={name(host)}", f"--extra-vars={json.dumps(variables)}"
    process = subprocess.Popen(
        ["ansible-playbook", "site.yml", f"--inventory={INVENTORY}", "--tags=wsgi", limit, extra, *options],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        for one in family(process.pid):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.wait()
        return True
    return False


def kill_again_and_again(host: Host, client: Host, seed: int) -> str:
    """Kill runs that release the app to a host, at random moments; see after each what it left behind."""
    moments, home, lasted, ended = random.Random(f"{seed} {name(host)}"), f"/srv/wsgi/{APP}", 0.0, Counter[str]()
    for number in itertools.count():
        if sum(count for what, count in ended.items() if what != "not killed") == KILLS // len(CLASSES):
            break
        version, before = f"{seed}-{number}", lives(host, APP)
        # Every other time the connection ends with the controller; else ssh keeps it.
        options = ["--ssh-extra-args=-o ControlMaster=no -o ControlPath=none"] if number % 2 else []
        began = time.monotonic()
        # The first one comes to its end, which tells how long that takes.
        seconds = moments.uniform(0, lasted) if number else 120
        was_killed = run_and_kill(host, seconds, *options, **described(VERSION=version))
        lasted = lasted or time.monotonic() - began
        host.check_output("timeout 60 sh -c %s", QUIET)
        host.check_output("flock --wait 60 %s true", f"{home}/.lock")

        after, about = lives(host, APP), f"{name(host)}, seed {seed}, run {number}, after {seconds:.2f} s"
        new, answers = len(after) - len(before), answer(host, client)
        assert after[: len(before)] == before, about
        assert new in ((0, 1) if was_killed else (1,)), about
        assert answers["release"] == after[-1], about
        assert (answers["version"] == version) is bool(new), about
        assert host.check_output("readlink %s/current", home) == f"releases/{after[-1]}", about
        assert host.check_output("readlink %s/current.sock", home) == f"sockets/{after[-1]}.sock", about
        lock = host.run("cat %s/lock.json", home).stdout
        assert not lock or json.loads(lock)["expires"] > time.time(), about
        if lock:
            ask(name(host), "release_lock", name=APP, state="absent")
        ended["killed, new" if was_killed and new else "killed, old" if was_killed else "not killed"] += 1
    return f"{name(host)}, seed {seed}: {dict(ended)}; a whole run took {lasted:.1f} s"


def test_a_controller_that_is_killed_leaves_the_old_release_or_the_new_one(hosts: list[Host], client: Host) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    with load(client, targets(hosts), rate=15, **ONE_EACH) as judgement, ThreadPoolExecutor(len(hosts)) as pool:
        for line in pool.map(lambda host: kill_again_and_again(host, client, seed), hosts):
            print(line)
    judgement.assert_flawless()


@pytest.mark.parametrize("restart", ["program", "supervisord", "host"])
def test_after_a_rollback_a_restart_lands_on_the_release_that_is_live(
    hosts: list[Host], client: Host, restart: str
) -> None:
    rollback()
    live = [lives(host, APP)[-1] for host in hosts]
    if restart == "host":
        reboot = ["ansible", "wsgi", f"--inventory={INVENTORY}", "--become", "--module-name=ansible.builtin.reboot"]
        assert subprocess.run(reboot, cwd=PROJECT, check=False).returncode == 0
    for host, release in zip(hosts, live, strict=True):
        if restart == "program":
            host.check_output(f"{SUPERVISORCTL} restart %s", f"{APP}-{release}")
        if restart == "supervisord":
            host.check_output("systemctl restart supervisord-baremetal")
    for host, release in zip(hosts, live, strict=True):
        assert eventually(lambda host=host: answer(host, client))["release"] == release
    # The previous release starts with neither, and a rollback to it works all the same.
    said = rollback()
    assert [said[host]["warm"] for host in CLASSES] == [restart == "program"] * len(CLASSES)
    assert [answer(host, client)["release"] for host in hosts] == [said[host]["release"] for host in CLASSES]
