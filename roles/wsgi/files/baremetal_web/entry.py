# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app as every server gets it: whatever server and protocol, a request looks the same to it.

Only the web server in front can connect, and it sets what is believed here: X-Real-IP, X-Forwarded-Proto,
X-Forwarded-Port and X-Forwarded-Prefix.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

UWSGI = os.environ.get("APP_PROTOCOL") == "uwsgi"


def load(entrypoint: str) -> Any:
    """Return what ``module:name`` or ``module:factory(arguments)`` stands for; arguments are literals."""
    module, _colon, expression = entrypoint.partition(":")
    tree = ast.parse(expression, mode="eval").body
    arguments, keywords = [], {}
    if call := isinstance(tree, ast.Call):
        arguments = [ast.literal_eval(argument) for argument in tree.args]
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in tree.keywords}
        tree = tree.func
    found: Any = importlib.import_module(module)
    for name in ast.unparse(tree).split("."):
        found = getattr(found, name)
    return found(*arguments, **keywords) if call else found


def settle(environ: dict[str, Any]) -> None:
    """Let a WSGI environment tell of the client's request instead of the web server's."""
    # Spelled like this it came as a header, which some servers take for a variable, and others do not.
    environ.pop("HTTP_SCRIPT_NAME", None)
    prefix = environ.get("HTTP_X_FORWARDED_PREFIX", "")
    if UWSGI:
        # Only this protocol has it from the web server; elsewhere it is a header like any other.
        raw = environ.pop("HTTP_X_REQUEST_URI", "") or environ.get("REQUEST_URI", "")
    else:
        raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    if raw.startswith("/"):
        path = unquote_to_bytes(raw.partition("?")[0]).decode("latin-1")
    else:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    below = bool(prefix) and f"{path}/".startswith(f"{prefix}/")
    environ["SCRIPT_NAME"] = prefix if below else ""
    environ["PATH_INFO"] = path[len(prefix) :] if below else path
    environ["REMOTE_ADDR"] = environ.get("HTTP_X_REAL_IP") or environ.get("REMOTE_ADDR") or ""
    environ["wsgi.url_scheme"] = environ.get("HTTP_X_FORWARDED_PROTO") or environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST", "")
    environ["SERVER_NAME"] = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host or "localhost"
    default = "443" if environ["wsgi.url_scheme"] == "https" else "80"
    environ["SERVER_PORT"] = environ.get("HTTP_X_FORWARDED_PORT") or default


def wsgi(app: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a WSGI application."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        settle(environ)
        return app(environ, start_response)

    return application


def asgi(app: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an ASGI application."""

    async def application(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "lifespan":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            scope = {**scope, "root_path": headers.get(b"x-forwarded-prefix", "")}
            if UWSGI:
                raw = headers.get(b"x-request-uri", "").partition("?")[0]
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-request-uri"]
                scope["raw_path"], scope["path"] = raw.encode("latin-1"), unquote(raw)
            if address := headers.get(b"x-real-ip"):
                scope["client"] = (address, 0)
            if scheme := headers.get(b"x-forwarded-proto"):
                scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
            if port := headers.get(b"x-forwarded-port"):
                scope["server"] = (headers.get(b"host", "").rpartition(":")[0] or headers.get(b"host", ""), int(port))
        await app(scope, receive, send)

    return application


def tornado(app: Any) -> Any:
    """Let a Tornado application see the client's request; not every server of it can, and X-Scheme is a client's."""
    find = app.find_handler

    def find_handler(request: Any, **keywords: Any) -> Any:
        request.remote_ip = request.headers.get("X-Real-IP") or request.remote_ip
        request.protocol = request.headers.get("X-Forwarded-Proto") or request.protocol
        return find(request, **keywords)

    app.find_handler = find_handler
    return app


def main() -> Any:
    """Load the app that the environment names."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    wrap = {"wsgi": wsgi, "asgi": asgi, "tornado": tornado}[os.environ["APP_INTERFACE"]]
    return wrap(load(os.environ["APP_ENTRYPOINT"]))


application = main() if "APP_ENTRYPOINT" in os.environ else None
