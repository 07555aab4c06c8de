"""Fixtures of all scenarios."""

import itertools
from collections.abc import Callable

import pytest
import testinfra
import yaml
from testinfra.host import Host

from probes import APPS, INVENTORY, App, name


@pytest.fixture(scope="session")
def connect(pytestconfig: pytest.Config) -> Callable[[str], Host]:
    """Connect to any host of the fleet as root."""
    return lambda name: testinfra.get_host(f"ssh://{name}", ssh_config=pytestconfig.getoption("ssh_config"), sudo=True)


@pytest.fixture(scope="session")
def hosts(pytestconfig: pytest.Config, connect: Callable[[str], Host]) -> list[Host]:
    """All hosts of the scenario, where one run for all is enough, because runs are what takes long."""
    return [connect(host.removeprefix("ssh://")) for host in pytestconfig.getoption("hosts").split(",")]


@pytest.fixture
def neighbour(host: Host, connect: Callable[[str], Host]) -> Host:
    """Another host of the fleet."""
    groups = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["children"].values()
    return connect(
        next(other for other in itertools.chain(*(group["hosts"] for group in groups)) if other != name(host))
    )


@pytest.fixture(scope="session")
def client(connect: Callable[[str], Host]) -> Host:
    """A host of the fleet that has no app, where clients come from."""
    return connect("supervisor-debian")


@pytest.fixture(params=APPS, ids=lambda app: app.name)
def app(request: pytest.FixtureRequest) -> App:
    """Each app of the inventory."""
    return request.param


@pytest.fixture
def hello() -> App:
    """The first app of the inventory, where one is enough."""
    return APPS[0]
