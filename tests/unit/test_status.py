"""What status tells of an app goes by what is on the host, and is true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils.app_lock import AppLock
from ansible_collections.baremetal.web.plugins.modules import status
from conftest import A, B, Shop

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(shop: Shop, run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask for the status of an app."""
    monkeypatch.setattr(status, "Supervisor", lambda: shop.supervisor)
    root = os.path.dirname(shop.home.path)
    return lambda name="shop", **more: run_module("status", {"apps": [name], "root": root, **more})["rows"][0]


def test_a_live_release_is_named_with_the_former_one_that_is_warm(shop: Shop, ask: Ask) -> None:
    shop.lay(B, version="v2")
    shop.go_live(A, B)
    row = ask()
    assert (row["release"], row["version"], row["warm"]) == (B, "v2", A)
    assert (row["program"], row["health"], row["lock"]) == ("RUNNING", "healthy", "")
    assert row["disk"] > 0


def test_an_app_whose_program_does_not_run_is_not_healthy(shop: Shop, ask: Ask) -> None:
    shop.go_live(A)
    shop.supervisor.call("stopProcessGroup", shop.home.program(A))
    row = ask(patience=1)
    assert row["program"] == "STOPPED"
    assert "is STOPPED" in row["health"]


def test_an_app_whose_live_release_cannot_be_read_is_told_beside_the_others(shop: Shop, ask: Ask) -> None:
    shop.go_live(A)
    (Path(shop.home.release(A)) / "release.json").write_text("{")
    row = ask()
    assert (row["release"], row["program"]) == (A, "UNKNOWN")
    assert "not complete" in row["health"]
    assert ask("nobody")["release"] == "none"


def test_an_app_that_was_never_released_has_no_release(ask: Ask) -> None:
    assert (ask("nobody")["release"], ask("nobody")["health"]) == ("none", "no release is live")


def test_who_holds_the_lock_is_named_with_the_reason(shop: Shop, ask: Ask) -> None:
    shop.go_live(A)
    AppLock(shop.home, run="", by="ada@desk").freeze("stocktaking")
    assert ask()["lock"] == "ada@desk: stocktaking"
