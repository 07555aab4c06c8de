"""A host has been measured: there is a report of it, and the host is as it was."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import App, fetch, play, snapshot

INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
OWN = App("hello", 8080, "")
# The tools stay; a measurement writes to logs, and the interpreter compiles what it imports.
STAYS = (
    *("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/share/", "/etc/siege", "/etc/apache2", "/root/serving.json"),
    *("/var/cache/wsgi-build/", "/var/lib/baremetal.web/changes.json"),
)


@pytest.fixture(scope="session")
def results() -> Path:
    # Those of earlier runs are beside it; their names have the time.
    return max((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "results").iterdir())


@pytest.fixture(scope="session")
def data(results: Path) -> dict[str, Any]:
    return json.loads((results / "benchmark.json").read_text())


def test_there_is_a_report(results: Path) -> None:
    assert "<svg" in (results / "index.html").read_text()
    assert "the untouched default" in (results / "summary.md").read_text()
    assert len((results / "runs.csv").read_text().splitlines()) > 10


def test_everything_was_measured_and_nothing_failed(data: dict[str, Any]) -> None:
    assert data["missing"] == []
    assert {run["subject"] for run in data["runs"]} == {subject["name"] for subject in data["subjects"]}
    failed = [run for run in data["runs"] if run["access"] != "tcp" and sum(run["errors"].values())]
    assert failed == []
    for run in data["runs"]:
        assert run["requests"] > 0
        assert run["start_seconds"] > 0
        assert run["memory_bytes"]["server"] > 1_000_000
        assert run["cpu_seconds"]["server"] > 0
        assert (run["memory_bytes"]["proxy"] > 0) == (run["access"] != "direct")


def test_the_client_is_another_host_except_where_nginx_is_not_in_front(data: dict[str, Any]) -> None:
    for run in data["runs"]:
        by_itself = run["access"] == "direct" and run["subject"] != "nginx-return"
        assert run["client"] == ("benchmark-target" if by_itself else "benchmark-client")


def test_the_host_is_as_it_was(host: Host) -> None:
    before = json.loads(host.file("/root/serving.json").content)
    after = snapshot(host)
    for kind in set(before) - {"packages"}:
        one, other = (
            {str(item) for item in (seen.items() if isinstance(seen, dict) else seen)}
            for seen in (before[kind], after[kind])
        )
        assert [item for item in sorted(one ^ other) if not any(path in item for path in STAYS)] == [], kind


def test_what_it_has_not_brought_stays_whatever_its_name(host: Host) -> None:
    assert host.file("/srv/wsgi/bm-own/data/kept").content_string == "of somebody"


def test_its_own_app_goes_on_serving(host: Host) -> None:
    assert fetch(host, OWN.url(host, "/healthz")).status == 200


def test_what_cannot_be_measured_is_refused_before_the_host_is_touched() -> None:
    wrong = {"name": "mine", "title": "Mine", "server": {"kind": "gevent", "threads": 4}}
    status, said = play("playbooks/benchmark.yml", inventory=INVENTORY, benchmark_subjects=[wrong])
    assert status != 0
    assert "app bm-mine: server.threads is 4, for which server.kind gevent has no use" in said
    assert re.findall(r"changed=(\d+)", said) == ["0", "0"]
