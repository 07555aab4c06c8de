"""Every server under load from another host: releases go live, and an app moves to another server."""

from collections.abc import Callable
from typing import Any

import pytest
from test_servers import DJANGO, TCP, UNIX
from testinfra.host import Host

from probes import PROJECT, play
from traffic import Target, lives, load

INVENTORY = PROJECT / "molecule" / "servers" / "inventory"
HOST = "servers-debian"
# A server of development ends with what it is answering, and one thread answers one request at a time.
# What is wrong with an app, and what the run says of it. Supervisord has the port.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "sync": (
        {"source": {"archive": {"url": "http://127.0.0.1:9/sync.tar.gz", "checksum": f"sha256:{0:064}"}}},
        "app sync: stage: http://127.0.0.1:9/sync.tar.gz cannot be fetched",
    ),
    "looped": ({"entrypoint": "echo:nothing"}, "check: entrypoint 'echo:nothing' does not import"),
    "waitress": ({"health": {"statuses": [204], "timeout": 1, "stable": 1}}, "Healthy is 204"),
    "packets": (
        {"server": {"workers": "1"}, "site": {"listen": 9001, "server_names": ["packets.test"]}},
        "app packets: publish: Port 9001 is held by supervisord",
    ),
}
LIGHT = {"kept": 1, "closed": 1, "post": 1, "slow": 1}
NEW = {"kept": 0, "closed": 2, "post": 0, "slow": 2}
MOVES: list[dict[str, Any]] = [
    {"kind": "uwsgi", "protocol": "uwsgi"},
    {"kind": "gunicorn", "protocol": "uwsgi", "port": 5900},
    {"kind": "gevent", "port": 5900},
    {"kind": "granian"},
]


@pytest.fixture(scope="module")
def host(connect: Callable[[str], Host]) -> Host:
    return connect(HOST)


@pytest.fixture(scope="module")
def client(connect: Callable[[str], Host]) -> Host:
    return connect("servers-client")


def target(host: Host, app: dict[str, Any]) -> Target:
    return Target(host, app["name"], 8080)


def test_a_release_on_every_server_fails_no_request(host: Host, client: Host) -> None:
    # Of the servers on TCP, one for each protocol and two that have launchers: what is different is nginx's way there.
    chosen = [*UNIX, *(app for app in TCP if app["name"] in ("gthread-tcp", "uwsgi-tcp", "gevent-tcp", "tornado-tcp"))]
    with_prefix = [app for app in chosen if "prefix" in app["site"]]
    again = [
        {**app, "environment": {**app.get("environment", {}), "VERSION": "2"}} if app in chosen else app
        for app in UNIX + TCP + DJANGO
    ]
    before = {app["name"]: len(lives(host, app["name"])) for app in chosen}
    with load(client, [target(host, app) for app in with_prefix], rate=2, connections=LIGHT) as judgement:
        code, output = play("site.yml", f"--limit={HOST}", inventory=INVENTORY, wsgi_apps=again)
    assert code == 0, output[-2000:]
    assert {app["name"]: len(lives(host, app["name"])) for app in chosen} == {
        app: number + 1 for app, number in before.items()
    }
    judgement.assert_flawless()


def test_an_app_moves_from_server_to_server_and_back_without_a_failed_request(host: Host, client: Host) -> None:
    (app,) = (app for app in UNIX if app["name"] == "gthread")
    others = [other for other in UNIX + TCP + DJANGO if other is not app]
    # Each move reloads nginx, which then closes connections that clients keep open and do not use.
    with load(client, [target(host, app)], rate=10, connections=NEW) as judgement:
        for move in MOVES:
            server = {"workers": "1", **move}
            code, output = play(
                "playbooks/deploy.yml",
                f"--limit={HOST}",
                inventory=INVENTORY,
                app="gthread",
                wsgi_apps=[{**app, "server": server}, *others],
            )
            assert code == 0, (move, output[-2000:])
    assert judgement.found["errors"] == []
    (found,) = judgement.found["targets"].values()
    assert found["back"] == {}
    assert len(found["releases"]) == len(MOVES) + 1


def test_a_rollback_that_the_web_server_could_not_follow_is_refused(host: Host) -> None:
    """Both slots belong to servers that are reached in one way, and an older release was reached in another."""
    speaking = lives(host, "gthread")[-3]
    code, output = play("playbooks/rollback.yml", f"--limit={HOST}", inventory=INVENTORY, app="gthread", to=speaking)
    assert code != 0
    assert f"{speaking} speaks uwsgi on port 5900, and the web server" in output
    assert "Set server.protocol and server.port as they were, and deploy that version" in output


def test_apps_that_fail_each_at_another_step_stay_as_they_are_and_the_others_go_live(host: Host) -> None:
    changed = {**{app: fault for app, (fault, _said) in FAULTS.items()}, "granian": {}}
    again = [
        {**app, **changed[app["name"]], "environment": {"VERSION": "3"}} if app["name"] in changed else app
        for app in UNIX + TCP + DJANGO
    ]
    before = {app: lives(host, app) for app in changed}
    code, output = play(
        *("site.yml", f"--limit={HOST}", "--tags=wsgi"), inventory=INVENTORY, wsgi_apps=again, app=",".join(changed)
    )
    assert code == 2
    for app, (_fault, said) in FAULTS.items():
        assert said in output, app
    assert {app: len(lives(host, app)) - len(before[app]) for app in changed} == {
        **dict.fromkeys(FAULTS, 0),
        "granian": 1,
    }
    assert host.run("ls /srv/wsgi/*/lock.json").stdout == ""
