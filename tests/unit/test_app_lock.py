"""The lock of an app: of two who want to release, one does, and the other is told who, when and why."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError, utc
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock
from conftest import PATIENCE


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home("shop", str(tmp_path))
    os.makedirs(home.path)
    return home


@pytest.fixture
def mine(home: Home) -> AppLock:
    return AppLock(home, "run-1", "me@here")


@pytest.fixture
def yours(home: Home) -> AppLock:
    return AppLock(home, "run-2", "you@there")


def test_who_holds_the_lock_is_told_with_the_time_and_the_reason(mine: AppLock, yours: AppLock) -> None:
    mine.take(60, message="the spring sale")
    with pytest.raises(ReleaseError) as refusal:
        yours.take(60)
    since, expires = (utc(mine.holder()[key]) for key in ("since", "expires"))
    for part in (
        f"locked by me@here since {since} (the spring sale)",
        f"The lock ends at {expires}",
        "lock_wait",
        "app=shop",
    ):
        assert part in str(refusal.value)
    assert yours.shown() == {"by": "me@here", "since": since, "message": "the spring sale", "expires": expires}
    assert stat.S_IMODE(os.stat(mine.path).st_mode) == 0o600


def test_nobody_holds_a_lock_that_was_given_up(mine: AppLock, yours: AppLock) -> None:
    mine.take(60)
    mine.give_up()
    mine.give_up()
    assert yours.shown() == {}
    yours.take(60)
    assert yours.holder()["by"] == "you@there"


def test_the_same_run_makes_its_lock_last_longer_and_keeps_since_when_and_why(mine: AppLock) -> None:
    mine.take(10, message="the spring sale")
    first = mine.holder()
    mine.take(100)
    again = mine.holder()
    assert again["expires"] > first["expires"] + 80
    assert {key: again[key] for key in ("since", "message")} == {key: first[key] for key in ("since", "message")}


def test_the_lock_of_a_run_that_was_cut_off_expires(
    mine: AppLock, yours: AppLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.take(60)
    later = time.time() + 60
    with pytest.raises(ReleaseError):
        yours.take(60)
    monkeypatch.setattr(time, "time", lambda: later)
    assert yours.shown() == {}
    yours.take(60)
    mine.give_up()
    assert yours.holder()["run"] == "run-2"


def test_a_lock_is_waited_for(mine: AppLock, yours: AppLock) -> None:
    mine.take(60)
    threading.Timer(0.3, mine.give_up).start()
    yours.take(60, wait=PATIENCE)
    assert yours.holder()["run"] == "run-2"


def test_a_lock_that_is_not_free_in_time_is_told_with_how_long_it_was_waited_for(mine: AppLock, yours: AppLock) -> None:
    mine.take(60)
    before = time.monotonic()
    with pytest.raises(ReleaseError, match=r"After 0\.3 s the app is still locked by me@here"):
        yours.take(60, wait=0.3)
    assert time.monotonic() - before < PATIENCE / 2


def test_an_app_that_is_frozen_by_hand_stays_so_until_it_is_unlocked(mine: AppLock, yours: AppLock) -> None:
    mine.freeze("the audit")
    assert yours.shown()["expires"] == "never"
    with pytest.raises(ReleaseError, match=r"locked by me@here .* \(the audit\)\. The lock has no end"):
        yours.take(60)
    with pytest.raises(ReleaseError, match="the audit"):
        AppLock(mine.home, "run-1", "me@here").take(60)
    yours.give_up()
    assert yours.holder()
    yours.remove()
    yours.take(60)


def test_an_app_that_is_being_released_cannot_be_frozen(mine: AppLock, yours: AppLock) -> None:
    mine.take(60)
    with pytest.raises(ReleaseError, match="locked by me@here"):
        yours.freeze("the audit")


@pytest.mark.parametrize("text", ["", "{", '{"run": "run-1", "by": "me@he'])
def test_a_lock_that_was_written_in_part_holds_nobody_up(mine: AppLock, yours: AppLock, text: str) -> None:
    Path(mine.path).write_text(text)
    assert yours.shown() == {}
    yours.take(60)
    assert yours.holder()["run"] == "run-2"


def test_of_two_that_find_a_lock_expired_one_takes_it(home: Home) -> None:
    """Ten real processes at the same moment, again and again."""
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        Path(home.path, "lock.json").write_text(
            json.dumps({"run": "gone", "by": "x", "since": 1, "expires": 1, "message": ""})
        )
        barrier = context.Barrier(10)
        queue = context.SimpleQueue()

        def race(number: int, barrier: object = barrier, queue: object = queue) -> None:
            barrier.wait(PATIENCE)
            try:
                AppLock(home, f"run-{number}", "racer").take(60)
                queue.put(f"run-{number}")
            except ReleaseError:
                queue.put("")

        racers = [context.Process(target=race, args=(number,)) for number in range(10)]
        for racer in racers:
            racer.start()
        taken = [name for name in (queue.get() for _ in racers) if name]
        for racer in racers:
            racer.join(PATIENCE)
        assert taken == [AppLock(home, "", "").holder()["run"]]
