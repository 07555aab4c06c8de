"""Removing an app, then everything."""

import json
import re
from typing import Any

import pytest
from testinfra.host import Host

from probes import APPS, App, apps, differences, fetch, limit, name, play, snapshot

# What others than us leave: nginx's own packages the account (rpm), what it wrote while it ran (rpm) and its first page
# (dpkg), the package managers their logs and backups, Ansible the directory that a login as root copies its modules to.
LEFT_BY_OTHERS = {
    "files": r"/var/(backups|lib/nginx|www)(/.*)?|/root/\.ansible(/tmp)?",
    "users": "nginx",
    "groups": "nginx",
    "logs": r"nginx|(alternatives|apt|dnf.*|dpkg|hawkey)(\.log)?",
}


def remove(hosts: list[Host], what: str, *arguments: str, confirm: str = "", **variables: Any) -> tuple[int, str]:
    """Remove an app or the stack from the hosts."""
    return play("playbooks/remove.yml", limit(hosts), *arguments, remove=what, confirm=confirm or what, **variables)


def is_busy(host: Host) -> bool:
    """Tell whether others serve something on the host as well."""
    return name(host).startswith("busy")


def named(host: Host) -> App:
    """An app of the host: the one that all hosts have."""
    return App("hello", 8080, "" if is_busy(host) else "/gunicorn")


def others(host: Host) -> list[App]:
    return [] if is_busy(host) else APPS[1:]


@pytest.mark.parametrize(("what", "confirm"), [("hello", "shop"), ("stack", "yes")])
def test_what_is_not_confirmed_is_not_touched(hosts: list[Host], client: Host, what: str, confirm: str) -> None:
    code, output = remove(hosts, what, confirm=confirm)
    assert code == 2
    assert f"{what} is to be removed, and the confirmation says {confirm}. Nothing was touched." in output
    assert all(named(host).answers(host, client) for host in hosts)


def test_an_app_that_no_host_has_is_refused(hosts: list[Host]) -> None:
    code, output = remove(hosts, "shop")
    assert code == 2
    assert "No host has an app named shop" in output


@pytest.mark.parametrize("what", ["hello", "stack"])
def test_a_check_tells_what_would_go_and_removes_nothing(hosts: list[Host], client: Host, what: str) -> None:
    code, output = remove(hosts, what, "--check", "--diff")
    assert code == 0
    assert output.count("-/srv/wsgi/hello/releases ") == len(hosts)
    assert all(named(host).answers(host, client) for host in hosts)


def test_a_removed_app_leaves_its_data_alone_and_finds_it_again(hosts: list[Host], client: Host) -> None:
    def masters() -> list[list[int]]:
        return [[app.master(host) for app in others(host)] for host in hosts]

    before, programs = masters(), [named(host).program(host) for host in hosts]
    write = "cd /srv/wsgi/hello/data && echo precious > orders && mkdir -p deep && touch deep/er"
    for host in hosts:
        host.check_output("env --chdir=/ runuser -u wsgi-hello -- sh -c %s", write)
    code, output = remove(hosts, "hello")
    assert code == 0
    assert output.count("hello is still in wsgi_apps of this host") == len(hosts)
    assert masters() == before
    for host, program in zip(hosts, programs, strict=True):
        assert fetch(client, named(host).url(host)).status in (0, 404)
        assert not host.user("wsgi-hello").exists
        assert host.check_output("ls /srv/wsgi/hello").split() == ["data", "releases.log"]
        assert host.check_output("find /srv/wsgi/hello ! -user root") == ""
        assert host.run("pgrep -f [/]srv/wsgi/hello/").rc != 0
        assert host.run("/opt/baremetal/bin/supervisorctl status %s", program).rc != 0
        assert "hello" not in host.check_output("ls /var/log/supervisord /etc/supervisord/conf.d")
        assert "wsgi-hello" not in host.check_output("cat /etc/sysusers.d/*")

    assert play("site.yml", limit(hosts))[0] == 0
    for host in hosts:
        assert named(host).answers(host, client)
        assert host.check_output("env --chdir=/ runuser -u wsgi-hello -- cat /srv/wsgi/hello/data/orders") == "precious"
        assert host.check_output("find /srv/wsgi/hello/data ! -user wsgi-hello") == ""


def test_data_goes_when_told(hosts: list[Host], client: Host) -> None:
    assert remove(hosts, "hello", remove_data=True)[0] == 0
    assert not any(host.file("/srv/wsgi/hello").exists for host in hosts)
    left = {"left": apps()[1:], "wsgi_apps": "{{ left if inventory_hostname in groups.wsgi else [] }}"}
    assert play("site.yml", limit(hosts), **left)[0] == 0
    assert all(app.answers(host, client) for host in hosts for app in others(host))
    code, output = remove(hosts, "hello")
    assert code == 2
    assert "No host has an app named hello" in output


@pytest.fixture(scope="module")
def removed(hosts: list[Host]) -> None:
    """Everything is removed from all hosts, and once more."""
    assert remove(hosts, "stack", remove_data=True)[0] == 0
    code, output = remove(hosts, "stack", remove_data=True)
    assert code == 0
    assert set(re.findall(r"changed=(\d+) ", output)) == {"0"}


@pytest.mark.usefixtures("removed")
def test_after_everything_is_removed_the_host_is_as_it_was_before_us(host: Host) -> None:
    before, after = json.loads(host.file("/root/before.json").content_string), snapshot(host)
    assert differences(before, after, LEFT_BY_OTHERS) == {}
    assert "baremetal" not in host.check_output("ls /run")


@pytest.mark.usefixtures("removed")
def test_what_others_serve_is_still_served(host: Host, neighbour: Host) -> None:
    if not host.file("/etc/nginx/conf.d/theirs.conf").exists:
        pytest.skip("nobody else served anything on this host")
    assert fetch(neighbour, f"http://{name(host)}:7070/").text == "theirs\n"
    assert "RUNNING" in host.check_output("/usr/bin/supervisorctl status clock")
