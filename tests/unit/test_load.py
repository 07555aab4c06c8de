"""The load generator of the scenarios finds what it looks for: shown on servers that do wrong on purpose."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MOLECULE = Path(__file__).resolve().parents[2] / "molecule"
OLD, NEW, OLDER = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"


def module(path: Path) -> ModuleType:
    """Load a module of the scenarios, none of which is a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


load, stamped = module(MOLECULE / "load.py"), module(MOLECULE / "stamped" / "stamped.py")


class Handler(BaseHTTPRequestHandler):
    """Answers as the test app does, by that app itself, under the release that the test names for the n-th request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    release: Callable[[int], str]
    spoil: Callable[[bytes], bytes]
    count = 0

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        answered: list[str] = []
        environ = {
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": self.headers.get("Content-Length", "0"),
            "wsgi.input": self.rfile,
        }
        (body,) = stamped.app(environ, lambda status, headers: answered.append(status))
        type(self).count += 1
        release = type(self).release(type(self).count)
        if release == "reset":
            self.close_connection = True
            return
        body = type(self).spoil(json.dumps({**json.loads(body), "release": release}).encode())
        self.send_response(500 if release == "error" else int(answered[0].split()[0]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def server(release: Callable[[int], str], spoil: Callable[[bytes], bytes] = bytes) -> Iterator[str]:
    """Run a server on a port of its own; return its address."""
    handler = type("Bad", (Handler,), {"release": staticmethod(release), "spoil": staticmethod(spoil)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def result(url: str, **spec: Any) -> dict[str, Any]:
    """Put a little load on a server; return the judgement."""
    return load.main({"targets": {"it": url}, "seconds": 120, "most": 120, "connections": {"slow": 0}, **spec})


def request(release: str, start: float, end: float) -> Any:
    """Return a request that was answered."""
    return load.Request("it", "kept", start, end, release, "")


def test_a_server_that_does_well_gets_no_complaint() -> None:
    with server(lambda count: OLD if count < 50 else NEW) as url:
        found = result(url, connections={"kept": 1, "closed": 0, "post": 0, "slow": 0})
    assert found["failed"] == 0
    assert found["count"] == 120
    assert found["targets"]["it"]["releases"] == [OLD, NEW]
    assert found["targets"]["it"]["answers"] == {OLD: 49, NEW: 71}
    assert found["targets"]["it"]["back"] == {}


@pytest.mark.parametrize(
    ("bad", "text"), [("error", "answer 500"), ("reset", "RemoteDisconnected"), ("", "no release in the answer")]
)
def test_each_failed_request_is_counted_and_told(bad: str, text: str) -> None:
    def spoil(body: bytes) -> bytes:
        return b"nothing" if bad == "" and b'"release": ""' in body else body

    with server(lambda count: bad if count % 40 == 0 else OLD, spoil) as url:
        found = result(url)
    assert found["failed"] == 3
    assert all(text in error for error in found["errors"])
    assert len(found["errors"]) == 3


def test_a_server_that_is_not_there_fails_every_request() -> None:
    with server(lambda count: OLD) as url:
        pass
    found = result(url, most=8)
    assert found["failed"] == found["count"] == 8
    assert "ConnectionRefusedError" in found["errors"][0]


def test_a_body_that_arrives_changed_is_a_failure() -> None:
    with server(lambda count: OLD, lambda body: body.replace(b'"sha256": "', b'"sha256": "0')) as url:
        found = result(url)
    assert found["targets"]["it"]["failed"] == {"post": 30}


def test_going_back_is_found() -> None:
    with server(lambda count: OLD if count < 20 or count == 60 else NEW) as url:
        found = result(url, connections={"kept": 1, "closed": 0, "post": 0, "slow": 0})
    assert found["failed"] == 0
    assert found["targets"]["it"]["back"] == {f"kept: {OLD} answered, which was over, for {NEW} had answered": 1}


def test_slow_requests_are_always_in_flight_and_the_end_is_when_the_file_says_so(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    told: list[float] = []

    def release(count: int) -> str:
        if count >= 40 and not told:
            told.append(time.monotonic())
            stop.write_text(json.dumps({"it": [OLD, NEW]}))
        return OLD

    began = time.monotonic()
    with server(release) as url:
        found = result(url, most=10**6, rate=20, stop=str(stop), connections={"slow": 1}, seconds=60)
    ended = time.monotonic()
    slow = found["targets"]["it"]["kinds"]["slow"]
    # A slow request takes 2 s. Four connections send the others, 80 in a second.
    assert 2 * slow <= ended - began < 30
    assert 1 <= slow <= 1 + (ended - began) / 2
    assert told[0] - began >= 0.4
    assert 40 <= found["count"] <= 4 * (1 + 20 * (ended - began)) + slow
    assert found["failed"] == 0


@pytest.mark.parametrize("bound", [{"seconds": 1}, {"most": 8}])
def test_a_load_that_ends_before_it_is_told_to_is_no_load(tmp_path: Path, bound: dict[str, int]) -> None:
    with server(lambda count: OLD) as url, pytest.raises(SystemExit, match="ended by itself after"):
        result(url, stop=str(tmp_path / "stop"), rate=20, **bound)


@pytest.mark.parametrize(
    ("live", "requests", "complaints"),
    [
        ([OLD, NEW], [(OLD, 0, 9), (NEW, 1, 2), (OLD, 1.5, 3)], 0),  # all three began before the first one ended
        ([OLD, NEW], [(OLD, 0, 1), (NEW, 2, 3), (OLD, 4, 5)], 1),
        ([OLD, NEW, OLD], [(OLD, 0, 1), (NEW, 2, 3), (OLD, 4, 5)], 0),  # a rollback
        ([OLD, NEW, OLD], [(OLD, 0, 1), (NEW, 2, 3), (OLD, 4, 5), (NEW, 6, 7)], 1),  # back after a rollback
        ([OLD, NEW], [(OLDER, 0, 1), (OLD, 2, 3)], 1),  # a release that was never live
        ([OLD, NEW, OLDER], [(OLD, 0, 1), (OLDER, 2, 3)], 0),  # nobody asked meanwhile
    ],
)
def test_an_order_is_judged_by_what_was_live(live: list[str], requests: list[tuple], complaints: int) -> None:
    assert len(load.back([request(*one) for one in requests], live)) == complaints
