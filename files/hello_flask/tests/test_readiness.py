"""The registry of readiness checks."""

import threading
from collections.abc import Iterator
from threading import Event, Thread
from time import monotonic

import pytest
from flask import Flask

from hello_flask.readiness import Readiness


@pytest.fixture
def release() -> Iterator[Event]:
    """An event that hanging checks wait for; it comes at the end of the test."""
    event = Event()
    before = set(threading.enumerate())
    yield event
    event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_a_hanging_check_fails_without_holding_up_the_answer_or_the_other_checks(release: Event):
    readiness = Readiness(time_limit=0.1)
    readiness.add("hanging", release.wait)
    readiness.add("working", lambda: True)
    start = monotonic()
    assert readiness.results() == {"hanging": False, "working": True}
    assert monotonic() - start < 1


def test_hanging_checks_together_take_one_time_limit(release: Event):
    readiness = Readiness(time_limit=0.2)
    for number in range(10):
        readiness.add(str(number), release.wait)
    start = monotonic()
    assert not any(readiness.results().values())
    assert monotonic() - start < 1


def test_a_hanging_check_is_not_started_again(release: Event):
    asked: list[str] = []

    def hangs() -> bool:
        asked.append("once")
        return release.wait()

    readiness = Readiness(time_limit=0.05)
    readiness.add("hanging", hangs)
    for _ in range(3):
        assert readiness.results() == {"hanging": False}
    assert asked == ["once"]


def test_a_check_that_recovers_passes_again():
    answers = iter([False, True])
    readiness = Readiness()
    readiness.add("database", lambda: next(answers))
    assert [readiness.results(), readiness.results()] == [{"database": False}, {"database": True}]


def test_requests_at_the_same_time_all_pass():
    readiness = Readiness()
    readiness.add("slow", lambda: not Event().wait(0.02))
    results: list[dict[str, bool]] = []
    threads = [Thread(target=lambda: results.append(readiness.results())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [{"slow": True}] * 5


def test_each_application_has_its_own_checks(app: Flask):
    app.extensions["readiness"].add("database", lambda: True)
    assert app.extensions["readiness"].results() == {"database": True}
    assert Readiness().results() == {}
