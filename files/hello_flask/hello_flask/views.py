"""The endpoints."""

import math
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import BadRequest, ServiceUnavailable

from .api import server_api

if TYPE_CHECKING:
    from .counter import Counter

Number = TypeVar("Number", int, float)

views = Blueprint("views", __name__)


@views.get("/")
def index() -> str:
    """Say who answered, with links to the other endpoints."""
    return render_template(
        "index.html",
        host=socket.gethostname(),
        release=current_app.config["APP_RELEASE"],
        server=request.environ.get("SERVER_SOFTWARE", "unknown"),
    )


@views.get("/hello")
def hello() -> Response:
    """Answer a sentence in UTF-8 after a millisecond's wait, as an endpoint with a quick database would."""
    time.sleep(0.001)
    return Response(f"我要吃{10 + 10 * 10}个苹果", content_type="text/plain; charset=utf-8")


@views.post("/server")
def server() -> Response:
    """Answer what the API makes of the "data" of a JSON object."""
    try:
        match request.get_json(silent=True):
            case {"data": data}:
                return jsonify(server_api(data))
            case _:
                raise BadRequest('Send a JSON object with the key "data", as application/json.')
    except (RecursionError, ValueError) as error:
        raise BadRequest("The JSON is nested too deeply or holds a value that JSON cannot express.") from error


@views.get("/cpu-bound")
def cpu_bound() -> dict[str, Any]:
    """Multiply the numbers from 1 to n."""
    n = number("n", int, default=2000, low=1, high=100_000)
    start = time.perf_counter()
    product = 1
    for factor in range(2, n + 1):
        product *= factor
    # The logarithm counts the digits without the number's slow, and by default limited, conversion to text.
    digits = math.floor(math.log10(product)) + 1
    return {"n": n, "digits": digits, "milliseconds": milliseconds_since(start)}


@views.get("/io-bound")
def io_bound() -> dict[str, Any]:
    """Sleep, as if waiting for another machine."""
    seconds = number("seconds", float, default=0.1, low=0, high=10)
    start = time.perf_counter()
    time.sleep(seconds)
    return {"seconds": seconds, "milliseconds": milliseconds_since(start)}


@views.get("/counter")
def read_counter() -> dict[str, int]:
    """Answer how often the counter was increased."""
    return {"counter": counter().read()}


@views.post("/counter")
def add_to_counter() -> dict[str, int]:
    """Increase the counter by one."""
    return {"counter": counter().add()}


@views.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "ok"}


@views.get("/readyz")
def readyz() -> tuple[dict[str, Any], int]:
    """Say whether every dependency answers."""
    results = current_app.extensions["readiness"].results()
    if failed := [name for name, passed in results.items() if not passed]:
        current_app.logger.warning("Not ready, failed checks: %s", ", ".join(failed))
    return {
        "status": "failed" if failed else "ok",
        "checks": {name: "ok" if passed else "failed" for name, passed in results.items()},
    }, 503 if failed else 200


def number(name: str, convert: Callable[[str], Number], *, default: Number, low: Number, high: Number) -> Number:
    """Return a number of the query string, if it lies between the bounds."""
    with suppress(ValueError):
        value = convert(request.args.get(name, str(default)))
        if low <= value <= high:
            return value
    kind = "a whole number" if convert is int else "a number"
    raise BadRequest(f"{name} must be {kind} from {low} to {high}.")


def counter() -> "Counter":
    """Return the counter, if there is a Redis to keep it."""
    found: Counter | None = current_app.extensions.get("counter")
    if found is None:
        raise ServiceUnavailable("No Redis is configured to keep the counter. Set REDIS_URL or REDIS_HOST.")
    return found


def milliseconds_since(start: float) -> float:
    """Return the time since the start, as told by the performance counter."""
    return round((time.perf_counter() - start) * 1000, 3)
