"""Each web server in front of the same servers, with the same site: what a client gets, and what the servers see."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from ansible_collections.baremetal.web.plugins.filter.app_needs import app_needs
from ansible_collections.baremetal.web.plugins.module_utils._host.web_server import in_front
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.web_servers import WEB_SERVERS, Apache, Layout
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from conftest import GROUP, OWNER, PATIENCE, ROOT, run_ansible, wait_until
from conftest import listens as unix_listens

PROXIES = ("nginx", "apache")
SETTINGS = "etc/apache2/conf-enabled/zz-baremetal-web.conf.j2"
# A proxy that is trusted: a client that connects from this address.
PROXY = "127.0.0.2"
ORIGINS = ["https://a.example", "https://b.example"]
with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = free.getsockname()[1]

# Answers on a unix socket over HTTP with what arrived, or with the status that the query names; turns a connection
# into a WebSocket that sends back what it gets.
SERVER = """
import http.server, json, socketserver, sys, urllib.parse

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers["Upgrade"] == "websocket" and "upgrade" in self.headers["Connection"].lower():
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.readline())
            self.close_connection = True
            return
        with open(sys.argv[1] + ".seen", "a") as seen:
            print(self.path, file=seen)
        size = len(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        headers = [[name.lower(), value] for name, value in self.headers.items()]
        body = json.dumps({"server": sys.argv[2], "path": self.path, "size": size, "headers": headers}).encode()
        self.send_response(int(query.get("status", ["200"])[0]))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "https://app.example")
        self.send_header("Access-Control-Allow-Credentials", "true")
        for number in range(int(query.get("cookies", ["0"])[0])):
            self.send_header("Set-Cookie", f"c{number}=" + "x" * 1000)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_OPTIONS = do_PUT = do_GET

    def log_message(self, *arguments):
        pass

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128

Server(sys.argv[1], Handler).serve_forever()
"""
# The same over the protocol uwsgi: the head has the size of the variables, which are pairs with their lengths.
UWSGI = """
import json, socketserver, struct, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        _, size, _ = struct.unpack("<BHB", self.rfile.read(4))
        packed, words = self.rfile.read(size), []
        while packed:
            (length,) = struct.unpack("<H", packed[:2])
            words.append(packed[2 : 2 + length].decode("latin-1"))
            packed = packed[2 + length :]
        pairs = list(zip(words[::2], words[1::2]))
        with open(sys.argv[1] + ".seen", "a") as seen:
            print(dict(pairs)["REQUEST_URI"], file=seen)
        body = json.dumps({"server": sys.argv[2], "variables": pairs}).encode()
        self.rfile.read(int(dict(pairs).get("CONTENT_LENGTH") or 0))
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\n")
        cookies = dict(pairs)["QUERY_STRING"].partition("cookies=")[2]
        for number in range(int(cookies or 0)):
            self.wfile.write(b"Set-Cookie: c%d=%s\\r\\n" % (number, b"x" * 1000))
        self.wfile.write(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)

class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128

Server(sys.argv[1], Handler).serve_forever()
"""


def site(place: Path) -> dict[str, Any]:
    """Describe a site with one location for each thing that it can be asked for."""

    def location(name: str, prefix: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "prefix": prefix, "servers": [f"unix:{place}/one.sock"], **more}

    alternative = {"file": f"{place}/marker", "servers": [f"unix:{place}/two.sock"]}
    return {
        "name": "shop",
        "listen": PORT,
        "address": "127.0.0.1",
        "server_names": [
            "shop.example",
            ".wild.example",
            "www.any.*",
            "2001:db8::1",
            "m\u00fcnchen.example",
            "my_host",
        ],
        "error_pages": [{"codes": [404, 410], "path": str(place / "missing.html")}],
        "locations": [
            location("root", "/", intercept_errors_enabled=True, max_body_size="1k"),
            location("api_a", "/api", cors={"origins": ORIGINS, "credentials_enabled": True, "max_age": 5}),
            location("api-a", "/api/open", cors={"origins": ["*"], "methods": ["PUT"]}),
            location("slots", "/slots", alternative=alternative, backups=[f"unix:{place}/current.sock"]),
            location(
                "mixed",
                "/mixed",
                alternative={**alternative, "servers": [f"unix:{place}/uwsgi.sock"], "protocol": "uwsgi"},
            ),
            location("chat", "/chat", websocket_enabled=True),
            location("away", "/away", servers=[f"unix:{place}/nobody.sock"], cors={"origins": ["*"]}),
            location("w", "/w", servers=[f"unix:{place}/uwsgi.sock"], protocol="uwsgi"),
            location(
                "w.slots", "/w-slots", servers=[f"unix:{place}/uwsgi.sock"], alternative=alternative, protocol="uwsgi"
            ),
        ],
    }


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The place of the sockets; short, for a socket's path may have 107 characters, and open, for httpd is not root."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        (place / "missing.html").write_text("<p>{{ nothing }} here</p>\n")
        yield place


@pytest.fixture(scope="module")
def rendered(home: Path) -> dict[str, list[dict[str, str]]]:
    """Let Ansible render the files of both roles; return them by role."""
    facts = {"os_family": "Debian", "distribution": "Debian", "distribution_version": "13.1"}
    settings = {"path": "/zz.conf", "content": f"{{{{ lookup('ansible.builtin.template', '{SETTINGS}') }}}}"}
    variables = {
        "__apache_listens": {"listen": []},
        "nginx_ipv6_enabled": False,
        "nginx_trusted_proxies": [PROXY],
        "apache_trusted_proxies": [PROXY],
        "apache_settings": [settings],
    }
    files = "{'nginx': nginx.sites[0].files, 'apache': apache.sites[0].files + apache_settings}"
    write = {"content": f"{{{{ {files} | to_json }}}}", "dest": str(home / "rendered.json"), "mode": "0600"}
    files = [str(ROOT / "roles" / role / part / "main.yml") for role in PROXIES for part in ("defaults", "vars")]
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.set_fact": {**facts, "distribution_major_version": "13", "cacheable": True}}
    ]
    for role, owner in (("nginx", ""), ("apache", "wsgi")):
        described = {"server": role, "owner": owner, "sites": [site(home)], "layout": f"{{{{ __{role}_layout }}}}"}
        tasks.append({"baremetal.web.sites": described, "vars": variables, "register": role})
    tasks.append({"ansible.builtin.copy": write, "vars": variables})
    play = {"hosts": "web1", "gather_facts": False, "vars_files": files, "tasks": tasks}
    (home / "play.yml").write_text(json.dumps([play]))
    (home / "templates").mkdir()
    (home / "templates" / "etc").mkdir()
    for role, directory in (("nginx", "nginx"), ("apache", "apache2")):
        (home / "templates" / "etc" / directory).symlink_to(ROOT / "roles" / role / "templates" / "etc" / directory)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (home / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": local}}}))
    run_ansible(home, "playbook", "-i", "hosts.yml", "play.yml")
    return json.loads((home / "rendered.json").read_text())


def nginx(home: Path, files: list[dict[str, str]]) -> list[str]:
    """Write a configuration of nginx that anybody may run; return the command."""
    place = home / "nginx"
    kinds = "".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; pid {place}/pid; error_log {place}/error.log; user {OWNER} {GROUP}; events {{}}"
    (place / "pages").mkdir(parents=True)
    for page in files[1:]:
        (place / "pages" / Path(page["path"]).name).write_text(page["content"])
    (place / "pages" / "50x.html").write_text("<h1>Back soon</h1>")
    text = files[0]["content"].replace("/usr/local/share/nginx", f"{place}/pages")
    (place / "nginx.conf").write_text(f"{head}\nhttp {{ {kinds} access_log off;\n{text}\n}}\n")
    return ["nginx", "-p", str(place), "-c", str(place / "nginx.conf")]


def apache(home: Path, files: list[dict[str, str]]) -> list[str]:
    """Write a configuration of httpd that anybody may run; return the command."""
    place = home / "apache"
    program = Path(shutil.which("apache2") or "")
    user, group = (OWNER, GROUP) if os.geteuid() else ("nobody", "nogroup")
    modules = program.parents[1] / "lib" / "apache2" / "modules"
    (place / "pages").mkdir(parents=True)
    for page in files[1:-1]:
        (place / "pages" / Path(page["path"]).name).write_text(page["content"])
    (place / "pages" / "baremetal-web@50x.html").write_text("<h1>Back soon</h1>")
    head = f"ServerName here\nServerRoot {place}\nDefaultRuntimeDir {place}\nPidFile {place}/pid\n"
    head += f"ErrorLog {place}/error.log\nUser {user}\nGroup {group}\nTypesConfig /dev/null\n"
    head += "<Directory />\nRequire all denied\n</Directory>\n"
    loaded = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in ("mpm_event", "authz_core", "mime")
    )
    text = f"{files[-1]['content']}\n{files[0]['content']}"
    text = text.replace("/usr/local/share/apache", f"{place}/pages").replace("/usr/lib/apache2/modules", str(modules))
    (place / "httpd.conf").write_text(f"{loaded}{head}{text}")
    return [str(program), "-D", "FOREGROUND", "-f", str(place / "httpd.conf")]


class Answer(NamedTuple):
    """What a client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def seen(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def arrived(self) -> dict[str, str]:
        """The headers that the server saw; each came once."""
        assert len({name for name, _ in self.seen["headers"]}) == len(self.seen["headers"])
        return dict(self.seen["headers"])


Ask = Callable[..., Answer]


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    """Each web server."""
    if not shutil.which("apache2" if request.param == "apache" else "nginx"):
        # `make test` has installed it, so nothing is skipped there.
        (pytest.fail if "TEST_PROGRAMS_REQUIRED" in os.environ else pytest.skip)(f"{request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def front(proxy: str, home: Path, rendered: dict[str, list[dict[str, str]]]) -> Iterator[Path]:
    """The web server in front of its servers; the place of the sockets."""
    programs = {"one": SERVER, "two": SERVER, "uwsgi": UWSGI}
    if not (home / "current.sock").is_symlink():
        (home / "current.sock").symlink_to("one.sock")
    for name in programs:
        (home / f"{name}.sock").unlink(missing_ok=True)
    commands = [[sys.executable, "-c", program, f"{home}/{name}.sock", name] for name, program in programs.items()]
    commands.append({"nginx": nginx, "apache": apache}[proxy](home, rendered[proxy]))
    started = [subprocess.Popen(command, umask=0) for command in commands]
    try:
        wait_until(lambda: all(unix_listens(home / f"{name}.sock") for name in programs))
        wait_until(lambda: (home / proxy / "pid").exists() and accepts())
        yield home
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(PATIENCE)


def accepts() -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", PORT)) == 0


@pytest.fixture
def ask(front: Path) -> Ask:
    def _ask(path: str, method: str = "GET", body: bytes | None = None, sender: str = "", **headers: str) -> Answer:
        source = (sender, 0) if sender else None
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE, source_address=source)
        sent = {"Host": f"shop.example:{PORT}", **{name.replace("__", "-"): value for name, value in headers.items()}}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    return _ask


CLAIMS = {
    **{f"X__Forwarded__{name}": "evil" for name in ("Host", "Proto", "Port", "Prefix")},
    **{f"X_Forwarded_{name}": "evil" for name in ("For", "Host", "Proto", "Port", "Prefix")},
    **{"X__Real__IP": "evil", "X_Real_IP": "evil", "X__Forwarded_Proto": "evil", "Forwarded": "for=evil"},
    **{"SCRIPT_NAME": "/evil", "PATH_INFO": "/evil", "X__Forwarded__For": "192.0.2.1"},
}


@pytest.mark.parametrize("path", ["/api/", "/w/"])
def test_an_app_may_answer_with_a_dozen_large_cookies(ask: Ask, path: str) -> None:
    answer = ask(f"{path}?cookies=12")
    assert answer.status == 200
    assert len(answer.all("Set-Cookie")) == 12


@pytest.mark.parametrize(("path", "prefix"), [("/api/x", "/api"), ("/x", "")])
@pytest.mark.parametrize("connection", ["close", "close, X-Forwarded-Proto, X-Real-IP, SCRIPT_NAME"])
def test_a_server_learns_who_asked_and_for_what_and_no_client_can_say_otherwise(
    ask: Ask, proxy: str, path: str, prefix: str, connection: str
) -> None:
    arrived = ask(path, **CLAIMS, Connection=connection).arrived
    assert not [name for name, value in arrived.items() if "evil" in value]
    expected = {
        "host": f"shop.example:{PORT}",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": f"shop.example:{PORT}",
        "x-forwarded-proto": "http",
        "x-forwarded-port": str(PORT),
        **({"x-forwarded-prefix": prefix, "script_name": prefix} if prefix else {}),
        # httpd tells all apps of a site what those over uwsgi need.
        **({"x-request-uri": path} if proxy == "apache" else {}),
    }
    names = {name for name in arrived if name.startswith("x-") or "_" in name} | {"host"}
    assert {name: arrived[name] for name in names} == expected
    assert "forwarded" not in arrived


@pytest.mark.parametrize(
    ("said", "learned"),
    [
        ({"Proto": "https"}, ("https", "443")),
        ({"Proto": "http"}, ("http", "80")),
        ({"Proto": "https", "Port": "8443"}, ("https", "8443")),
        ({"Port": "8080"}, ("http", "8080")),
        ({"Proto": "evil", "Port": "evil"}, ("http", str(PORT))),
        ({}, ("http", str(PORT))),
    ],
)
def test_a_trusted_proxy_says_who_asked_and_how_and_its_client_cannot(
    ask: Ask, said: dict[str, str], learned: tuple[str, str]
) -> None:
    headers = {f"X__Forwarded__{name}": value for name, value in said.items()}
    # The client wrote the first address, the proxy the second, and a proxy behind it the third.
    headers["X__Forwarded__For"] = f"192.0.2.1, 198.51.100.7, {PROXY}"
    arrived = ask("/api/", sender=PROXY, **headers).arrived
    assert arrived["x-forwarded-for"] == arrived["x-real-ip"] == "198.51.100.7"
    assert (arrived["x-forwarded-proto"], arrived["x-forwarded-port"]) == learned
    seen = dict(ask("/w/", sender=PROXY, **headers).seen["variables"])
    assert seen["HTTP_X_FORWARDED_FOR"] == seen["HTTP_X_REAL_IP"] == "198.51.100.7"
    assert (seen["HTTP_X_FORWARDED_PROTO"], seen["HTTP_X_FORWARDED_PORT"]) == learned


@pytest.mark.parametrize("path", ["/w/a%20b%2Fc?x=%20", "/w-slots/"])
def test_over_uwsgi_a_server_learns_the_same(ask: Ask, proxy: str, path: str) -> None:
    pairs = ask(path, "POST", b"12345", **CLAIMS, Content__Type="text/plain").seen["variables"]
    found, prefix = dict(pairs), "/" + path.split("/")[1]
    assert len(found) == len(pairs)
    assert not [name for name, value in pairs if "evil" in value]
    expected = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": path,
        "QUERY_STRING": path.partition("?")[2],
        "CONTENT_LENGTH": "5",
        "CONTENT_TYPE": "text/plain",
        "REQUEST_SCHEME": "http",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": f"shop.example:{PORT}",
        "HTTP_X_REAL_IP": "127.0.0.1",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_X_FORWARDED_HOST": f"shop.example:{PORT}",
        "HTTP_X_FORWARDED_PROTO": "http",
        "HTTP_X_FORWARDED_PORT": str(PORT),
        "HTTP_X_FORWARDED_PREFIX": prefix,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert not {"HTTP_FORWARDED", "HTTP_SCRIPT_NAME", "HTTP_PATH_INFO"} & set(found)
    if proxy == "nginx":
        assert (found["SCRIPT_NAME"], found["SERVER_PORT"]) == (prefix, str(PORT))


@pytest.mark.parametrize("path", ["/api/a%20b%2Fc%3Fd?x=%20y&z", "/x/%E6%88%91/+;=?", "/slots/a//b/"])
def test_a_server_gets_the_path_as_the_client_wrote_it(ask: Ask, path: str) -> None:
    assert ask(path).seen["path"] == path


@pytest.mark.parametrize(("path", "status"), [("/api", 301), ("/%61pi/x", 400), ("/x/../api/", 400)])
def test_a_prefix_has_to_be_there_to_the_letter(ask: Ask, path: str, status: int) -> None:
    answer = ask(path)
    assert answer.status == status
    if status == 301:
        assert answer.all("Location")[0].removeprefix(f"http://shop.example:{PORT}") == "/api/"


def test_another_host_name_gets_no_answer_of_the_site(ask: Ask, proxy: str) -> None:
    if proxy == "nginx":
        with pytest.raises(http.client.RemoteDisconnected):
            ask("/", Host="other.example")
    else:
        assert ask("/", Host="other.example").status == 421


@pytest.mark.parametrize(
    "name",
    [
        *("shop.example", "SHOP.example", "wild.example", "a.wild.example", "a.b.wild.example", "www.any.test"),
        *("[2001:db8::1]", "xn--mnchen-3ya.example", "my_host"),
    ],
)
def test_a_site_answers_each_of_its_names_as_clients_send_it(ask: Ask, name: str) -> None:
    assert ask("/", Host=name).status == 200
    assert ask("/", Host=f"{name}:{PORT}").status == 200


def test_requests_move_while_the_file_exists_and_the_backup_answers_where_nobody_does(ask: Ask, front: Path) -> None:
    def servers() -> set[str]:
        return {ask("/slots/", method, body).seen["server"] for method, body in (("GET", None), ("POST", b"x" * 9999))}

    assert servers() == {"one"}
    (front / "two.sock").rename(front / "two.away")
    (front / "marker").touch()
    try:
        assert servers() == {"one"}  # its slot is empty, and current.sock leads to the first
        (front / "two.away").rename(front / "two.sock")
        wait_until(lambda: servers() == {"two"})  # httpd asks again after a second
    finally:
        (front / "marker").unlink()
    assert servers() == {"one"}


def test_a_server_may_change_its_protocol_from_one_release_to_the_next(ask: Ask, front: Path) -> None:
    assert ask("/mixed/").arrived["script_name"] == "/mixed"
    (front / "marker").touch()
    try:
        assert dict(ask("/mixed/").seen["variables"])["HTTP_X_FORWARDED_PREFIX"] == "/mixed"
    finally:
        (front / "marker").unlink()
    assert ask("/mixed/").seen["server"] == "one"


def test_hostile_requests_are_refused_or_one_request_that_believes_nothing(front: Path) -> None:
    hostile = SimpleNamespace(**runpy.run_path(str(ROOT / "molecule" / "hostile.py")))
    targets = [(prefix, prefix, f"shop.example:{PORT}") for prefix in ("/api", "/slots", "/w", "/w-slots", "")]
    for seen in front.glob("*.seen"):
        seen.unlink()
    answers = hostile.ask("127.0.0.1", PORT, targets)
    assert hostile.judge(answers) == []
    let_through = sum(statuses[:1] == [200] and body != "" for *_, statuses, body in answers)
    seen = [line for file in front.glob("*.seen") for line in file.read_text(errors="replace").splitlines()]
    assert len(targets) * 5 < let_through <= len(seen) <= len(targets) * len(hostile.ONE)
    assert not [path for path in seen if path.partition("?")[0].endswith(hostile.HIDDEN)]


CORS = ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods"]


@pytest.mark.parametrize("path", ["/api/", "/api/?status=500"])
@pytest.mark.parametrize("origin", [*ORIGINS, "https://evil.example", "https://a.example.evil.example", ""])
def test_an_origin_that_is_named_is_told_so_once_whatever_the_app_says(ask: Ask, path: str, origin: str) -> None:
    answer = ask(path, **({"Origin": origin} if origin else {}))
    assert answer.status == (500 if "status" in path else 200)
    allowed = [origin] if origin in ORIGINS else []
    assert [answer.all(name) for name in CORS] == [allowed, ["true"], ["GET, POST, OPTIONS"]]
    assert [value for value in answer.all("Vary") if "Origin" in value] == ["Origin"]


def test_a_browser_that_asks_first_is_answered_without_the_app(ask: Ask) -> None:
    named, everybody = (ask(path, "OPTIONS", Origin=ORIGINS[0]) for path in ("/api/x", "/api/open/x"))
    assert [(answer.status, answer.body) for answer in (named, everybody)] == [(204, b"")] * 2
    assert [named.all(name) for name in CORS] == [[ORIGINS[0]], ["true"], ["GET, POST, OPTIONS"]]
    assert [everybody.all(name) for name in CORS] == [["*"], [], ["PUT"]]
    assert [answer.all("Access-Control-Max-Age") for answer in (named, everybody)] == [["5"], ["600"]]
    assert named.all("Access-Control-Allow-Headers") == everybody.all("Access-Control-Allow-Headers")
    assert "X-Mx-ReqToken" in named.all("Access-Control-Allow-Headers")[0]
    assert everybody.all("Vary") == []


def test_without_cors_it_is_the_apps_matter(ask: Ask) -> None:
    answer = ask("/slots/", "OPTIONS", Origin=ORIGINS[0])
    assert (answer.status, answer.seen["server"]) == (200, "one")
    assert answer.all(CORS[0]) == ["https://app.example"]


def test_a_page_of_another_origin_may_read_that_a_server_is_away(ask: Ask) -> None:
    answer = ask("/away/", Origin=ORIGINS[0])
    assert answer.status in (502, 503)
    assert b"<h1>Back soon</h1>" in answer.body
    assert answer.all(CORS[0]) == ["*"]


def test_errors_of_an_app_are_replaced_only_where_this_is_wanted(ask: Ask) -> None:
    pages = [ask(f"{path}?status={status}") for path in ("/x", "/api/x") for status in (404, 410, 418)]
    assert [answer.status for answer in pages] == [404, 410, 418] * 2
    assert [b"{{ nothing }} here" in answer.body for answer in pages] == [True, True, False, False, False, False]


@pytest.mark.parametrize("path", ["/shop@404.html", "/wsgi-shop@404.html", "/50x.html", "/baremetal-web@50x.html"])
def test_nobody_can_ask_for_an_error_page_itself(ask: Ask, path: str) -> None:
    answer = ask(path)
    assert answer.status == 404 or answer.seen["path"] == path


def test_a_body_may_have_the_size_that_its_location_says(ask: Ask) -> None:
    sizes = [ask(path, "POST", b"x" * size).status for path, size in (("/", 1024), ("/", 1025), ("/api/", 1025))]
    assert sizes == [200, 413, 200]


def test_a_body_that_does_not_say_its_size_is_limited_as_well(front: Path, proxy: str) -> None:
    for size, status in ((9, 200), (2000, 413)):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
        connection.request("POST", "/", iter([b"x" * size]), {"Host": "shop.example"}, encode_chunked=True)
        assert connection.getresponse().status == (status if proxy == "nginx" else 411)
        connection.close()


@pytest.mark.parametrize(("path", "status"), [("/chat/", 101), ("/slots/", 200)])
def test_a_connection_becomes_a_websocket_where_this_is_wanted(front: Path, path: str, status: int) -> None:
    key = base64.b64encode(b"x" * 16).decode()
    head = f"GET {path} HTTP/1.1\r\nHost: shop.example:{PORT}\r\nConnection: keep-alive, Upgrade\r\n"
    head += f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        stream = connection.makefile("rb")
        assert int(stream.readline().split()[1]) == status
        while stream.readline().strip():
            pass
        if status == 101:
            connection.sendall(b"hello\n")
            assert stream.readline() == b"hello\n"


def test_requests_beside_a_websocket_are_as_ever(ask: Ask, proxy: str) -> None:
    arrived = ask("/chat/", Upgrade="h2c", Connection="Upgrade").arrived
    assert "upgrade" not in arrived.get("connection", "").lower()
    if proxy == "nginx":
        assert not {"connection", "upgrade"} & set(arrived)  # so the connection to the server is kept


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"cors": {"origins": []}}, "cors.origins is []"),
    ({"cors": {"origins": ["*", "https://a.example"]}}, "or * alone"),
    ({"cors": {"origins": ["*"], "credentials_enabled": True}}, "cors.credentials_enabled is true with the origin *"),
    ({"cors": {"origins": ["https://a.example/"]}}, "cors.origins has 'https://a.example/'"),
    ({"cors": {"origins": ['https://a"; x']}}, "cors.origins has"),
    ({"cors": {"origins": ["*"], "methods": ["get"]}}, "cors.methods has 'get'"),
    ({"cors": {"origins": ["*"], "headers": ['X"']}}, "cors.headers has"),
    ({"cors": {"origins": ["*"], "max_age": -1}}, "cors.max_age is -1"),
    ({"websocket_enabled": True, "protocol": "uwsgi"}, "websocket_enabled is true, and the server's protocol is uwsgi"),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED)
def test_what_no_web_server_can_do_is_refused(values: Mapping[str, Any], sentence: str) -> None:
    described = {"name": "shop", "locations": [{"name": "shop", "servers": ["unix:/a"], **values}]}
    with pytest.raises(DescriptionError, match=re.escape(sentence)):
        complete(described, "nginx", "site", "nginx_site")


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [([[444]], "code 444"), ([[200]], "code 200"), ([[]], "no code"), ([[404, 403], [403]], "two pages for 403")],
)
def test_error_pages_are_for_errors_and_one_for_each(pages: list[list[int]], sentence: str) -> None:
    described = {"name": "shop", "error_pages": [{"codes": codes, "path": "README.md"} for codes in pages]}
    with pytest.raises(DescriptionError, match=sentence):
        complete(described, "nginx", "site", "nginx_site")


def test_an_app_may_say_what_a_location_can_do_with_the_same_words_and_defaults() -> None:
    place = role_options("nginx", "site")["nginx_site"]["options"]
    said = role_options("wsgi")["wsgi_apps"]["options"]["site"]["options"]

    def bare(option: Mapping[str, Any]) -> dict[str, Any]:
        inner = {name: bare(value) for name, value in option.get("options", {}).items()}
        return {**{key: option[key] for key in option if key != "description"}, "options": inner}

    for name in ("cors", "websocket_enabled", "intercept_errors_enabled", "max_body_size", "prefix"):
        assert bare(said[name]) == bare(place["locations"]["options"][name])
    for name in ("catch_all_enabled", "error_pages", "listen", "server_names"):
        assert bare(said[name]) == bare(place[name])


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("<VirtualHost *:80>", True),
        ("  <virtualhost 192.0.2.1:80 192.0.2.2:80>", True),
        ("<VirtualHost *>", True),
        ("<VirtualHost _default_:443>", False),
        ("<VirtualHost *:8080>", False),
        ("# <VirtualHost *:80>", False),
    ],
)
def test_a_port_of_httpd_that_somebody_else_has_a_site_on_is_not_closed_to_unknown_names(
    line: str, refused: bool
) -> None:
    nowhere = Apache(Layout("", "", []), "wsgi", lambda *_: "", str)
    regex = nowhere.conflict(complete({"name": "shop"}, "nginx", "site", "nginx_site"))["regex"]
    assert bool(re.search(regex, f"\n{line}\n", re.MULTILINE)) == refused


@pytest.mark.parametrize("server", PROXIES)
def test_the_text_of_an_error_page_is_no_variable_of_a_template(server: str) -> None:
    """ansible-core 2.18 and older would take braces in it for a template."""
    given: list[dict[str, Any]] = []
    rendering = WEB_SERVERS[server](Layout("", "", []), "wsgi", lambda _, more: given.append(more) or "", str)
    described = {"name": "shop", "error_pages": [{"codes": [404], "path": "{{ braces }}.html"}]}
    needs = rendering.present(complete(described, "nginx", "site", "nginx_site"))
    assert needs["files"][1]["content"] == "{{ braces }}.html"
    assert given[0]["pages"] == [{"codes": [404], "name": "wsgi-shop@404.html"}]


def app(name: str, **site: Any) -> dict[str, Any]:
    """Describe an app by its site."""
    source = {"path": str(ROOT / "molecule" / "stamped")}
    described = {"name": name, "source": source, "entrypoint": "stamped:app", "python": {"requirements": ""}}
    return {**described, "site": {"prefix": f"/{name}", **site}}


PAGES = [{"codes": [404], "path": "README.md"}]


@pytest.mark.parametrize(
    ("sites", "sentence"),
    [
        ([{"cors": {"origins": ["*"], "credentials_enabled": True}}], "site.cors.credentials_enabled is true with"),
        ([{"error_pages": [{"codes": [444], "path": "README.md"}]}], "site.error_pages has the code 444"),
        ([{"error_pages": [{"codes": [404], "path": "gone.html"}]}], "site.error_pages names 'gone.html', which is no"),
        ([{"proxy": "apache"}, {}], "site.proxy of one is apache, and site.proxy of two is nginx"),
        (
            [{"error_pages": PAGES}, {"error_pages": [{**PAGES[0], "path": "LICENSE"}]}],
            "app two: site.error_pages has 'LICENSE' for 404, and one, which shares its site, 'README.md'",
        ),
    ],
)
def test_a_site_that_cannot_be_is_refused_by_key_and_value(sites: list[dict[str, Any]], sentence: str) -> None:
    apps = [app(name, **site) for name, site in zip(("one", "two"), sites, strict=False)]
    _, problems = examine(apps, [str(ROOT)], ["web1"])
    assert len(problems) == 1
    assert sentence in problems[0]


def test_apps_that_share_a_site_may_share_its_error_pages() -> None:
    apps = [app(name, error_pages=PAGES, cors={"origins": ["*"]}) for name in ("one", "two")]
    assert examine(apps, [str(ROOT)], ["web1"])[1] == []


@pytest.mark.parametrize(("sites", "proxy"), [([], "nginx"), ([{}], "nginx"), ([{"proxy": "apache"}], "apache")])
def test_a_host_has_the_web_server_that_its_apps_ask_for(sites: list[dict[str, Any]], proxy: str) -> None:
    assert app_needs([app("one", **site) for site in sites])["proxy"] == proxy


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/etc/nginx/conf.d/wsgi-80-a.conf", "nginx.service"),
        ("/etc/apache2/sites-enabled/000-wsgi-80-a.conf", "apache2.service"),
        ("/etc/httpd/conf.d/wsgi-80-a.conf", "httpd.service"),
        ("/etc/apache2/sites-enabled/shop-a.conf", "nginx.service"),
    ],
)
def test_the_web_server_in_front_is_the_one_that_has_the_sites_of_the_apps(path: str, unit: str) -> None:
    assert in_front({"file": {path: None, "/srv/wsgi-x": None}}).unit == unit
    assert in_front({}).unit == "nginx.service"
