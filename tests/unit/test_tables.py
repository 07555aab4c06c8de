"""What people read after a deploy: one line for each app of each host, whatever became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.deploy_summary import deploy_summary
from ansible_collections.baremetal.web.plugins.filter.history_table import history_table
from ansible_collections.baremetal.web.plugins.filter.release_problems import release_problems
from ansible_collections.baremetal.web.plugins.filter.role_default import role_default
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.tables import table
from conftest import run_ansible

OLD, NEW = "a" * 12, "b" * 12


def seen(release: str, health: str = "healthy") -> dict[str, Any]:
    return {"rows": [{"app": "shop", "release": release, "version": "", "health": health}]}


def answers(**values: Any) -> dict[str, Any]:
    staged = {"current": OLD, "release": NEW, "version": "v2", "converged": False}
    return {"wsgi_selected": ["shop"], "wsgi_staged": {"shop": staged}, "deploy_found": seen(OLD), **values}


def shown(found: dict[str, Any]) -> list[str]:
    """Return the lines that people see of what a filter returns."""
    return table(tuple(found["columns"]), found.get("shown", found["rows"]))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell]


def test_columns_are_as_wide_as_their_widest_cell_and_a_text_is_its_first_line() -> None:
    lines = table(("a", "b"), [{"a": "long", "b": "one\ntwo"}, {"b": 2}])
    assert lines == ["a     b", "long  one", "      2"]


@pytest.mark.parametrize(
    ("values", "live", "result"),
    [
        ({"deploy_seen": seen(NEW)}, NEW, "live"),
        ({"deploy_found": seen(NEW), "deploy_seen": seen(OLD)}, OLD, "switched back"),
        ({"deploy_seen": seen(OLD)}, OLD, "not switched"),
        ({"deploy_seen": seen(OLD), "wsgi_staged": {}}, OLD, "not switched"),
        ({"deploy_seen": seen(NEW, "answer 503")}, NEW, "NOT HEALTHY: answer 503"),
        ({"deploy_seen": {"unreachable": True}}, "unknown", "the host did not answer"),
        ({}, "unknown", "the host did not answer"),
    ],
)
def test_the_summary_says_what_is_live_and_what_became_of_it(values: dict[str, Any], live: str, result: str) -> None:
    _, line = shown(deploy_summary(["web1"], {"web1": answers(**values)}))
    assert cells(line)[0] == "web1"
    assert cells(line)[2] == OLD
    assert cells(line)[-2:] == [live, result]


def test_what_was_live_already_is_named_so() -> None:
    converged = {"shop": {"current": NEW, "release": NEW, "version": "v2", "converged": True}}
    _, line = shown(deploy_summary(["web1"], {"web1": answers(wsgi_staged=converged, deploy_seen=seen(NEW))}))
    assert cells(line)[-1] == "was live already"


def test_the_plan_names_all_that_starts_anew() -> None:
    programs = {"deploy_programs": {"shop": ["worker", "beat"]}}
    converged = {"shop": {"current": NEW, "release": NEW, "version": "v2", "converged": True}}
    hosts = {"web1": answers(**programs), "web2": answers(**programs, wsgi_staged=converged)}
    _, first, second = shown(deploy_summary(["web1", "web2"], hosts, plan=True))
    assert cells(first)[-2:] == [f"{NEW} (v2)", "server, worker, beat"]
    assert cells(second)[-1] == "nothing"


def test_the_history_of_all_hosts_is_in_the_order_of_time() -> None:
    def answer(*times: str) -> dict[str, Any]:
        rows = [{"time": time, "action": "deploy", "seconds": {"total": 3.5}} for time in times]
        return {"history_answer": {"results": [{"item": "shop", "rows": rows}]}}

    hosts = {"web1": answer("10:00", "10:03"), "web2": answer("10:01", "10:02"), "web3": {}}
    head, *lines = shown(history_table(list(hosts), hosts, lines=3))
    assert head.split()[:3] == ["time", "host", "app"]
    assert [line.split()[:3] for line in lines] == [
        ["10:01", "web2", "shop"],
        ["10:02", "web2", "shop"],
        ["10:03", "web1", "shop"],
    ]
    assert lines[0].endswith("3.5")


def test_a_host_is_fine_when_every_app_is_healthy_on_its_new_release() -> None:
    staged = {"shop": {"release": NEW}}
    assert release_problems(seen(NEW), staged) == []
    assert release_problems(seen(OLD), staged) == [f"app shop: release {OLD} is live, and not {NEW}"]
    assert "not healthy: answer 503" in release_problems(seen(NEW, "answer 503"), staged)[0]
    assert release_problems({"msg": "no route"}, staged) == ["the host does not answer: no route"]


def test_a_default_is_that_of_the_role() -> None:
    assert role_default("python_tool_environment", "python") == "/opt/baremetal"


# What a terminal and a script get.

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - baremetal.web.table:
        table: {columns: [host, app, health], rows: "{{ rows }}", shown: "{{ rows }}"}
      vars:
        rows: [{host: web1, app: shop, health: WIDE, disk: 7}]
    - block:
        - ansible.builtin.fail: {msg: "the {{ item }} is full"}
          loop: [basket, "", till, till]
          when: item != ""
      rescue:
        - ansible.builtin.debug: {msg: gone on}
    - block:
        - ansible.builtin.fail: {msg: hunter2}
          no_log: true
      rescue:
        - ansible.builtin.debug: {msg: gone on}
"""


def printed(place: Path, settings: str) -> str:
    (place / "ansible.cfg").write_text(f"[defaults]\n{settings}\n")
    (place / "play.yml").write_text(PLAY.replace("WIDE", "healthy and well " * 20))
    return run_ansible(place, "playbook", "play.yml")


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_grep_and_awk_take_a_table_as_it_is_printed(tmp_path: Path, form: str) -> None:
    lines = printed(tmp_path, f"callback_result_format = {form}").splitlines()
    assert f"web1  shop  {'healthy and well ' * 20}".rstrip() in lines


def test_a_script_gets_one_document_with_every_value_and_what_failed(tmp_path: Path) -> None:
    found = json.loads(printed(tmp_path, "stdout_callback = baremetal.web.json"))
    assert [(row["host"], row["disk"]) for row in found["rows"]] == [("web1", 7)]
    failure = {"host": "localhost", "task": "ansible.builtin.fail", "message": "the basket is full\nthe till is full"}
    *failures, hidden = found["failures"]
    assert [{**each, "task": failure["task"]} for each in failures] == [failure]
    assert "hidden" in hidden["message"]
    assert "hunter2" not in str(found)
    assert found["changed"] == []
