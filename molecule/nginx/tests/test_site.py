"""The role nginx without the other roles."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from probes import Answer, assert_refused, eventually, fetch, limit, name, play

CONVERGE = "molecule/nginx/converge.yml"
FILES = "find /etc/nginx -type f -exec sha256sum {} + | sort"

# Answers every request with the headers that arrived.
ECHO = """
import http.server, json
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({name.lower(): value for name, value in self.headers.items()}).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Echo).serve_forever()
"""


@pytest.fixture(scope="module", autouse=True)
def upstream(hosts: list[Host]) -> Iterator[None]:
    """A server on each host for nginx to stand in front of."""
    for host in hosts:
        host.check_output("systemd-run --collect --unit=echo /usr/bin/python3 -c %s", ECHO)
    for host in hosts:
        eventually(lambda host=host: fetch(host, "http://127.0.0.1:5000/").status == 200)
    yield
    for host in hosts:
        host.check_output("systemctl stop echo")


def ask(host: Host, client: Host, path: str = "/echo/", **request: Any) -> Answer:
    """Ask for a path of the site."""
    return fetch(client, f"http://{name(host)}:8080{path}", **request)


def publish(hosts: list[Host], change: dict[str, Any], **variables: Any) -> tuple[int, str]:
    """Publish the site with some values changed."""
    return play(CONVERGE, limit(hosts), "--start-at-task=Publish the site", change=change, **variables)


def locations(**values: Any) -> list[dict[str, Any]]:
    """Return one location with some values changed."""
    return [{"name": "echo", "prefix": "/echo", "servers": ["127.0.0.1:5000"], **values}]


def test_the_upstream_learns_who_asked_and_for_what(host: Host, neighbour: Host) -> None:
    claims = {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1", "X-Forwarded-Proto": "https"}
    claims |= {"X-Forwarded-Prefix": "/evil", "SCRIPT_NAME": "/evil", "Forwarded": "for=192.0.2.1"}
    client = neighbour.check_output("hostname --all-ip-addresses").split()[0]
    arrived = json.loads(ask(host, neighbour, headers=claims).body)
    expected = {
        "host": f"{name(host)}:8080",
        "x-real-ip": client,
        "x-forwarded-for": client,
        "x-forwarded-host": f"{name(host)}:8080",
        "x-forwarded-proto": "http",
        "x-forwarded-port": "8080",
        "x-forwarded-prefix": "/echo",
        "script_name": "/echo",
    }
    assert {header: arrived.get(header) for header in expected} == expected
    assert not {"connection", "forwarded"} & set(arrived)


def test_clients_of_an_upstream_that_is_away_get_a_page_of_ours(host: Host, neighbour: Host) -> None:
    answer = ask(host, neighbour, "/")
    assert answer.status == 502
    assert "<h1>Back soon</h1>" in answer.text


@pytest.mark.parametrize(("named", "status"), [("{}", "200"), ("{}:8080", "200"), ("evil.example", "400")])
def test_a_client_names_one_host(host: Host, neighbour: Host, named: str, status: str) -> None:
    header = named.format(name(host))
    assert neighbour.check_output("python3 -c %s %s %s", WHOLE_ADDRESS, name(host), header) == status


WHOLE_ADDRESS = """
import socket, sys
host, named = sys.argv[1:]
connection = socket.create_connection((host, 8080), 10)
asked = f"GET http://{host}:8080/echo/x HTTP/1.1\\r\\nHost: {named}\\r\\nConnection: close\\r\\n\\r\\n"
connection.sendall(asked.encode())
print(connection.makefile("rb").readline().split()[1].decode())
"""


def test_each_location_has_its_own_limit(host: Host, neighbour: Host) -> None:
    assert [ask(host, neighbour, path, body="x" * 1025).status for path in ("/echo/", "/")] == [413, 502]


def test_the_welcome_page_of_the_package_is_gone(host: Host, neighbour: Host) -> None:
    assert fetch(neighbour, f"http://{name(host)}/").error == "ConnectionRefusedError"


def test_the_configuration_raises_no_warning(host: Host) -> None:
    printed = host.run("nginx -t").stderr
    assert [line.rpartition(" ")[2] for line in printed.splitlines()] == ["ok", "successful"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"listne": 8080}, "nginx_site.listne. Supported parameters include"),
        ({"locations": locations(max_body_size="10q")}, "max_body_size is '10q'"),
        ({"locations": locations(servers=["127.0.0.1:99999"])}, 'invalid port in upstream "127.0.0.1:99999"'),
        ({"listen": 5000}, "Port 5000 is held by python3, so nginx.service cannot listen on it."),
    ],
    ids=["key", "size", "upstream", "port"],
)
def test_a_refused_site_changes_nothing(hosts: list[Host], client: Host, values: dict[str, Any], sentence: str) -> None:
    def live(host: Host) -> tuple[str, str, int]:
        process = host.check_output("systemctl show --property=MainPID --value nginx")
        return host.check_output(FILES), process, ask(host, client).status

    before = [live(host) for host in hosts]
    assert_refused(publish(hosts, values), hosts, sentence)
    assert [live(host) for host in hosts] == before
    assert [status for *_, status in before] == [200] * len(hosts)


def statuses(hosts: list[Host], client: Host) -> set[int]:
    """Return what the sites of all hosts answer."""
    return {ask(host, client).status for host in hosts}


def test_a_file_on_the_host_moves_all_requests_without_a_reload(hosts: list[Host], client: Host) -> None:
    elsewhere = {"file": "/srv/elsewhere", "servers": ["127.0.0.1:5001"]}  # where nobody answers
    assert publish(hosts, {"locations": locations(alternative=elsewhere)})[0] == 0
    found = []
    for command in ("true", "touch /srv/elsewhere", "rm /srv/elsewhere"):
        for host in hosts:
            host.check_output(command)
        found.append(statuses(hosts, client))
    assert found == [{200}, {502}, {200}]
    assert publish(hosts, {})[0] == 0


def test_a_backup_answers_where_no_other_server_can(hosts: list[Host], client: Host) -> None:
    change = {"locations": locations(servers=["127.0.0.1:5001"], backups=["127.0.0.1:5000"])}
    assert publish(hosts, change)[0] == 0
    assert [statuses(hosts, client) for _ in range(5)] == [{200}] * 5
    assert publish(hosts, {})[0] == 0


def test_a_site_of_one_address_is_reached_there_alone_and_under_any_name(hosts: list[Host], client: Host) -> None:
    there = {"address": "127.0.0.1", "listen": 5002}
    assert publish(hosts, {**there, "server_names": []})[0] == 0
    for host in hosts:
        assert fetch(host, "http://127.0.0.1:5002/echo/").status == 200
        assert fetch(client, f"http://{name(host)}:5002/echo/").error == "ConnectionRefusedError"
    # A reload would say that all is well, and listen where it did before.
    refused = publish(hosts, {"listen": 5002})
    assert_refused(refused, hosts, "Port 5002 cannot be had while nginx.service listens on 127.0.0.1")
    assert {fetch(host, "http://127.0.0.1:5002/echo/").status for host in hosts} == {200}
    assert publish(hosts, {})[0] == 0
    assert statuses(hosts, client) == {200}


def test_a_site_that_is_absent_is_no_longer_answered(hosts: list[Host], client: Host) -> None:
    assert publish(hosts, {}, nginx_site_state="absent")[0] == 0
    assert {ask(host, client).error for host in hosts} == {"ConnectionRefusedError"}
    assert publish(hosts, {})[0] == 0
    assert statuses(hosts, client) == {200}
