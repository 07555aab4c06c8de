"""How Ansible may log in."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from probes import limit, name, play


@pytest.fixture
def as_root(hosts: list[Host], pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Run a command on each host as root, who logs in."""

    def _as_root(command: str) -> None:
        for host in hosts:
            ssh = ["ssh", "-F", pytestconfig.getoption("ssh_config"), "-l", "root", name(host)]
            subprocess.run([*ssh, command], check=True)

    return _as_root


@pytest.fixture
def without_sudo(as_root: Callable[[str], None]) -> Iterator[None]:
    """Hosts that have no sudo."""
    as_root("mv /usr/bin/sudo /usr/bin/sudo.away")
    yield
    as_root("mv /usr/bin/sudo.away /usr/bin/sudo")


@pytest.fixture
def without_terminals(as_root: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hosts whose sshd gives nobody a terminal, and an Ansible that would ask for one if it could."""
    file = "/etc/ssh/sshd_config.d/00-no-tty.conf"
    as_root(f"echo 'PermitTTY no' > {file} && systemctl reload ssh 2>/dev/null || systemctl reload sshd")
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")
    yield
    as_root(f"rm {file} && systemctl reload ssh 2>/dev/null || systemctl reload sshd")


def changed(hosts: list[Host], **variables: str) -> list[str]:
    """Run site.yml; return how many tasks changed something on each host."""
    code, output = play("site.yml", limit(hosts), **variables)
    assert code == 0
    return re.findall(r"changed=(\d+)", output)


@pytest.mark.usefixtures("without_sudo")
def test_root_may_log_in_and_needs_no_sudo(hosts: list[Host]) -> None:
    assert changed(hosts, ansible_user="root") == ["0"] * len(hosts)


@pytest.mark.usefixtures("without_terminals")
def test_no_task_needs_a_terminal(hosts: list[Host]) -> None:
    assert os.environ["ANSIBLE_PIPELINING"] == "false"
    assert changed(hosts) == ["0"] * len(hosts)
