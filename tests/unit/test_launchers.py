"""The servers, each of them the real one: they start as on a host, answer alike, and end without losing a request."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from serving import Release, resolved

from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import ask_over_uwsgi, connect
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers
from conftest import PATIENCE, ROOT

LAUNCHERS = ROOT / "roles" / "wsgi" / "files" / "baremetal_web"
GRACE = 5
ENTRYPOINTS = {"wsgi": "noting:wsgi", "asgi": "noting:asgi", "tornado": "noting:tornado()"}
# A request as the web server in front passes it on.
HOST = {"Host": "shop.example"}
BODY = b"z" * 100_000
VISIT = {
    "Host": "shop.example:8080",
    "X-Real-IP": "192.0.2.7",
    "X-Forwarded-For": "198.51.100.1, 192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "8080",
    "Script-Name": "/hostile",
    "X-Scheme": "ftp",
    "X-Custom": "é".encode().decode("latin-1"),
    "Cookie": "a=1; b=2",
}


class Way(NamedTuple):
    """One way to serve an app."""

    kind: str
    worker_class: str
    interface: str
    protocol: str
    place: str
    more: tuple[tuple[str, Any], ...] = ()
    entrypoint: str = ""

    def __str__(self) -> str:
        said = [*self[:5], *(f"{name}={value}" for name, value in self.more), self.entrypoint]
        return " ".join(filter(None, said))

    @property
    def variant(self) -> dict[str, Any]:
        return servers().variant(self.kind, self.worker_class, self.interface)

    def app(self, **options: Any) -> dict[str, Any]:
        """Resolve an app for it."""
        chosen = {"graceful_timeout": GRACE, "workers": "2", "threads": 2, **dict(self.more), **options}
        server = {
            "kind": self.kind,
            "protocol": self.protocol,
            **({"worker_class": self.worker_class} if self.worker_class else {}),
            **{name: value for name, value in chosen.items() if name in self.variant["options"]},
        }
        entrypoint = self.entrypoint or ENTRYPOINTS[self.interface]
        return resolved(server, interface=self.interface, entrypoint=entrypoint)


def ways() -> Iterator[Way]:
    """Return every way that the table has."""
    for kind, worker_class in servers().variants():
        for interface in servers().variant(kind, worker_class, "")["interfaces"]:
            for protocol in servers().variant(kind, worker_class, interface)["protocols"]:
                for place in ("unix", "tcp"):
                    yield Way(kind, worker_class, interface, protocol, place)


# The development server one by one, in threads and in processes; and through ``flask run``.
MORE = [
    Way("werkzeug", "", "wsgi", "http", "unix", (("workers", "1"), ("threads", 1))),
    Way("werkzeug", "", "wsgi", "http", "unix", (("workers", "1"), ("threads", 4))),
    Way("werkzeug", "", "wsgi", "http", "unix", (("workers", "3"), ("threads", 1)), "noting:flask()"),
    Way("werkzeug", "", "wsgi", "http", "tcp", (("workers", "1"), ("threads", 4)), "noting:flask()"),
]
WAYS = [*ways(), *MORE]
# Each server once, for what depends on neither socket nor protocol.
ONCE = [way for way in ways() if (way.protocol, way.place) == ("http", "unix")]
ASCII_ONLY = [way for way in WAYS if (way.kind, way.interface) == ("granian", "wsgi")]
KEPT = [way for way in WAYS if way.kind != "werkzeug"]
SEVERAL = [way for way in ONCE if "workers" in way.variant["options"]]
COOPERATIVE = [way for way in ONCE if "gevent" in (way.kind, way.worker_class)]
# A sync worker hands its socket over as well; it answers nobody else meanwhile, until it is killed.
TRY_WEBSOCKETS = [way for way in ONCE if way.worker_class != "sync"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def told(prefix: str, way: Way) -> bytes:
    """Return what the echo answers to the visit."""
    headers = {name.lower(): value for name, value in VISIT.items() if name in ("Host", "X-Forwarded-For", "Cookie")}
    headers |= {"x-forwarded-proto": "https", "content-length": str(len(BODY))}
    if way not in ASCII_ONLY:  # which gives the app an empty value
        headers["x-custom"] = VISIT["X-Custom"]
    answer = {
        **{"method": "POST", "scheme": "https", "client": "192.0.2.7", "prefix": prefix, "path": "/a/b//c d"},
        **{"query": "x=1&y=%C3%A9", "server": "shop.example:8080", "headers": headers},
        **{"body": hashlib.sha256(BODY).hexdigest()},
    }
    return json.dumps(answer, sort_keys=True, ensure_ascii=False).encode() + b"\n"


class Life(NamedTuple):
    """What was seen from the start of a server to its end."""

    answers: dict[str, tuple[int, bytes]]
    probe: tuple[int, bytes]
    in_flight: tuple[int, bytes] | str
    status: int
    seconds: float
    start_seconds: float
    replaced: bool | None
    websocket: bytes
    log: str
    kept: bool


def live(way: Way, directory: Path) -> Life:
    """Start a server in this way, talk to it, and stop it while it answers."""
    release = Release(directory, way.app(), "" if way.place == "unix" else f"127.0.0.1:{free_port()}")
    # A worker that ends so soon after the start is a reason to give up; a test has no time to wait.
    launch = release.path / "server" / "baremetal_web" / "launch.py"
    if launch.exists():
        launch.write_text(launch.read_text().replace("START_SECONDS = 5", "START_SECONDS = 0"))
    if way.place == "unix":
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(release.place)
    try:
        began = time.monotonic()
        release.start()
        start_seconds = time.monotonic() - began
        place = Path(release.place)
        bound = place.stat() if way.place == "unix" else None
        answers = {}
        for prefix in ("", "/shop") if way.interface != "tornado" else ("",):
            headers = {**VISIT, "X-Forwarded-Prefix": prefix, "SCRIPT_NAME": prefix}
            path = f"{prefix}/a%2Fb//c%20d?x=1&y=%C3%A9"
            answers[prefix] = release.ask(path, headers=headers, method="POST", body=BODY)
        over_uwsgi = way.protocol == "uwsgi"
        probe = (
            (ask_over_uwsgi(release.place, "/", HOST, PATIENCE).status, b"") if over_uwsgi else release.ask("/?deep=1")
        )
        websocket = greet(release) if way in TRY_WEBSOCKETS else b""
        replaced = replace(release, way) if way in SEVERAL else None
        if not over_uwsgi:  # there, nginx keeps none
            idle = connect(release.place, PATIENCE)
            idle.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            idle.recv(1)
        read = release.send("/slow?s=0.5&note=begun")
        release.until((release.notes / "begun").exists)
        ended: list[tuple[int, float]] = []
        stopping = threading.Thread(target=lambda: ended.append(release.stop()))
        stopping.start()
        try:
            in_flight: tuple[int, bytes] | str = read()
        except Exception as error:
            in_flight = repr(error)
        stopping.join()
        assert ended, f"it does not end\n{release.said()}"
        kept = not bound or (os.path.samestat(bound, now := place.stat()) and stat.S_IMODE(now.st_mode) == 0o660)
        return Life(answers, probe, in_flight, *ended[0], start_seconds, replaced, websocket, release.said(), kept)
    finally:
        release.end()


def replace(release: Release, way: Way) -> bool:
    """Kill a worker; tell whether there is another one in its place, and the app answers."""
    before = release.until(lambda: len(found := workers(release, way)) == 2 and found)
    os.kill(before[0], signal.SIGKILL)
    release.until(lambda: len(now := workers(release, way)) == 2 and before[0] not in now)
    return release.until(release.answers)


def workers(release: Release, way: Way) -> list[int]:
    """Return the processes that answer."""
    found = release.workers()
    if way.kind == "granian":  # beside them is what looks after Python's shared memory
        found = [pid for pid in found if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return sorted(found)


def greet(release: Release) -> bytes:
    """Open a WebSocket and say hello; return the answer, none where the server opens none."""
    key = base64.b64encode(os.urandom(16)).decode()
    mask = os.urandom(4)
    with connect(release.place, PATIENCE) as connection:
        lines = ["GET /socket HTTP/1.1", "Host: shop.example", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        stream = connection.makefile("rb")
        if b" 101 " not in stream.readline():
            return b""
        while stream.readline().strip():
            pass
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(b"hello"))
        connection.sendall(struct.pack("BB", 0x81, 0x80 | len(masked)) + mask + masked)
        head, length = stream.read(2)
        assert head == 0x81
        return stream.read(length)


@pytest.fixture(scope="module")
def lives(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Way, Future]]:
    """Return the life of each way that a test asks for; some go on at a time."""
    items = [item for item in request.session.items if item.fspath == request.fspath]
    wanted = dict.fromkeys(item.callspec.params["way"] for item in items if "lives" in item.fixturenames)
    with ThreadPoolExecutor(6) as pool:
        yield {way: pool.submit(live, way, tmp_path_factory.mktemp("way")) for way in wanted}
        pool.shutdown(cancel_futures=True)


Lives = Mapping[Way, "Future[Life]"]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_request_looks_the_same_to_the_app_whatever_serves_it(lives: Lives, way: Way) -> None:
    for prefix, answer in lives[way].result().answers.items():
        assert answer == (200, told(prefix, way))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_server_answers_the_health_probe_which_has_no_headers_of_a_web_server(lives: Lives, way: Way) -> None:
    status, body = lives[way].result().probe
    assert status == 200
    assert not body or json.loads(body)["release"] == "r1"


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_server_ends_in_time_when_it_is_asked_to(lives: Lives, way: Way) -> None:
    life = lives[way].result()
    # Where a start takes long, an end may as well.
    assert life.seconds < GRACE + 3 + life.start_seconds, life.log


@pytest.mark.parametrize("way", [way for way in WAYS if way.place == "unix"], ids=str)
def test_a_server_listens_on_the_socket_that_it_was_handed_and_leaves_its_path_alone(lives: Lives, way: Way) -> None:
    life = lives[way].result()
    assert life.kept, life.log


@pytest.mark.parametrize("way", KEPT, ids=str)
def test_a_server_that_ends_finishes_the_request_that_it_is_answering(lives: Lives, way: Way) -> None:
    life = lives[way].result()
    assert isinstance(life.in_flight, tuple), f"{life.in_flight}\n{life.log}"
    assert (life.in_flight[0], json.loads(life.in_flight[1])["release"]) == (200, "r1")


@pytest.mark.parametrize("way", SEVERAL, ids=str)
def test_a_worker_that_is_killed_is_replaced(lives: Lives, way: Way) -> None:
    assert lives[way].result().replaced


@pytest.mark.parametrize("way", TRY_WEBSOCKETS, ids=str)
def test_a_server_has_websockets_where_the_table_says_so_and_nowhere_else(lives: Lives, way: Way) -> None:
    life = lives[way].result()
    has = way.interface in way.variant["websocket_interfaces"]
    assert life.websocket == (b"echo hello" if has else b""), life.log


# What is true of each server alone.


def ended(process: subprocess.Popen, log: Path) -> int:
    """Return the status of a process that ends by itself."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"it goes on\n{log.read_text()}") from None


@pytest.fixture(scope="module")
def failures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Way, Future]]:
    """Return how each server, and its check, ended that was to serve an app with a mistake."""

    def fail(way: Way) -> tuple[int, int, str]:
        release = Release(tmp_path_factory.mktemp("fail"), way._replace(entrypoint="broken:app").app())
        (release.path / "app" / "broken.py").write_text("import no_such_module\n")
        server = ended(release.command(), release.log)
        return server, ended(release.command(release.app["runner"]["check"]), release.log), release.said()

    items = [item for item in request.session.items if item.fspath == request.fspath]
    wanted = dict.fromkeys(item.callspec.params["way"] for item in items if "failures" in item.fixturenames)
    with ThreadPoolExecutor(3) as pool:
        yield {way: pool.submit(fail, way) for way in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("way", ONCE, ids=str)
def test_an_app_that_cannot_be_imported_ends_the_server_and_its_check_with_an_error_that_says_why(
    failures: Mapping[Way, Future[tuple[int, int, str]]], way: Way
) -> None:
    server, check, said = failures[way].result()
    assert server != 0
    assert check != 0
    assert "No module named 'no_such_module'" in said


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Callable[..., Release]]:
    """Start releases that end with the test."""
    running: list[Release] = []

    def _release(server: Mapping[str, Any], place: str = "", setting: str = "", **environment: str) -> Release:
        running.append(Release(tmp_path / str(len(running)), resolved(server), place))
        if setting:
            with (running[-1].path / "server" / "uwsgi.ini").open("a") as config:
                config.write(setting)
        return running[-1].start(**environment)

    yield _release
    for one in running:
        one.end()


@pytest.mark.parametrize("way", ONCE, ids=str)
def test_a_server_ends_when_it_is_asked_to_while_it_loads_the_app(tmp_path: Path, way: Way) -> None:
    release = Release(tmp_path, way._replace(entrypoint="slow:app").app(graceful_timeout=1))
    (release.path / "app" / "slow.py").write_text("print('loading', flush=True)\nimport time\ntime.sleep(60)\n")
    try:
        release.process = release.command()
        release.until(lambda: "loading" in release.said())
        assert release.stop()[1] < 25
    finally:
        release.end()


@pytest.mark.parametrize("way", COOPERATIVE, ids=str)
def test_a_connection_whose_requests_are_all_there_leaves_others_their_turn(tmp_path: Path, way: Way) -> None:
    release = Release(tmp_path, way._replace(entrypoint="noting:eager").app(workers="1"))
    request = "GET {} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    try:
        release.start()
        with connect(release.place, PATIENCE) as eager, connect(release.place, PATIENCE) as other:
            for connection in (eager, other):
                connection.sendall(request.format("/").encode())
                assert connection.recv(1)
                connection.recv(4096)
            eager.sendall((request.format("/eager") * 150).encode())
            release.until(lambda: "/eager" in noted(release))
            other.sendall(request.format("/other").encode())
            (release.notes / "go").touch()
            seen = release.until(
                lambda: (found := noted(release)).count("/eager") == 150 and "/other" in found and found
            )
        assert seen.index("/other") < 75
    finally:
        release.end()


def noted(release: Release) -> list[str]:
    return (release.notes / "order").read_text().split()


def test_uwsgi_shows_its_statistics_on_the_port_of_the_slot_alone(release: Callable[..., Release]) -> None:
    port = free_port()
    release({"kind": "uwsgi", "workers": "2", "stats_port": 5000}, APP_STATS_PORT=str(port))
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        told = json.load(connection.makefile("rb"))
    assert len(told["workers"]) == 2


def test_uwsgi_ends_a_request_that_takes_too_long_and_goes_on_answering(release: Callable[..., Release]) -> None:
    # With threads, another request of the worker that ends in time takes the limit away.
    shop = release({"kind": "uwsgi", "workers": "1", "threads": 1, "timeout": 1})
    with pytest.raises(OSError, match=r"closed connection|reset"):
        shop.ask("/slow?s=30")
    assert "HARAKIRI" in shop.said()
    shop.until(shop.answers)


def test_uwsgi_replaces_a_worker_that_has_answered_enough(release: Callable[..., Release]) -> None:
    shop = release({"kind": "uwsgi", "workers": "1", "threads": 1, "max_requests": 3}, "", "min-worker-lifetime = 1")
    first = shop.until(shop.workers)
    shop.until(lambda: shop.answers() and (now := shop.workers()) and now != first)
    shop.until(shop.answers)


@pytest.mark.parametrize("kind", ["uwsgi", "gunicorn"])
def test_access_logs_are_written_when_wanted_and_else_not(release: Callable[..., Release], kind: str) -> None:
    for wanted in (True, False):
        shop = release({"kind": kind, "workers": "1", "access_log_enabled": wanted})
        assert shop.ask("/asked-for")[0] == 200
        shop.stop()
        assert ("GET /asked-for" in shop.said()) == wanted  # the echo says the path itself


def test_gunicorn_has_its_files_beside_its_socket_and_none_that_two_releases_share(
    release: Callable[..., Release],
) -> None:
    shop = release({"pid_file_enabled": True, "control_socket_enabled": True})
    assert shop.process
    shop.until(lambda: sorted(path.name for path in shop.run.iterdir()) == ["r1.ctl", "r1.pid"])
    assert int((shop.run / "r1.pid").read_text()) == shop.process.pid


# What an app gets to see, whatever the server makes of a request.


@pytest.fixture(scope="module")
def entry() -> ModuleType:
    """Return the module that loads the app, without one."""
    spec = importlib.util.spec_from_file_location("entry", LAUNCHERS / "entry.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(
        "app = 'app'\nclass site:\n    app = 'site.app'\n\ndef make(*given, **named):\n    return given, named\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)


@pytest.mark.parametrize(
    ("entrypoint", "found"),
    [
        ("shop:app", "app"),
        ("shop:site.app", "site.app"),
        ("shop:make()", ((), {})),
        ("shop:make('x', debug=False, hosts=['a', 1])", (("x",), {"debug": False, "hosts": ["a", 1]})),
    ],
)
def test_an_entrypoint_is_a_name_or_a_call_with_literals(
    entry: ModuleType, importable: None, entrypoint: str, found: Any
) -> None:
    assert entry.load(entrypoint) == found


@pytest.mark.parametrize("entrypoint", ["shop:make(app)", "shop:make(__import__('os'))", "shop:none", "none:app"])
def test_an_entrypoint_that_is_anything_else_is_an_error(entry: ModuleType, importable: None, entrypoint: str) -> None:
    with pytest.raises((ValueError, AttributeError, ImportError)):
        entry.load(entrypoint)


def settled(entry: ModuleType, **environ: str) -> dict[str, Any]:
    seen = {"wsgi.url_scheme": "http", "HTTP_HOST": "shop.example", "PATH_INFO": "/", "SCRIPT_NAME": "", **environ}
    entry.settle(seen)
    return seen


@pytest.mark.parametrize(
    ("prefix", "uri", "script", "path"),
    [
        ("", "/a", "", "/a"),
        ("/shop", "/shop/a", "/shop", "/a"),
        ("/shop", "/shop", "/shop", ""),
        ("/shop", "/shop/", "/shop", "/"),
        ("/shop", "/shopping", "", "/shopping"),  # not below it
        ("/shop", "/healthz", "", "/healthz"),
        ("/shop", "/shop/a%2Fb//c%20d?x=%2F", "/shop", "/a/b//c d"),
        ("", "/%C3%A9", "", "/Ã©"),  # bytes, as WSGI has them
        ("", "http://shop.example/a", "", "/seen"),  # of a proxy's request; the server knows better
        ("/shop", "", "", "/seen"),
    ],
)
@pytest.mark.parametrize("variable", ["REQUEST_URI", "RAW_URI"])
def test_prefix_and_path_are_what_the_client_asked_for(
    entry: ModuleType, variable: str, prefix: str, uri: str, script: str, path: str
) -> None:
    seen = settled(entry, **{variable: uri, "HTTP_X_FORWARDED_PREFIX": prefix, "PATH_INFO": "/seen"})
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (script, path)


def test_what_a_server_made_of_the_prefix_itself_makes_no_difference(entry: ModuleType) -> None:
    headers = {"HTTP_X_FORWARDED_PREFIX": "/shop"}
    for split in ({"SCRIPT_NAME": "/shop", "PATH_INFO": "/a"}, {"SCRIPT_NAME": "", "PATH_INFO": "/shop/a"}):
        seen = settled(entry, **headers, **split)
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/shop", "/a")


def test_scheme_address_and_port_are_the_clients(entry: ModuleType) -> None:
    said = {"HTTP_X_REAL_IP": "192.0.2.7", "HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_PORT": "8443"}
    seen = settled(
        entry, **said, REMOTE_ADDR="127.0.0.1", SERVER_NAME="unix", SERVER_PORT="", HTTP_HOST="a.example:8443"
    )
    names = ("wsgi.url_scheme", "REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT")
    assert [seen[name] for name in names] == ["https", "192.0.2.7", "a.example", "8443"]


def test_a_probe_without_any_of_these_headers_is_a_plain_request(entry: ModuleType) -> None:
    seen = {"wsgi.url_scheme": "http", "PATH_INFO": "/healthz"}
    entry.settle(seen)
    assert seen == {
        **{"wsgi.url_scheme": "http", "SCRIPT_NAME": "", "PATH_INFO": "/healthz", "REMOTE_ADDR": ""},
        **{"SERVER_NAME": "localhost", "SERVER_PORT": "80"},
    }


def test_a_header_that_is_spelled_like_a_variable_is_not_believed(entry: ModuleType) -> None:
    seen = settled(entry, HTTP_SCRIPT_NAME="/hostile")
    assert "HTTP_SCRIPT_NAME" not in seen
    assert seen["SCRIPT_NAME"] == ""


def test_over_the_uwsgi_protocol_the_web_server_says_what_was_asked_for(
    entry: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any client can send this header over HTTP.
    visit = {"HTTP_X_REQUEST_URI": "/a%2Fb", "REQUEST_URI": "/other"}
    assert settled(entry, **visit)["PATH_INFO"] == "/other"
    monkeypatch.setattr(entry, "UWSGI", True)
    seen = settled(entry, **visit)
    assert seen["PATH_INFO"] == "/a/b"
    assert "HTTP_X_REQUEST_URI" not in seen
