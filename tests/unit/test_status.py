"""What status tells of an app goes by what is on the host, and is true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.orphan_problems import orphan_problems
from ansible_collections.baremetal.web.plugins.filter.status_problems import status_problems
from ansible_collections.baremetal.web.plugins.filter.status_table import status_table
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock
from ansible_collections.baremetal.web.plugins.module_utils._release.modules import app_info
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.tables import table
from conftest import A, B, Shop, StandIns

Ask = Callable[..., dict[str, Any]]


def shown(answer: dict[str, Any]) -> list[str]:
    """Return the lines that people see."""
    found = status_table(["web1"], {"web1": {"status_answer": answer}})
    return table(tuple(found["columns"]), found["shown"])


@pytest.fixture
def ask(
    shop: Shop,
    run_module: Callable[..., dict[str, Any]],
    stand_ins: StandIns,
    monkeypatch: pytest.MonkeyPatch,
) -> Ask:
    """Ask for the status of an app."""
    monkeypatch.setattr(app_info, "Supervisor", lambda: shop.supervisor)
    stand_ins.add("nginx")
    root = os.path.dirname(shop.home.path)
    return lambda name="shop", **more: run_module("app_info", {"apps": [name], "root": root, **more})["rows"][0]


def test_a_live_release_is_named_with_the_standby_one_that_is_warm(shop: Shop, ask: Ask) -> None:
    shop.lay(B, version="v2")
    shop.go_live(A, B)
    row = ask()
    assert (row["release"], row["version"], row["warm"]) == (B, "v2", A)
    assert (row["program"], row["health"], row["lock"]) == ("RUNNING", "healthy", "")
    assert row["disk"] > 0


def test_an_app_whose_program_does_not_run_is_not_healthy(shop: Shop, ask: Ask) -> None:
    shop.go_live(A)
    shop.supervisor.call("stopProcessGroup", shop.home.program(A))
    row = ask(timeout=1)
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


@pytest.fixture
def look(ask: Ask, shop: Shop, run_module: Callable[..., dict[str, Any]]) -> Ask:
    """Ask for the apps that are described, and those that are not."""
    root = os.path.dirname(shop.home.path)
    return lambda *names: run_module("app_info", {"apps": list(names), "described": list(names), "root": root})


def publish(stand_ins: StandIns, text: str, code: int = 0) -> None:
    """Let nginx say that this is its configuration."""
    stand_ins.add("nginx", f"cat << 'END'\n{text}\nEND\nexit {code}")


def test_an_app_is_published_when_the_configuration_leads_to_it(shop: Shop, ask: Ask, stand_ins: StandIns) -> None:
    shop.go_live(A)
    assert not ask()["published"]
    for line, published in {
        f"if (-e {shop.home.slots}/b) {{": True,
        f"    if (-e {shop.home.slots}/b) {{": True,
        f"# if (-e {shop.home.slots}/b) {{": False,
        f"if (-e {shop.home.path}2/slots/b) {{": False,
        f"server unix:{shop.home.slots}/b.sock;": False,
    }.items():
        publish(stand_ins, line)
        assert ask()["published"] is published, line


@pytest.mark.parametrize(("folder", "control"), [("apache2", "apache2ctl"), ("httpd", "httpd")])
def test_the_sites_of_httpd_are_read_from_the_files_that_it_names(
    shop: Shop, ask: Ask, stand_ins: StandIns, tmp_path: Path, folder: str, control: str
) -> None:
    shop.go_live(A)
    site = tmp_path / "wsgi-80-any.conf"
    site.write_text(f"""    SetEnvIfExpr "-e '{shop.home.slots}/b'" name=_alternative\n""")
    with ChangeRecord() as notes:
        notes.note("file", f"/etc/{folder}/sites/wsgi-80-any.conf")
    stand_ins.add(control, f"echo 'Included configuration files:'; echo '    (8) {site}'")
    assert ask()["published"]
    stand_ins.add(control, "echo 'Included configuration files:'")
    assert not ask()["published"]


def test_where_nginx_refuses_its_configuration_the_files_of_the_sites_count(
    shop: Shop, ask: Ask, stand_ins: StandIns, tmp_path: Path
) -> None:
    shop.go_live(A)
    site = tmp_path / "wsgi-80-any.conf"
    site.write_text(f"if (-e {shop.home.slots}/b) {{\n")
    with ChangeRecord() as notes:
        notes.note("file", str(site))
    publish(stand_ins, "", code=1)
    assert ask()["published"]


def test_an_app_without_an_entry_has_a_row_and_is_refused_while_it_is_published(
    shop: Shop, look: Ask, stand_ins: StandIns
) -> None:
    shop.go_live(A)
    publish(stand_ins, f"if (-e {shop.home.slots}/b) {{")
    assert [row["described"] for row in look("shop")["rows"]] == [True]
    answer = look("blog")
    assert [(row["app"], row["described"], row["published"]) for row in answer["rows"]] == [
        ("blog", True, False),
        ("shop", False, True),
    ]
    (sentence,) = orphan_problems(answer, "web1", ["blog"])
    assert "app shop is published on web1, and wsgi_apps of web1 names blog." in sentence
    assert "-e remove=shop -e confirm=shop" in sentence
    assert orphan_problems(answer, "web1", ["blog"], ["shop"]) == []
    assert "shop on web1: wsgi_apps of web1 does not name it" in status_problems(answer["rows"], "web1")[1]
    *_, line = shown({"rows": answer["rows"]})
    assert " ".join(line.split()).endswith("no entry in wsgi_apps, healthy")
    publish(stand_ins, "")
    assert orphan_problems(look("blog"), "web1", ["blog"]) == []


def test_an_app_of_another_root_is_one_without_an_entry(
    shop: Shop, run_module: Callable[..., dict[str, Any]], ask: Ask
) -> None:
    shop.go_live(A)
    (row,) = run_module("app_info", {"apps": [], "described": ["shop"], "root": "/srv/elsewhere"})["rows"]
    assert (row["app"], row["release"], row["described"]) == ("shop", A, False)


def test_an_app_that_was_removed_and_left_its_data_is_none_without_an_entry(shop: Shop, look: Ask) -> None:
    with ChangeRecord() as notes:
        notes.notes["app"][shop.home.path] = {"user": ""}
    assert look()["rows"] == []


def test_an_app_to_which_nginx_does_not_lead_is_not_as_it_should_be(shop: Shop, ask: Ask) -> None:
    shop.go_live(A)
    row = ask()
    assert row["health"] == "healthy"
    assert "does not lead to it. Run site.yml" in status_problems([row], "web1")[0]
    *_, line = shown({"rows": [row]})
    assert ", not published" in " ".join(line.split())


def test_the_databases_of_the_host_are_named(look: Ask) -> None:
    with ChangeRecord() as notes:
        notes.notes["data"] = {"/var/lib/redis": {"unit": "redis-server.service"}, "/var/lib/gone": {"unit": ""}}
    assert look()["databases"] == ["redis-server.service"]
