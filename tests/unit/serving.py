"""A release with the server of its kind, laid out and started as on a host."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shlex
import signal
import string
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from ansible.plugins.filter.core import FilterModule

from ansible_collections.baremetal.web.plugins.action.release_stage import server_files
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import AddressConnection, connect
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import resolve
from conftest import HOST, LAUNCHER, OWNER, PATIENCE, ROOT

TEMPLATES = ROOT / "roles" / "wsgi" / "templates" / "server"
# The echo, which makes a file when it begins to answer a request that asks for it.
NOTING = """
import os
import echo
from echo import asgi, flask, tornado, wsgi

def pause(path, query, before=echo.pause):
    if note := query.partition("&note=")[2]:
        open(os.path.join(os.environ["NOTES"], note), "w").close()
    return before(path, query.partition("&")[0])

echo.pause = pause

def eager(environ, start_response):
    # Computes, never waits, and notes who was answered in which order; the first one computes until the test says go.
    sum(range(100_000))
    path = environ["PATH_INFO"]
    with open(os.path.join(os.environ["NOTES"], "order"), "a") as notes:
        print(path, file=notes)
    while path == "/eager" and not os.path.exists(os.path.join(os.environ["NOTES"], "go")):
        pass
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def resolved(server: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Resolve an app that has this server, for a host with two processors."""
    app = {
        "name": "shop",
        "source": {"path": "molecule/echo"},
        "entrypoint": "noting:wsgi",
        "environment": {"APP_ENV": "development"},
        "server": dict(server or {}),
        **keys,
    }
    (app,) = resolve([app], root="/srv/wsgi", search=[str(ROOT)], **HOST)["apps"]
    return app


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FilterModule().filters())
    return environment


def configuration(app: Mapping[str, Any]) -> str:
    """Render the configuration of the app's server; empty where it has none."""
    if not (name := app["runner"]["template"]):
        return ""
    return _environment().get_template(f"{name}.j2").render(__wsgi_app=app, ansible_managed="Ansible managed")


class Release:
    """The release of an app in a directory, whose environment is that of the tests."""

    def __init__(self, directory: Path, app: dict[str, Any], place: str = ""):
        self.app = app
        self.path = directory / "releases" / "r1"
        self.run, self.sockets = directory / "run", directory / "sockets"
        self.place = place or str(self.sockets / "r1.sock")
        self.log = directory / "log"
        self.notes = directory / "notes"
        for path in (self.path / "app", self.run, self.sockets, self.notes, directory / "data"):
            path.mkdir(parents=True)
        (self.path / "venv").symlink_to(sys.prefix)
        (self.path / "app" / "echo.py").write_text((ROOT / "molecule" / "echo" / "echo.py").read_text())
        (self.path / "app" / "noting.py").write_text(NOTING)
        for name, text in server_files(app, configuration(app)).items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        self.process: subprocess.Popen | None = None
        self.environment = {
            "PATH": f"{self.path}/venv/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{self.path}/server",
            "NOTES": str(self.notes),
            **app["program"]["environment"],
            "HOME": str(directory / "data"),
            "APP_RELEASE": "r1",
            "APP_ENTRYPOINT": app["entrypoint"],
            "APP_INTERFACE": app["interface"],
            "APP_PROTOCOL": app["runner"]["endpoint"]["protocol"],
            "APP_SOCKET": self.place,
        }

    def filled(self, text: str) -> str:
        """Fill in the places of a command, as the module release does."""
        return string.Template(text).substitute(python=f"{self.path}/venv/bin/python", release=str(self.path))

    def command(self, line: str = "", **environment: str) -> subprocess.Popen:
        """Start a command of the table in the release, its server when none is named, as supervisord starts it."""
        command = shlex.split(self.filled(line or self.app["program"]["command"]))
        if not line and self.place.startswith("/"):
            command = [*shlex.split(LAUNCHER), f"user={OWNER}", f"socket={self.place}", "--", *command]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.filled(self.app["program"]["directory"]),
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self, **environment: str) -> Release:
        """Start the server; return when it answers."""
        self.process = self.command(**environment)
        self.until(self.answers)
        return self

    def until(self, condition: Callable[[], Any]) -> Any:
        """Return the first true answer; fail with the server's log when there is none in time."""
        end = time.monotonic() + PATIENCE
        while not (answer := condition()):
            assert time.monotonic() < end, f"waited too long\n{self.said()}"
            assert self.process is None or self.process.poll() is None, f"it has ended\n{self.said()}"
            time.sleep(0.02)
        return answer

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def answers(self) -> bool:
        try:
            return self.ask("/", timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def workers(self) -> list[int]:
        """Return the processes that the server has begun."""
        assert self.process
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def stop(self) -> tuple[int, float]:
        """Ask the server to end; return its status and how long it took."""
        assert self.process
        begun = time.monotonic()
        self.process.terminate()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on {PATIENCE} s after SIGTERM\n{self.said()}") from None
        return status, time.monotonic() - begun

    def end(self) -> None:
        """Kill whatever is left of it."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            finally:
                self.process.wait(PATIENCE)

    def send(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
        timeout: float = PATIENCE,
    ) -> Callable[[], tuple[int, bytes]]:
        """Send a request as the web server in front does; return what reads the answer."""
        headers = {"Host": "shop.example", **(headers or {})}
        if self.environment["APP_PROTOCOL"] == "http":
            client = AddressConnection(self.place, timeout)
            client.request(method, path, body or None, headers)

            def read() -> tuple[int, bytes]:
                response = client.getresponse()
                return response.status, response.read()

            return read
        connection = connect(self.place, timeout)
        connection.sendall(packet(path, headers, method, body) + body)

        def read_uwsgi() -> tuple[int, bytes]:
            with connection, http.client.HTTPResponse(connection, method=method) as response:
                response.begin()
                return response.status, response.read()

        return read_uwsgi

    def ask(self, path: str, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        return self.send(path, *arguments, **options)()

    def asked(self, path: str, **options: Any) -> dict[str, Any]:
        """Return what the echo says of a request."""
        return json.loads(self.ask(path, **options)[1])


def packet(path: str, headers: Mapping[str, str], method: str, body: bytes) -> bytes:
    """Return a request in the uwsgi protocol, with the variables that nginx sets."""
    plain, _mark, query = path.partition("?")
    variables = {
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "REQUEST_URI": path,
        # nginx unquotes it, and makes one slash of several.
        "PATH_INFO": plain.replace("%2F", "/").replace("%20", " ").replace("//", "/"),
        "SCRIPT_NAME": headers.get("SCRIPT_NAME", ""),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.99",
        "SERVER_PORT": "80",
        "SERVER_NAME": "localhost",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items() if "_" not in name},
        "HTTP_X_REQUEST_URI": path,
    }
    words = (word.encode("latin-1") for pair in variables.items() for word in pair)
    content = b"".join(struct.pack("<H", len(word)) + word for word in words)
    return struct.pack("<BHB", 0, len(content), 0) + content
