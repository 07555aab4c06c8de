"""The smallest app that says who answers: every answer names its release. FAILS in the environment makes a bad one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

RELEASE = os.environ.get("APP_RELEASE", "")
VERSION = os.environ.get("VERSION", "1")
FAILS = os.environ.get("FAILS", "")
DEATHS: dict[str, Callable[[], None]] = {
    "dies": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "workers_die": lambda: os._exit(1),
}

if FAILS == "import":
    raise RuntimeError("this release cannot be imported")
# In a worker only: the server's checker imports the app, too, and its parent is not the server.
if FAILS in DEATHS and "--check-config" not in sys.argv:
    threading.Timer(3, DEATHS[FAILS]).start()


def root(environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Say who answers, and what came with the request."""
    if environ["REQUEST_METHOD"] != "POST":
        return "200 OK", {}
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return "200 OK", {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def slow(environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Take as many seconds as asked for, 10 at most."""
    (seconds,) = parse_qs(environ["QUERY_STRING"]).get("seconds", ["2"])
    time.sleep(min(float(seconds), 10))
    return "200 OK", {}


def health(environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Say whether this release is fit to serve."""
    return ("500 Internal Server Error" if FAILS == "health" else "200 OK"), {}


def unknown(environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Refuse any other path."""
    return "404 Not Found", {}


PAGES = {"/": root, "": root, "/slow": slow, "/healthz": health}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer in JSON."""
    if FAILS == "hangs":
        time.sleep(60)
    status, answer = PAGES.get(environ["PATH_INFO"], unknown)(environ)
    body = json.dumps({"release": RELEASE, "version": VERSION, "pid": os.getpid(), **answer}).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
