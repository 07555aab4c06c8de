"""The request id: one word that ties together a response, its log lines and the proxy's."""

import re
from uuid import uuid4

from flask import Response, request

HEADER = "X-Request-ID"
SAFE = re.compile(r"[A-Za-z0-9._-]{1,64}")
ENVIRON_KEY = "hello_flask.request_id"


def request_id() -> str:
    """Return the id of the current request: the one that came with it if it is safe to log, else a new one."""
    current: str | None = request.environ.get(ENVIRON_KEY)
    if current is None:
        given = request.headers.get(HEADER, "")
        current = request.environ[ENVIRON_KEY] = given if SAFE.fullmatch(given) else uuid4().hex
    return current


def send_request_id(response: Response) -> Response:
    """Send the request id back with the response."""
    response.headers[HEADER] = request_id()
    return response
