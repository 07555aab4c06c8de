"""Removing an app, then everything."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from probes import APPS, PROJECT, App, apps, fetch, name, play

SNAPSHOT = (PROJECT / "molecule" / "snapshot.py").read_text()
# What others than us leave: nginx's own packages the account (rpm), what it wrote while it ran (rpm) and its first page
# (dpkg), the package managers their logs and backups, Ansible the directory that a login as root copies its modules to.
LEFT_BY_OTHERS = {
    "files": r"/var/(backups|lib/nginx|www)(/.*)?|/root/\.ansible(/tmp)?",
    "users": "nginx",
    "groups": "nginx",
    "logs": r"nginx|(alternatives|apt|dnf.*|dpkg|hawkey)(\.log)?",
}


def remove(host: Host, what: str, *arguments: str, confirm: str = "", **variables: Any) -> tuple[int, str]:
    """Remove an app or the stack from one host."""
    limit = f"--limit={name(host)}"
    return play("playbooks/remove.yml", limit, *arguments, remove=what, confirm=confirm or what, **variables)


def picture(host: Host) -> dict[str, dict[str, str]]:
    """Describe everything on a host."""
    return json.loads(host.check_output("python3 -c %s", SNAPSHOT))


def named(host: Host) -> App:
    """An app of the host: the one that all hosts have."""
    return App("hello", 8080, "" if name(host).startswith("busy") else "/gunicorn")


def others(host: Host) -> list[App]:
    return [] if name(host).startswith("busy") else APPS[1:]


@pytest.fixture
def one(connect: Callable[[str], Host]) -> Host:
    """A host, where what is said before any is asked needs no more."""
    return connect("app-debian")


@pytest.mark.parametrize(("what", "confirm"), [("hello", "shop"), ("stack", "yes")])
def test_what_is_not_confirmed_is_not_touched(one: Host, what: str, confirm: str) -> None:
    code, output = remove(one, what, confirm=confirm)
    assert code == 2
    assert f"{what} is to be removed, and the confirmation says {confirm}. Nothing was touched." in output
    assert named(one).answers(one, one)


def test_an_app_that_no_host_has_is_refused(one: Host) -> None:
    code, output = remove(one, "shop")
    assert code == 2
    assert "No host has an app named shop" in output


@pytest.mark.parametrize("what", ["hello", "stack"])
def test_a_check_tells_what_would_go_and_removes_nothing(host: Host, neighbour: Host, what: str) -> None:
    code, output = remove(host, what, "--check", "--diff")
    assert code == 0
    assert "-/srv/wsgi/hello/releases" in output
    assert named(host).answers(host, neighbour)


def test_a_removed_app_leaves_its_data_alone_and_finds_it_again(host: Host, neighbour: Host) -> None:
    hello, before = named(host), {app: app.master(host) for app in others(host)}
    program = hello.program(host)
    write = "cd /srv/wsgi/hello/data && echo precious > orders && mkdir -p deep && touch deep/er"
    host.check_output("env --chdir=/ runuser -u wsgi-hello -- sh -c %s", write)
    code, output = remove(host, "hello")
    assert code == 0
    assert "hello is still in wsgi_apps of this host" in output
    assert fetch(neighbour, hello.url(host)).status in (0, 404)
    assert not host.user("wsgi-hello").exists
    assert host.check_output("ls /srv/wsgi/hello").split() == ["data", "releases.log"]
    assert host.check_output("find /srv/wsgi/hello ! -user root") == ""
    assert host.run("pgrep -f [/]srv/wsgi/hello/").rc != 0
    assert host.run("/opt/baremetal/bin/supervisorctl status %s", program).rc != 0
    assert "hello" not in host.check_output("ls /var/log/supervisord /etc/supervisord/conf.d")
    assert "wsgi-hello" not in host.check_output("cat /etc/sysusers.d/*")
    assert {app: app.master(host) for app in others(host)} == before

    assert play("site.yml", f"--limit={name(host)}")[0] == 0
    assert hello.answers(host, neighbour)
    assert host.check_output("env --chdir=/ runuser -u wsgi-hello -- cat /srv/wsgi/hello/data/orders") == "precious"
    assert host.check_output("find /srv/wsgi/hello/data ! -user wsgi-hello") == ""


def test_data_goes_when_told(host: Host, neighbour: Host) -> None:
    assert remove(host, "hello", remove_data=True)[0] == 0
    assert not host.file("/srv/wsgi/hello").exists
    left = [] if name(host).startswith("busy") else apps()[1:]
    assert play("site.yml", f"--limit={name(host)}", wsgi_apps=left)[0] == 0
    assert all(app.answers(host, neighbour) for app in others(host))
    code, output = remove(host, "hello")
    assert code == 2
    assert "No host has an app named hello" in output


def test_after_everything_is_removed_the_host_is_as_it_was_before_us(host: Host) -> None:
    assert remove(host, "stack", remove_data=True)[0] == 0
    before, after = json.loads(host.file("/root/before.json").content_string), picture(host)
    different = {
        (kind, key): (before[kind].get(key), after[kind].get(key))
        for kind in before
        for key in before[kind].keys() | after[kind].keys()
        if before[kind].get(key) != after[kind].get(key) and not re.fullmatch(LEFT_BY_OTHERS.get(kind, "-"), key)
    }
    assert different == {}
    assert "baremetal" not in host.check_output("ls /run")


def test_removing_everything_again_changes_nothing(host: Host) -> None:
    code, output = remove(host, "stack", remove_data=True)
    assert code == 0
    assert "changed=0 " in output


def test_what_others_serve_is_still_served(host: Host, neighbour: Host) -> None:
    if not host.file("/etc/nginx/conf.d/theirs.conf").exists:
        pytest.skip("nobody else served anything on this host")
    assert fetch(neighbour, f"http://{name(host)}:7070/").text == "theirs\n"
    assert "RUNNING" in host.check_output("/usr/bin/supervisorctl status clock")
