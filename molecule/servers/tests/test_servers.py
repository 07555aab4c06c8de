"""The same app on every server: behind the web server, nobody can tell them apart."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from hostile import HIDDEN, judge
from probes import PROJECT, SUPERVISORCTL, fetch, name, play
from traffic import lives

DESCRIBED = yaml.safe_load((PROJECT / "molecule" / "servers" / "inventory" / "group_vars" / "wsgi.yml").read_text())
UNIX, TCP, DJANGO = DESCRIBED["unix_apps"], DESCRIBED["tcp_apps"], DESCRIBED["django_apps"]
INVENTORY = PROJECT / "molecule" / "servers" / "inventory"
BODY = "苹果 " * 5000
# What a client sends. No app may believe the last ones.
HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cookie": "a=1; b=2",
    "X-Custom": "it's",
    "X-Real-IP": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "6",
    "SCRIPT_NAME": "/evil",
    "Forwarded": "for=6.6.6.6",
}


def apps_of(host: Host) -> list[dict[str, Any]]:
    return UNIX + TCP if name(host) == "servers-debian" else UNIX


def address(host: Host, app: dict[str, Any], path: str) -> tuple[str, dict[str, str]]:
    """Return the address of a path of an app, and the headers that name its site."""
    prefix, names = app["site"].get("prefix", ""), app["site"].get("server_names", [name(host)])
    return f"http://{name(host)}:8080{prefix}{path}", {"Host": f"{names[0]}:8080"}


@pytest.fixture(scope="module")
def client(connect: Callable[[str], Host]) -> Host:
    return connect("servers-client")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/hello?name=%E8%8B%B9&empty=", ""),
        ("POST", "/a%20b/%E8%8B%B9%2Fc//d?x=1&x=2", BODY),
        ("PUT", "/what;v=1/@~", "x"),
    ],
)
def test_a_request_looks_the_same_to_the_app_on_every_server(
    host: Host, client: Host, method: str, path: str, body: str
) -> None:
    told = {}
    for app in apps_of(host):
        url, named = address(host, app, path)
        answer = fetch(client, url, method, {**HEADERS, **named}, body)
        assert answer.status == 200, (app["name"], answer)
        seen = json.loads(answer.body)
        # The two things in which the apps differ, each where it belongs.
        assert seen.pop("prefix") == app["site"].get("prefix", ""), app["name"]
        assert seen["headers"].pop("host") == named["Host"], app["name"]
        assert seen.pop("server") == named["Host"].partition(":")[0] + ":8080", app["name"]
        told.setdefault(json.dumps(seen, sort_keys=True), []).append(app["name"])
    assert len(told) == 1, told
    (seen,) = map(json.loads, told)
    assert seen["method"] == method
    assert seen["scheme"] == "http"


def test_the_address_that_an_app_sees_is_the_clients(host: Host, client: Host) -> None:
    own = client.check_output("hostname -I").split()
    for app in apps_of(host):
        url, named = address(host, app, "/who")
        assert json.loads(fetch(client, url, headers={**HEADERS, **named}).body)["client"] in own, app["name"]


@pytest.mark.parametrize("app", [app for app in UNIX + TCP if app["site"].get("websocket_enabled")], ids=str)
def test_a_websocket_reaches_those_that_speak_it(host: Host, client: Host, app: dict[str, Any]) -> None:
    if app not in apps_of(host):
        return
    path = app["site"].get("prefix", "") + "/socket"
    host_name = app["site"].get("server_names", [name(host)])[0]
    said = client.check_output("python3 -c %s %s %s %s", WEBSOCKET, name(host), host_name, path)
    assert said == "echo hello"


WEBSOCKET = """
import socket, sys
host, named, path = sys.argv[1:]
connection = socket.create_connection((host, 8080), 10)
connection.sendall((
    f"GET {path} HTTP/1.1\\r\\nHost: {named}:8080\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
    "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n").encode())
stream = connection.makefile("rb")
assert stream.readline().split()[1] == b"101"
while stream.readline().strip():
    pass
connection.sendall(bytes([0x81, 0x85, 0, 0, 0, 0]) + b"hello")
kind, length = stream.read(2)
assert kind == 0x81
print(stream.read(length).decode())
"""


def test_no_server_can_be_reached_but_through_the_web_server(host: Host, client: Host) -> None:
    listening = host.check_output("ss -Hltn").splitlines()
    ports = {app["server"]["port"] + offset for app in apps_of(host) for offset in (0, 1) if app["server"].get("port")}
    places = {line.split()[3] for line in listening if int(line.split()[3].rpartition(":")[2]) in ports}
    assert all(place.startswith("127.0.0.1:") for place in places)
    assert len(places) == len([app for app in apps_of(host) if app["server"].get("port")])
    for app in apps_of(host):
        if not app["server"].get("port"):
            assert host.run("runuser -u nobody -- ls /srv/wsgi/%s/run", app["name"]).rc != 0
            socket = f"/srv/wsgi/{app['name']}/current.sock"
            assert "PermissionError" in host.run("runuser -u nobody -- python3 -c %s %s", CONNECT, socket).stderr


CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
# What an app could try so that clients get another app at its site, or so that its next release cannot listen.
REPLACEMENTS = """
import os, sys
directory, name = os.path.split(os.path.realpath(sys.argv[1]))
attempts = [
    lambda: os.unlink(f"{directory}/{name}"),
    lambda: os.rename(f"{directory}/{name}", f"{directory}/away"),
    lambda: os.symlink("/srv/wsgi/gthread/current.sock", f"{directory}/new"),
    lambda: os.mkdir(f"{directory}/0123456789ab.sock"),
    lambda: os.chmod(directory, 0o777),
    lambda: os.rename(directory, f"{directory}.away"),
]
for attempt in attempts:
    try:
        attempt()
    except PermissionError:
        print("refused")
"""


def test_no_app_puts_anything_in_the_place_of_its_socket_or_of_the_next_one(host: Host) -> None:
    for app in apps_of(host):
        if not app["server"].get("port"):
            socket = f"/srv/wsgi/{app['name']}/current.sock"
            command = f"runuser -u wsgi-{app['name']} -- python3 -c %s %s"
            assert host.check_output(command, REPLACEMENTS, socket).split() == ["refused"] * 6, app["name"]


def test_nothing_listens_but_what_is_documented(host: Host) -> None:
    listening = [line.split() for line in host.check_output("ss -ltnupH").splitlines()]
    inside = [words for words in listening if words[4].startswith(("127.0.0.1:", "[::1]:"))]
    outside = [words for words in listening if words not in inside]
    assert {(words[0], words[6].split('"')[1]) for words in outside} == {("tcp", "nginx"), ("tcp", "sshd")}
    ports = {
        app["server"]["port"] + next_one for app in apps_of(host) for next_one in (0, 1) if "port" in app["server"]
    }
    assert {int(words[4].rpartition(":")[2]) for words in inside if words[0] == "tcp"} <= {9001, *ports}
    sockets = host.check_output("find / -path /proc -prune -o -type s -user %s -print", "wsgi-gthread").split()
    sockets += host.check_output("find / -path /proc -prune -o -type s -path '*wsgi*' -print").split()
    assert [path for path in sockets if not re.fullmatch(r"/srv/wsgi/[^/]+/sockets/[^/]+\.sock", path)] == []


def test_every_server_runs_under_supervisord(host: Host) -> None:
    lines = [line.split() for line in host.check_output(f"{SUPERVISORCTL} status").splitlines()]
    described = apps_of(host) + (DJANGO if name(host) == "servers-debian" else [])
    assert sorted(words[0].rpartition("-")[0] for words in lines) == sorted(app["name"] for app in described)
    assert {words[1] for words in lines} == {"RUNNING"}


def test_hostile_requests_are_refused_or_one_request_that_believes_nothing(host: Host, client: Host) -> None:
    targets = []
    for app in apps_of(host):
        prefix, names = app["site"].get("prefix", ""), app["site"].get("server_names", [name(host)])
        targets.append([app["name"], prefix, f"{names[0]}:8080"])
    program = (PROJECT / "molecule" / "hostile.py").read_text()
    answers = json.loads(client.check_output("python3 -c %s %s 8080 %s", program, name(host), json.dumps(targets)))
    assert judge(answers) == []
    let_through = {app for app, _, statuses, _ in answers if statuses[:1] == [200]}
    assert let_through == {app["name"] for app in apps_of(host)}
    logs = "/var/log/supervisord/*.log"
    assert len(host.check_output(f"grep -l 'path is .*/x' {logs}").split()) == len(targets)
    assert host.run(f"grep 'path is .*{HIDDEN}' {logs}").stdout == ""


def test_a_thousand_slow_clients_harm_no_honest_one(host: Host, client: Host) -> None:
    prefix = "/gthread"
    said = json.loads(client.check_output("python3 -c %s %s %s", SLOW, name(host), prefix))
    assert said["slow"] == 1000
    assert said["honest"] == {"200": 200}


# Half of the slow clients never end their headers, half their bodies.
SLOW = """
import collections, http.client, json, socket, sys, time
host, prefix = sys.argv[1:]
head = f"POST {prefix}/x HTTP/1.1\\r\\nHost: {host}:8080\\r\\n"
slow = []
for number in range(1000):
    slow.append(socket.create_connection((host, 8080), 10))
    slow[-1].sendall((head + ("Content-Length: 99\\r\\n\\r\\n" if number % 2 else "X-Slow: ")).encode())
honest = collections.Counter()
for number in range(200):
    if number % 40 == 0:
        for connection in slow:
            connection.sendall(b"x")
    connection = http.client.HTTPConnection(host, 8080, timeout=5)
    connection.request("GET", prefix + "/x")
    honest[connection.getresponse().status] += 1
print(json.dumps({"slow": len(slow), "honest": honest}))
"""


# A framework that looks at the Host: the probe has to send one that it takes.


def django(client: Host, host_name: str, path: str) -> Any:
    return fetch(client, f"http://servers-debian:8080/shop{path}", headers={"Host": host_name})


def test_django_is_live_behind_names_of_which_the_first_is_none_for_it(client: Host) -> None:
    answer = django(client, "any.wild.example:8080", "/login")
    assert answer.status == 200
    assert json.loads(answer.body)["url"] == "http://any.wild.example:8080/shop/login"
    assert django(client, "my_host:8080", "/login").status == 400


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (
            {"path": "/"},
            "answer 302 from http://www.wild.example/shop/ (Host www.wild.example), a redirect to /shop/login",
        ),
        ({"path": "/again", "statuses": [302]}, "a redirect to /shop/again, which is the same URL"),
        ({"path": "/login", "host": "other.example"}, "answer 400 from http://other.example/shop/login"),
    ],
    ids=["login", "itself", "host"],
)
def test_an_answer_that_is_not_healthy_is_told_as_it_was_asked(
    connect: Callable[[str], Host], health: dict[str, Any], said: str
) -> None:
    host = connect("servers-debian")
    before = lives(host, "django")
    (django_app,) = DJANGO
    wrong = {**django_app, "health": {"stable": 1, "timeout": 2, **health}}
    code, output = play(
        *("site.yml", "--limit=servers-debian", "--tags=wsgi"),
        inventory=INVENTORY,
        wsgi_apps=[*UNIX, *TCP, wrong],
        wsgi_selected=["django"],
    )
    assert code == 2
    assert said in output
    assert lives(host, "django") == before
