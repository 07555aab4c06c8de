"""Runs on a host of the fleet: puts load on apps that say which release answers, judges the answers, prints JSON.

``load.py SPEC``; SPEC is JSON: {"targets": {name: URL}, "seconds": 60, "most": 100000, "rate": 0, "stop": path,
"connections": {kind: number}}. It ends after `seconds`, after about `most` requests, or as soon as the file `stop` is
there. It fails when it is told of a `stop` and ends before. That file may tell which releases were live, one after the
other: {name: [release, …]}. `rate` is in requests per second and connection, 0 for as fast as possible; slow requests
follow each other at once.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import sys
import threading
import time
import urllib.parse
from collections import Counter
from typing import NamedTuple

KINDS = {"kept": 2, "closed": 1, "post": 1, "slow": 2}
BODY = 64 * 1024
TIMEOUT = 40
SHOWN = 10


class Request(NamedTuple):
    """When a request began and ended, and what came of it."""

    target: str
    kind: str
    start: float
    end: float
    release: str
    wrong: str


class Client:
    """One connection after the other to one target, for one kind of request."""

    def __init__(self, target: str, url: str, kind: str):
        self.target, self.kind = target, kind
        self.url = urllib.parse.urlsplit(url)
        self.body = os.urandom(BODY) if kind == "post" else None
        self.digest = hashlib.sha256(self.body or b"").hexdigest()
        self.method = "POST" if kind == "post" else "GET"
        self.path = self.url.path.rstrip("/") + ("/slow?seconds=2" if kind == "slow" else "/")
        self.headers = {"Host": self.url.netloc, **({"Connection": "close"} if kind == "closed" else {})}
        address = socket.gethostbyname(self.url.hostname or "")  # once: names are not what is tested
        self.connection = http.client.HTTPConnection(address, self.url.port, timeout=TIMEOUT)

    def request(self) -> Request:
        """Send one request; whatever is wrong with its answer stands in the result."""
        start, release, wrong = time.monotonic(), "", ""
        try:
            self.connection.request(self.method, self.path, self.body, self.headers)
            response = self.connection.getresponse()
            content = response.read()
            if 200 <= response.status < 300:
                release, wrong = self.read(content)
            else:
                wrong = f"answer {response.status}"
        except (OSError, http.client.HTTPException) as error:
            wrong = f"no answer: {type(error).__name__} {error}".strip()
        if wrong or self.kind == "closed":
            self.connection.close()
        return Request(self.target, self.kind, start, time.monotonic(), release, wrong)

    def read(self, content: bytes) -> tuple[str, str]:
        """Return the release that an answer names, and what is wrong with the rest."""
        try:
            answer = json.loads(content)
            release = answer["release"]
        except (ValueError, LookupError, TypeError):
            return "", f"no release in the answer {content[:80]!r}"
        if self.body and (answer.get("length"), answer.get("sha256")) != (BODY, self.digest):
            return release, f"another body arrived: {answer.get('length')} bytes"
        return release, ""


def run(client: Client, rate: float, most: int, end: float, stopped: threading.Event) -> list[Request]:
    """Send requests until it is time to stop."""
    done: list[Request] = []
    while len(done) < most and time.monotonic() < end and not stopped.is_set():
        done.append(last := client.request())
        if rate and client.kind != "slow":
            stopped.wait(max(0.0, 1 / rate - (last.end - last.start)))
        elif last.wrong:
            stopped.wait(0.05)  # a server that is away is not asked a million times
    return done


def first_seen(requests: list[Request]) -> list[str]:
    """Return the releases in the order of their first answers."""
    return list(
        dict.fromkeys(
            request.release for request in sorted(requests, key=lambda request: request.end) if request.release
        )
    )


def back(requests: list[Request], live: list[str]) -> list[str]:
    """Find the requests that were answered by a release that was over when they began, or that was never live.

    Each request belongs to one turn of `live`. That is the first turn of its release that is not before the turn of any
    request that had ended when it began. Without such a turn, an older release answered after a newer one.
    """
    found = []
    ended = sorted((request for request in requests if request.release), key=lambda request: request.end)
    turns: dict[Request, int] = {}
    latest, index = 0, 0
    for request in sorted(ended, key=lambda request: request.start):
        while ended[index].end < request.start:
            latest = max(latest, turns[ended[index]])
            index += 1
        try:
            turns[request] = live.index(request.release, latest)
        except ValueError:
            turns[request] = latest
            when = "never" if request.release not in live else f"over, for {live[latest]} had answered"
            found.append(f"{request.kind}: {request.release} answered, which was {when}")
    return found


def judge(requests: list[Request], live: list[str] | None) -> dict[str, object]:
    """Sum up the requests to one target."""
    order = first_seen(requests)
    return {
        "count": len(requests),
        "kinds": Counter(request.kind for request in requests),
        "failed": Counter(request.kind for request in requests if request.wrong),
        "slowest": {
            kind: round(max(r.end - r.start for r in requests if r.kind == kind), 2)
            for kind in {r.kind for r in requests}
        },
        "releases": order,
        "answers": Counter(request.release for request in requests if request.release),
        "back": Counter(back(requests, order if live is None else live)),
    }


def main(spec: dict) -> dict[str, object]:
    """Put load on all targets at once, and return the judgement."""
    began, cpu = time.monotonic(), time.process_time()
    stop, connections = spec.get("stop", ""), {**KINDS, **spec.get("connections", {})}
    clients = [
        Client(target, url, kind)
        for target, url in spec["targets"].items()
        for kind, number in connections.items()
        for _ in range(number)
    ]
    most = max(1, spec.get("most", 100_000) // len(clients))
    stopped = threading.Event()
    done: list[list[Request]] = []
    threads = [
        threading.Thread(
            target=lambda client=client: done.append(
                run(client, spec.get("rate", 0), most, began + spec["seconds"], stopped)
            )
        )
        for client in clients
    ]
    for thread in threads:
        thread.start()
    live: dict[str, list[str]] = {}
    while any(thread.is_alive() for thread in threads):
        if stop and not stopped.is_set() and os.path.exists(stop):
            with open(stop, encoding="utf-8") as stream:
                live = json.loads(stream.read() or "{}")
            stopped.set()
        time.sleep(0.1)
    if len(done) < len(clients):
        raise SystemExit("a connection ended before its time")
    if stop and not stopped.is_set():
        # What came after it was seen by nobody.
        raise SystemExit(f"the load ended by itself after {time.monotonic() - began:.0f} s, before {stop} was there")
    requests = [request for some in done for request in some]
    seconds = time.monotonic() - began
    errors = sorted((request for request in requests if request.wrong), key=lambda request: request.start)
    return {
        "seconds": round(seconds, 1),
        "cpu": round(time.process_time() - cpu, 1),
        "rate": round(len(requests) / seconds),
        "count": len(requests),
        "failed": len(errors),
        "errors": [f"{e.start - began:.2f} s: {e.target} {e.kind}: {e.wrong}" for e in errors[:SHOWN]],
        "targets": {
            target: judge([request for request in requests if request.target == target], live.get(target))
            for target in spec["targets"]
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
