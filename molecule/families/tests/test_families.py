"""A host of each family, as its clients find it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

from probes import SENTENCE, SUPERVISORCTL, App, fetch, name, play

INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
HELLO = App("hello", 8080, "/gunicorn")
HOSTS = ("family-centos", "family-ubuntu", "family-debian")


@pytest.fixture
def neighbour(host: Host, connect: Callable[[str], Host]) -> Host:
    """Another host of the fleet."""
    return connect(next(other for other in HOSTS if other != name(host)))


def test_the_app_answers_its_sentence_through_nginx_to_another_host(host: Host, neighbour: Host) -> None:
    answer = fetch(neighbour, HELLO.url(host))
    assert (answer.status, answer.text, answer.headers["server"]) == (200, SENTENCE, "nginx")


def test_the_page_says_which_host_release_and_server_answered(host: Host, neighbour: Host) -> None:
    page = fetch(neighbour, HELLO.url(host, "/")).text
    for fact in (name(host), HELLO.release(host), "gunicorn"):
        assert f"<dd>{fact}" in page


def test_the_live_release_runs_under_supervisord(host: Host) -> None:
    printed = host.check_output(f"{SUPERVISORCTL} status")
    assert re.findall(r"^(\S+) +RUNNING", printed, re.MULTILINE) == [HELLO.program(host)]


def test_the_status_of_all_hosts_has_no_failure() -> None:
    code, output = play("playbooks/status.yml", inventory=INVENTORY, callback="baremetal.web.json")
    document = json.loads(output)
    assert (code, document["failures"]) == (0, [])
    assert sorted((row["host"], row["app"]) for row in document["rows"]) == [(host, "hello") for host in sorted(HOSTS)]
