"""The counter in Redis, asked of a real server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hello_flask import create_app

PASSWORD = "open sesame, open sesame"
PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


class Server:
    """A Redis that can be stopped and started again, on a port that it keeps."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        self.environ = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port), "REDIS_PASSWORD": PASSWORD}

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory), "--save", "3600 1"]
        command = [str(PROGRAM), *options, "--requirepass", PASSWORD]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        with socket.socket() as client:
            while client.connect_ex(("127.0.0.1", self.port)):
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if not PROGRAM:
        pytest.skip("needs redis-server or valkey-server")
    running = Server(tmp_path)
    running.start()
    yield running
    running.stop()


def status(client: FlaskClient) -> tuple[int, dict[str, str]]:
    response = client.get("/readyz")
    return response.status_code, response.json["checks"]


def test_without_redis_the_counter_says_what_to_set(client: FlaskClient):
    for response in (client.get("/counter"), client.post("/counter")):
        assert response.status_code == 503
        assert "REDIS_URL or REDIS_HOST" in response.json["error"]["detail"]


def test_without_redis_its_client_is_not_loaded():
    script = "import sys, hello_flask; hello_flask.create_app({}); print('redis' in sys.modules)"
    command, folder = [sys.executable, "-c", script], Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_counter_counts_for_all(server: Server):
    first, second = (create_app(server.environ).test_client() for _ in range(2))
    assert first.get("/counter").json == {"counter": 0}
    assert first.post("/counter").json == {"counter": 1}
    assert second.post("/counter").json == {"counter": 2}
    assert first.get("/counter").json == {"counter": 2}
    assert status(first) == (200, {"redis": "ok"})


def test_an_address_says_the_same_as_its_parts(server: Server):
    address = f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{server.port}/0"
    create_app(server.environ).test_client().post("/counter")
    assert create_app({"REDIS_URL": address}).test_client().get("/counter").json == {"counter": 1}


def test_development_counts_by_itself(server: Server):
    create_app(server.environ).test_client().post("/counter")
    development = create_app({**server.environ, "APP_ENV": "development"}).test_client()
    assert development.get("/counter").json == {"counter": 0}


def test_the_application_starts_without_redis_says_so_and_recovers(server: Server, capsys: pytest.CaptureFixture[str]):
    server.stop()
    client = create_app(server.environ).test_client()
    assert status(client) == (503, {"redis": "failed"})
    response = client.post("/counter")
    assert (response.status_code, response.json["error"]["title"]) == (503, "Service Unavailable")
    assert str(server.port) not in response.text
    assert client.get("/healthz").status_code == client.get("/hello").status_code == 200
    server.start()
    assert status(client) == (200, {"redis": "ok"})
    assert client.post("/counter").json == {"counter": 1}
    log = capsys.readouterr().err
    assert "Connection refused" in log
    assert PASSWORD not in log


def test_a_kept_connection_that_broke_is_replaced_and_nothing_is_counted_twice(server: Server):
    client = create_app(server.environ).test_client()
    for expected in range(1, 4):
        assert client.post("/counter").json == {"counter": expected}
        server.stop()
        server.start()


def test_a_redis_that_hangs_holds_nobody_up_for_long(server: Server):
    client = create_app(server.environ).test_client()
    client.post("/counter")
    server.process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    assert client.post("/counter").status_code == 503
    assert status(client) == (503, {"redis": "failed"})
    assert time.monotonic() - start < 4


def test_a_wrong_password_is_not_ready_and_not_told(server: Server, capsys: pytest.CaptureFixture[str]):
    app = create_app({**server.environ, "REDIS_PASSWORD": "swordfish"})
    assert status(app.test_client()) == (503, {"redis": "failed"})
    assert app.test_client().get("/counter").status_code == 503
    log = capsys.readouterr().err
    assert "AuthenticationError" in log
    assert "swordfish" not in log + str(app.config)


def test_a_password_file_may_come_and_change_after_the_start(server: Server, tmp_path: Path):
    file = tmp_path / "password"
    environ = {name: value for name, value in server.environ.items() if name != "REDIS_PASSWORD"}
    client = create_app({**environ, "REDIS_PASSWORD_FILE": str(file)}).test_client()
    assert status(client) == (503, {"redis": "failed"})
    file.write_text("swordfish\n")
    assert status(client) == (503, {"redis": "failed"})
    file.write_text(f"{PASSWORD}\n")
    assert status(client) == (200, {"redis": "ok"})


def test_processes_that_come_from_one_do_not_share_a_connection(server: Server, app_in_children: Callable[..., bytes]):
    app = create_app(server.environ)
    assert app.test_client().post("/counter").json == {"counter": 1}  # before the fork, as a preloading server may
    assert app_in_children(app, 4, 25) == b"." * 4
    assert app.test_client().get("/counter").json == {"counter": 101}


@pytest.fixture
def app_in_children() -> Callable[[Flask, int, int], bytes]:
    """Count in several processes at once; return a dot for each that went well."""

    def _run(app: Flask, processes: int, times: int) -> bytes:
        reader, writer = os.pipe()
        children = []
        for _ in range(processes):
            if not (child := os.fork()):
                good = all(app.test_client().post("/counter").status_code == 200 for _ in range(times))
                os.write(writer, b"." if good else b"x")
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            return stream.read()

    return _run
