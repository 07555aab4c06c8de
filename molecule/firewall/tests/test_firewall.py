"""The ports that a neighbour reaches; the operator opened 8070 for good and 8071 until the next reload."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import limit, name, play

SCENARIO = Path(__file__).resolve().parents[1]
PORTS = (8070, 8080, 8081, 8082, 9001)
# An answer of the host, though it be a refusal, has passed the firewall; the firewalls' own ones are of another kind.
KNOCK = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), timeout=1).close()
        print(port)
    except ConnectionRefusedError:
        print(port)
    except OSError:
        pass
"""
Reached = Callable[[], dict[str, set[int]]]
Publish = Callable[..., str]


def sites(*ports: int) -> list[dict[str, Any]]:
    return [{"name": f"shop{port}", "server_names": [f"shop{port}.example"], "listen": port} for port in ports]


def entries(hosts: list[Host]) -> dict[str, list[str]]:
    """Return the firewalls' files that know of us; firewalld keeps the previous state of each beside it."""
    command = "grep -rl --exclude='*.old' baremetal-web /etc/firewalld /etc/ufw"
    return {name(host): host.run(command).stdout.split() for host in hosts}


def run(hosts: list[Host], command: str) -> None:
    for host in hosts:
        host.run(command)


@pytest.fixture
def reached(hosts: list[Host], connect: Callable[[str], Host]) -> Reached:
    """Tell which ports of each host the neighbour reaches."""
    neighbour, words = connect("guard-neighbour"), " ".join(map(str, PORTS))
    return lambda: {
        name(host): {int(port) for port in neighbour.check_output(f"python3 -c %s {name(host)} {words}", KNOCK).split()}
        for host in hosts
    }


@pytest.fixture
def each(hosts: list[Host]) -> Callable[[Any], dict[str, Any]]:
    """Say of each host the same."""
    return lambda value: {name(host): value for host in hosts}


Each = Callable[[Any], dict[str, Any]]


@pytest.fixture
def publish(hosts: list[Host]) -> Publish:
    """Publish sites on the hosts; return how the play ended."""

    def _publish(*arguments: str, **variables: Any) -> str:
        code, out = play(
            "molecule/firewall/converge.yml", limit(hosts), *arguments, inventory=SCENARIO / "inventory", **variables
        )
        assert code == 0
        return out

    return _publish


def test_the_ports_of_the_sites_are_open_and_no_other_is(reached: Reached, each: Each) -> None:
    assert reached() == each({8070, 8080, 8081})


def test_what_the_operator_opened_for_the_time_being_stays_open(host: Host) -> None:
    rules = host.run("firewall-cmd --list-ports || ufw status").stdout
    assert "8071/tcp" in rules


def test_the_ports_are_open_after_a_reload_and_a_run_then_changes_nothing(
    hosts: list[Host], reached: Reached, each: Each, publish: Publish
) -> None:
    for host in hosts:
        host.run_test("firewall-cmd --reload || ufw reload")
    assert reached() == each({8070, 8080, 8081})
    assert publish().count("changed=0") == len(hosts)


def test_check_mode_opens_nothing(hosts: list[Host], reached: Reached, each: Each, publish: Publish) -> None:
    assert publish("--check", "--diff", shop=sites(8080, 8082)).count("+8082/tcp") == len(hosts)
    assert reached() == each({8070, 8080, 8081})


def test_a_site_that_moves_takes_its_port_along_and_leaves_the_operators(
    hosts: list[Host], reached: Reached, each: Each, publish: Publish
) -> None:
    publish(shop=sites(8080, 8070))
    assert reached() == each({8070, 8080})
    publish(shop=sites(8080, 8082))
    assert reached() == each({8070, 8080, 8082})
    assert publish(shop=sites(8080, 8082)).count("changed=0") == len(hosts)


def test_a_port_of_two_owners_is_open_until_the_last_one_leaves(reached: Reached, each: Each, publish: Publish) -> None:
    publish(shop=sites(8080), alone="absent")
    assert reached() == each({8070, 8080})


def test_nothing_is_written_while_no_firewall_runs(
    hosts: list[Host], reached: Reached, each: Each, publish: Publish
) -> None:
    before = entries(hosts)
    run(hosts, "systemctl stop firewalld || ufw disable")
    publish(shop=sites(8080, 8081), alone="absent")
    assert entries(hosts) == before
    run(hosts, "systemctl start firewalld || ufw --force enable")
    publish(shop=sites(8080, 8081), alone="absent")
    assert reached() == each({8070, 8080, 8081})


def test_without_sites_nothing_of_ours_remains(
    hosts: list[Host], reached: Reached, each: Each, publish: Publish
) -> None:
    publish(shop=[], alone="absent")
    assert reached() == each({8070})
    assert entries(hosts) == each([])


def test_what_was_opened_is_closed_though_the_firewall_does_not_run_any_more(
    hosts: list[Host], reached: Reached, each: Each, publish: Publish
) -> None:
    publish(shop=sites(8080), alone="absent")
    run(hosts, "systemctl stop firewalld || ufw disable")
    publish(shop=[], alone="absent")
    assert entries(hosts) == each([])
    run(hosts, "systemctl start firewalld || ufw --force enable")
    assert reached() == each({8070})
