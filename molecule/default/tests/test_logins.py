"""How Ansible may log in."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from probes import name, play


@pytest.fixture
def as_root(host: Host, pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Run a command on the host as root, who logs in."""

    def _as_root(command: str) -> None:
        ssh = ["ssh", "-F", pytestconfig.getoption("ssh_config"), "-l", "root", name(host)]
        subprocess.run([*ssh, command], check=True)

    return _as_root


@pytest.fixture
def without_sudo(as_root: Callable[[str], None]) -> Iterator[None]:
    """A host that has no sudo."""
    as_root("mv /usr/bin/sudo /usr/bin/sudo.away")
    yield
    as_root("mv /usr/bin/sudo.away /usr/bin/sudo")


@pytest.fixture
def without_terminals(as_root: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host whose sshd gives nobody a terminal, and an Ansible that would ask for one if it could."""
    file = "/etc/ssh/sshd_config.d/00-no-tty.conf"
    as_root(f"echo 'PermitTTY no' > {file} && systemctl reload ssh 2>/dev/null || systemctl reload sshd")
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")
    yield
    as_root(f"rm {file} && systemctl reload ssh 2>/dev/null || systemctl reload sshd")


def changed(host: Host, **variables: str) -> list[str]:
    """Run site.yml; return how many tasks changed something."""
    code, output = play("site.yml", f"--limit={name(host)}", **variables)
    assert code == 0
    return re.findall(r"changed=(\d+)", output)


@pytest.mark.usefixtures("without_sudo")
def test_root_may_log_in_and_needs_no_sudo(host: Host) -> None:
    assert changed(host, ansible_user="root") == ["0"]


@pytest.mark.usefixtures("without_terminals")
def test_no_task_needs_a_terminal(host: Host) -> None:
    assert os.environ["ANSIBLE_PIPELINING"] == "false"
    assert changed(host) == ["0"]
