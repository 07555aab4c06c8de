"""After a reboot, without help."""

import pytest
from testinfra.host import Host

from probes import App, eventually


def test_every_app_answers_again(host: Host, neighbour: Host, app: App) -> None:
    eventually(lambda: app.answers(host, neighbour))


@pytest.mark.parametrize("unit", ["nginx", "supervisord-baremetal"])
def test_the_services_needed_no_second_start(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled
    assert host.check_output("systemctl show --property=NRestarts --value %s", unit) == "0"


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
