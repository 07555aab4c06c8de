"""Background programs of the kinds that people have: each takes tasks from Redis and notes what it has done."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import celery
import redis
import rq

VERSION = "one"
NOTES = Path(os.environ["HOME"]) / "notes"
app = celery.Celery("tasks", broker=os.environ["RQ_REDIS_URL"])
app.conf.broker_connection_retry_on_startup = True


def store() -> redis.Redis:
    return redis.Redis.from_url(os.environ["RQ_REDIS_URL"])


def note(kind: str, number: int, what: str) -> None:
    line = json.dumps({"kind": kind, "number": number, "what": what, "version": VERSION, "process": os.getpid()})
    with NOTES.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(line + "\n")


def work(kind: str, number: int, seconds: float) -> None:
    note(kind, number, "begun")
    time.sleep(seconds)
    note(kind, number, "done")


@app.task(name="work")
def celery_work(number: int, seconds: float) -> None:
    work("celery", number, seconds)


def rq_work(number: int, seconds: float) -> None:
    work("rq", number, seconds)


def taken(kind: str) -> Iterator[tuple[int, float]]:
    """Take tasks until a signal asks to end."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    connection = store()
    while not asked:
        if found := connection.blpop([kind], timeout=1):
            yield tuple(json.loads(found[1]))


def produce() -> None:
    """Hand the tasks on to what reads this program's output."""
    for number, seconds in taken("pipeline"):
        print(number, seconds, flush=True)


def consume(lines: Iterable[str]) -> None:
    """Do what the other program hands on, to the end of its output."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    for number, seconds in map(str.split, lines):
        work("pipeline", int(number), float(seconds))


def fork() -> None:
    """Do each task in a child; when asked to end, wait for them."""
    for number, seconds in taken("fork"):
        if not os.fork():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work("fork", number, seconds)
            os._exit(0)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def leave() -> None:
    """Start children that nobody ends, one of them in a session of its own."""
    for number in (1, 2):
        if not os.fork():
            if number == 2:
                os.setsid()
            note("leave", number, "begun")
            time.sleep(86400)
    signal.pause()


def send(number: int, seconds: float) -> None:
    """Give one task to every kind of program."""
    celery_work.delay(number, seconds)
    rq.Queue(connection=store()).enqueue("tasks.rq_work", number, seconds, job_timeout=600)
    for kind in ("pipeline", "fork"):
        store().rpush(kind, json.dumps([number, seconds]))


def application(_environ: dict[str, object], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]


if __name__ == "__main__":
    {
        "produce": produce,
        "consume": lambda: consume(sys.stdin),
        "fork": fork,
        "leave": leave,
        "send": lambda: send(int(sys.argv[2]), float(sys.argv[3])),
    }[sys.argv[1]]()
