"""The health probe: it asks as a client's request arrives, and says what was asked and what came back."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import Release, resolved

from ansible_collections.baremetal.web.plugins.action.release_stage import description
from ansible_collections.baremetal.web.plugins.module_utils._release.probe import Probe
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import (
    HostNameError,
    host_header,
    probed_name,
)
from conftest import PATIENCE, ROOT, listens, wait_until

# Answers with the status that the path ends in, and with the location that the query or the last argument is.
SERVER = """
import http.server, itertools, json, socketserver, sys
place, seen, options = sys.argv[1:]
always, status, pages, cookie = json.loads(options)
asked = itertools.count()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, location = self.path.partition("?")
        word = path.rpartition("/")[2]
        here = pages.get(self.path) if not (pages and cookie and "Cookie" in self.headers) else None
        self.send_response(302 if here else int(word) if word.isdigit() else int(status))
        if here or always or location:
            self.send_header("Location", here or always or location)
        if cookie:
            self.send_header("Set-Cookie", cookie.format(n=next(asked)) + "; Path=/; HttpOnly")
        self.end_headers()
        with open(seen, "w") as stream:
            json.dump({"path": self.path, **self.headers}, stream)

    def address_string(self):
        return "probe"

if place:
    socketserver.UnixStreamServer(place, Handler).serve_forever()
server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Server:
    """A running HTTP server, and the last request that it got."""

    def __init__(self, place: str, seen: Path):
        self.place = place
        self.seen = seen

    def request(self) -> dict[str, str]:
        return wait_until(lambda: self.seen.exists() and self.seen.read_text() and json.loads(self.seen.read_text()))


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path, start: Callable[..., subprocess.Popen]) -> Serve:
    """Start a server on a unix socket or a port."""

    def _serve(
        place: str = str(tmp_path / "http.sock"),
        location: str = "",
        status: str = "200",
        pages: dict[str, str] | None = None,
        cookie: str = "",
    ) -> Server:
        seen = tmp_path / "seen"
        options = json.dumps([location, status, pages or {}, cookie])
        command = [sys.executable, "-IS", "-c", SERVER, place, str(seen), options]
        process = start(*command, stdout=subprocess.PIPE, text=True)
        if place:
            wait_until(lambda: listens(Path(place)))
        assert process.stdout
        return Server(place or f"127.0.0.1:{process.stdout.readline().strip()}", seen)

    return _serve


@pytest.fixture(params=["unix", "tcp"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve() if request.param == "unix" else serve("")


def probe(path: str = "/", host: str = "shop.example", **more: Any) -> Probe:
    return Probe(path, host, **{"statuses": ("2xx",), **more})


HEALTHY: list[tuple[str, dict[str, Any]]] = [
    ("/200", {}),
    ("/204", {}),
    ("/302?/login", {"statuses": ("2xx", "302")}),
    ("/301?https://shop.example/301", {"statuses": ("301",)}),  # to TLS, which is another page
    ("/302?https://shop.example/302", {"statuses": ("3xx",)}),
    ("/401", {"statuses": ("200", "401")}),
    ("/503", {"statuses": ("5xx",)}),
    ("/204", {"prefix": "/data"}),
]


@pytest.mark.parametrize(("path", "more"), HEALTHY)
def test_an_answer_with_a_wanted_status_is_healthy(server: Server, path: str, more: dict[str, Any]) -> None:
    assert probe(path, **more).problem(server.place, PATIENCE) == ""


WRONG: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a Host that is refused": ("/400", {}, ["answer 400 from http://shop.example/400", "health.host", "ALLOWED_HOSTS"]),
    "no such page": ("/404", {}, ["answer 404", "Set health.path", "add 404 to health.statuses (2xx)"]),
    "a login by header": ("/401", {}, ["answer 401", "add 401 to health.statuses"]),
    "an error": ("/500", {}, ["answer 500", "Healthy is 2xx (health.statuses)"]),
    "a redirect to a login": (
        "/302?/login?next=/",
        {},
        ["answer 302", "a redirect to /login?next=/", "Set health.path", "add 302 to health.statuses (2xx)"],
    ),
    "a redirect to TLS": ("/301?https://x.example/", {}, ["a redirect to https://x.example/", "health.statuses"]),
    "a redirect to nowhere": ("/303", {}, ["answer 303", "a redirect to nowhere"]),
    "a status that is not listed": ("/204", {"statuses": ("200",)}, ["answer 204", "Healthy is 200"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_any_other_answer_is_told_with_url_host_status_and_what_to_do(server: Server, case: str) -> None:
    path, more, parts = WRONG[case]
    one = probe(path, prefix="/data", **more)
    said = one.problem(server.place, PATIENCE, advised=True)
    parts = [part.replace("http://shop.example/", "http://shop.example/data/") for part in parts]
    assert [part for part in (*parts, "(Host shop.example)", f"from {one.url}") if part not in said] == [], said
    assert said.startswith(one.problem(server.place, PATIENCE))


def test_a_redirect_to_what_is_no_url_is_told_as_it_is(serve: Serve) -> None:
    said = probe("/302").problem(serve(location="http://[bad/x").place, PATIENCE, advised=True)
    assert "answer 302 from http://shop.example/302" in said
    assert "a redirect to http://[bad/x." in said


def test_a_redirect_to_the_name_alone_leads_back_to_its_root(serve: Serve) -> None:
    server = serve(location="http://shop.example", status="302")
    assert "which is the same URL" in probe("/", statuses=("3xx",)).problem(server.place, PATIENCE)
    assert probe("/", host="other.example", statuses=("3xx",)).problem(server.place, PATIENCE) == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/302?/301?/302?", ""),
        ("/302?/data/302/a?", ""),
        ("/302?/data/302/b?/data/302/a?", ""),
    ],
)
def test_redirects_that_end_are_no_circle(serve: Serve, path: str, said: str) -> None:
    assert probe(path, prefix="/data", statuses=("3xx",)).problem(serve().place, PATIENCE) == said


def test_redirects_in_a_circle_are_never_healthy(serve: Serve) -> None:
    one = probe("/a", prefix="/data", statuses=("2xx", "302"))
    server = serve(pages={"/data/a": "/data/b", "/data/b": "c?x=1", "/data/c?x=1": "http://shop.example:8080/data/b"})
    said = one.problem(server.place, PATIENCE, advised=True)
    assert "answer 302 from http://shop.example/data/a" in said
    assert "a redirect to /data/b, in a circle of /data/a, /data/b, /data/c?x=1. A client would be" in said


@pytest.mark.parametrize("cookie", ["seen=1", "session={n}"])
def test_a_page_that_redirects_to_itself_once_to_set_a_cookie_is_no_circle(serve: Serve, cookie: str) -> None:
    one = probe("/a", statuses=("2xx", "302"))
    server = serve(pages={"/a": "/a"}, cookie=cookie)
    assert one.problem(server.place, PATIENCE) == ""
    assert wait_until(lambda: server.request().get("Cookie", "").startswith(cookie.partition("=")[0]))


def test_a_page_that_redirects_to_itself_whatever_its_cookie_is_a_circle(serve: Serve) -> None:
    server = serve(location="/302", cookie="session={n}")
    assert "which is the same URL" in probe("/302", statuses=("302",)).problem(server.place, PATIENCE)


def test_a_circle_of_another_app_or_host_is_not_followed(serve: Serve) -> None:
    for location in ("/other", "https://shop.example/data/a", "http://x.example/data/a"):
        server = serve(pages={"/data/a": location, "/other": "/data/a"}, place="")
        assert probe("/a", prefix="/data", statuses=("302",)).problem(server.place, PATIENCE) == ""
        assert server.request()["path"] == "/data/a"


@pytest.mark.parametrize(
    "location", ["http://shop.example/data/302", "/data/302", "302", "", "http://shop.example:8080/data/302#top"]
)
def test_a_redirect_to_itself_is_never_healthy(serve: Serve, location: str) -> None:
    one = probe("/302", prefix="/data", statuses=("2xx", "3xx"))
    said = one.problem(serve(location=location).place, PATIENCE, advised=True)
    if location:
        assert f"a redirect to {location}, which is the same URL. A client would be redirected without end" in said
    else:
        assert said == ""  # leads nowhere, and is listed


def test_a_location_reaches_no_terminal_with_control_characters(serve: Serve) -> None:
    said = probe("/302").problem(serve(location="/\x1b[31mred" + "y" * 999).place, PATIENCE)
    assert "\x1b" not in said
    assert "a redirect to /red" in said
    assert len(said) < 400


def test_a_probe_asks_as_the_web_server_in_front_passes_a_request_on(server: Server) -> None:
    assert probe("/healthz?deep=1", "shop.example", prefix="/data").problem(server.place, PATIENCE) == ""
    got = server.request()
    # As roles/nginx/templates/etc/nginx/conf.d/site.conf.j2 has them.
    wanted = {
        **{"path": "/data/healthz?deep=1", "Host": "shop.example", "X-Forwarded-Prefix": "/data"},
        **{"SCRIPT_NAME": "/data", "X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "http"},
        **{"X-Forwarded-Port": "80", "X-Real-IP": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"},
    }
    assert {name: got.get(name) for name in wanted} == wanted


def test_without_a_prefix_no_header_of_one_is_sent(server: Server) -> None:
    assert probe("/healthz").problem(server.place, PATIENCE) == ""
    assert {"X-Forwarded-Prefix", "SCRIPT_NAME"} & set(server.request()) == set()


@pytest.mark.parametrize("protocol", ["http", "uwsgi"])
def test_an_app_sees_path_and_prefix_of_a_probe_as_those_of_a_client(tmp_path: Path, protocol: str) -> None:
    app = resolved({"protocol": protocol, "workers": "1"}, entrypoint="seen:app", site={"prefix": "/shop"})
    release = Release(tmp_path, app)
    (release.path / "app" / "seen.py").write_text(
        "import json, os\n\ndef app(environ, start_response):\n"
        "    names = ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'HTTP_HOST', 'REMOTE_ADDR', 'SERVER_PORT')\n"
        "    with open(os.environ['NOTES'] + '/seen', 'w') as notes:\n"
        "        json.dump([environ[name] for name in names], notes)\n"
        "    start_response('200 OK', [('Content-Length', '0')])\n    return []\n"
    )
    try:
        release.start()
        told = Probe.of(description(app, "/opt/bin/uv"))._replace(path="/a%20b?x=1")
        assert told.problem(release.place, PATIENCE, protocol) == ""
        seen = json.loads((release.notes / "seen").read_text())
    finally:
        release.end()
    assert seen == ["/shop", "/a b", "x=1", "web1", "127.0.0.1", "80"]


@pytest.mark.parametrize("path", ["/slow", "/garbage"])
def test_an_app_that_does_not_answer_as_a_web_server_is_not_healthy(unix_server: Path, path: str) -> None:
    before = time.monotonic()
    said = probe(path).problem(str(unix_server), 0.2)
    assert said.startswith(f"no answer from http://shop.example{path} (Host shop.example): ")
    assert time.monotonic() - before < PATIENCE / 2


@pytest.mark.parametrize("listened_once", [True, False], ids=["refused", "missing"])
def test_an_app_that_does_not_listen_is_not_healthy(tmp_path: Path, listened_once: bool) -> None:
    path = str(tmp_path / "app.sock")
    if listened_once:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
    assert "no answer" in probe().problem(path, 1)


def test_an_app_that_sends_its_answer_byte_by_byte_for_ever_is_not_healthy(
    tmp_path: Path, start: Callable[..., subprocess.Popen]
) -> None:
    path = tmp_path / "drip.sock"
    drip = (
        "import os, socket, sys, time\ns = socket.socket(socket.AF_UNIX)\n"
        "s.bind(sys.argv[1] + '.new'); s.listen(); os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "c = s.accept()[0]\nwhile 1: c.send(b'H'); time.sleep(0.05)"
    )
    start(sys.executable, "-IS", "-c", drip, str(path))
    wait_until(path.exists)
    before = time.monotonic()
    assert "no complete answer within 0.5 s" in probe().problem(str(path), 0.5)
    assert time.monotonic() - before < PATIENCE / 2


def test_a_site_that_moves_to_another_port_changes_no_release() -> None:
    here, there = (description(resolved(site={"listen": port}), "/opt/bin/uv") for port in (80, 8090))
    assert here == there


# Which Host.


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (["shop.example"], "shop.example"),
        (["*.wild.example", "shop.example"], "shop.example"),
        (["*.wild.example"], "www.wild.example"),
        (["www.example.*"], "www.example.com"),
        (["my_host", "shop.example"], "shop.example"),
        (["my_host", "*.wild.example"], "www.wild.example"),
        (["my_host"], "localhost"),
        (["*.my_domain"], "localhost"),
        (["*"], "localhost"),
        ([".example.com"], "example.com"),
        (["[2001:db8::1]"], "[2001:db8::1]"),
        (["2001:DB8::1"], "[2001:db8::1]"),
        (["192.0.2.1"], "192.0.2.1"),
        (["bücher.example"], "xn--bcher-kva.example"),
        (["Shop.Example."], "shop.example"),
    ],
)
def test_the_probe_sends_a_name_that_every_framework_takes_for_one(names: list[str], host: str) -> None:
    app = resolved(site={"server_names": names})
    assert description(app, "/opt/bin/uv")["health"]["host"] == host
    assert probed_name(app["site"]["server_names"]) == host


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("shop.example", "shop.example"),
        ("SHOP.example:8443", "shop.example:8443"),
        ("my_host", "my_host"),
        ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_that_is_given_is_sent_as_clients_send_it(given: str, sent: str) -> None:
    assert host_header(given) == sent
    app = resolved(health={"host": given}, site={"server_names": ["*"]})
    assert description(app, "/opt/bin/uv")["health"]["host"] == sent


@pytest.mark.parametrize(
    "host", ["*", "*.example.com", ".example.com", "_", "~x", "http://x.example", "a b", "-x", "x/y"]
)
def test_a_host_that_no_client_sends_is_refused(host: str) -> None:
    with pytest.raises(HostNameError):
        host_header(host)
    (problem,) = problems({"host": host})
    assert problem.startswith("app shop: health.host is ")
    assert repr(host) in problem


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["ok"], "health.statuses has 'ok'"),
        ([100], "health.statuses has '100'"),
        (["1xx"], "health.statuses has '1xx'"),
        ([600], "'600'"),
        (["200-299"], "'200-299'"),
        (["2x0"], "'2x0'"),
        ([], "health.statuses is empty"),
    ],
)
def test_statuses_that_no_answer_has_are_refused(statuses: list[Any], said: str) -> None:
    (problem,) = problems({"statuses": statuses})
    assert said in problem


def test_statuses_may_be_numbers_and_hundreds() -> None:
    app = resolved(health={"statuses": [200, "301", "4xx"]})
    assert Probe.of(description(app, "/opt/bin/uv")).statuses == ("200", "301", "4xx")


def problems(health: dict[str, Any]) -> list[str]:
    app = {"name": "shop", "source": {"path": "molecule/echo"}, "entrypoint": "echo:wsgi", "health": health}
    return examine([{**app, "python": {"requirements": ""}}], [str(ROOT)], ["web1"])[1]


@pytest.mark.parametrize(("path", "said"), [("/200", ""), ("/302?/login", ""), ("/404", "answer 404")])
def test_a_release_of_an_earlier_version_is_probed_as_it_was_proved(server: Server, path: str, said: str) -> None:
    earlier = {"host": "shop.example", "health": {"path": path, "timeout": 30, "stable": 5}}
    assert Probe.of(earlier).problem(server.place, PATIENCE).partition(" from")[0] == said
