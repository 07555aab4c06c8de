"""Hosts without a network, and how they differ from others."""

import json
import shutil
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from probes import PROJECT, SENTENCE, assert_refused, limit, name, play

INVENTORY = PROJECT / "molecule" / "offline" / "inventory"
HOSTS = {
    host: variables
    for group in yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["children"].values()
    for host, variables in group["hosts"].items()
}
APP = "hello"
MIRROR = "http://10.89.82.1:8082"
# Prints how a connection ended.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
    print("connected")
except OSError as error:
    print(type(error).__name__, error)
"""


def answer(host: Host) -> str:
    """Ask the app for its sentence, through nginx."""
    url = f"http://{HOSTS[name(host)]['ansible_host']}:8080/gunicorn/hello"
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def converge(hosts: list[Host], **variables: Any) -> tuple[int, str]:
    """Run site.yml on the hosts."""
    return play("site.yml", limit(hosts), inventory=INVENTORY, **variables)


def described(source: Path) -> list[dict[str, Any]]:
    """Return the app with another source."""
    (app,) = yaml.safe_load((INVENTORY / "group_vars" / "wsgi.yml").read_text())["wsgi_apps"]
    return [{**app, "source": {"path": str(source)}}]


def manifest(host: Host) -> dict[str, Any]:
    """Return what is remembered of the live release."""
    return json.loads(host.file(f"/srv/wsgi/{APP}/current/release.json").content_string)


def controller() -> str:
    """Return the address that the controller has in the world; a host with a network could knock there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return probe.getsockname()[0]


# The second is of a network that is reserved for documentation.
@pytest.mark.parametrize("place", [controller(), "192.0.2.1"], ids=["controller", "world"])
def test_the_host_reaches_nothing_beyond_its_own_network(host: Host, place: str) -> None:
    printed = host.check_output("python3 -c %s %s 9", CONNECT, place)
    assert "Network is unreachable" in printed or "Permission denied" in printed or "No route" in printed


def test_the_mirror_is_within_its_network(host: Host) -> None:
    assert host.check_output("python3 -c %s 10.89.82.1 8082", CONNECT) == "connected"


def test_nginx_serves_the_app(host: Host) -> None:
    assert answer(host) == SENTENCE


def test_nginx_comes_from_the_repository_that_was_chosen(host: Host) -> None:
    if name(host) == "gap-nginx-org":
        assert host.package("nginx").version.startswith("1.2.3")
        assert not host.file("/etc/nginx/conf.d/default.conf").exists
        assert host.user("nginx").exists
    else:
        assert not host.package("nginx").version.startswith("1.2.3")


def test_the_hosts_own_repositories_are_as_they_were(host: Host) -> None:
    ours = host.check_output("ls /etc/apt/sources.list.d /etc/yum.repos.d 2>/dev/null || true")
    assert "baremetal-web-mirror" in ours
    theirs = "/etc/yum.repos.d/centos.repo" if name(host) == "gap-centos" else "/etc/apt/sources.list"
    assert MIRROR not in host.file(theirs).content_string


def test_every_package_that_came_is_kept_for_removal(host: Host) -> None:
    notes = json.loads(host.file("/var/lib/baremetal.web/changes.json").content_string)
    assert "nginx" in notes["package"]
    assert [path for path in notes["file"] if "baremetal-web-mirror" in path]
    assert notes["tree"]["/var/cache/baremetal.web/wheelhouse"] is None


def test_a_wheel_that_is_missing_is_named_with_what_to_do_and_the_app_stays(hosts: list[Host], tmp_path: Path) -> None:
    source = tmp_path / "app"
    shutil.copytree(PROJECT / "files" / "hello_flask", source)
    with (source / "requirements.txt").open("a") as lock:
        lock.write(f"idna==3.10 --hash=sha256:{'1' * 64}\n")
    refused = converge(hosts, wsgi_apps=described(source))
    assert_refused(refused, hosts, "idna")
    assert_refused(refused, hosts, "ansible-playbook baremetal.web.wheelhouse")
    assert [answer(host) for host in hosts] == [SENTENCE] * len(hosts)


def test_a_new_version_is_deployed_and_taken_back(hosts: list[Host], tmp_path: Path) -> None:
    source = tmp_path / "app"
    shutil.copytree(PROJECT / "files" / "hello_flask", source)
    project = source / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "1.0.0"', 'version = "1.0.1"'))
    code, _ = play("playbooks/deploy.yml", limit(hosts), inventory=INVENTORY, app=APP, wsgi_apps=described(source))
    assert code == 0
    assert [(manifest(host)["version"], answer(host)) for host in hosts] == [("1.0.1", SENTENCE)] * len(hosts)
    assert play("playbooks/rollback.yml", limit(hosts), inventory=INVENTORY, app=APP)[0] == 0
    assert [(manifest(host)["version"], answer(host)) for host in hosts] == [("1.0.0", SENTENCE)] * len(hosts)


def install(hosts: list[Host], **variables: Any) -> tuple[int, str]:
    """Try to install a package that there is not."""
    wanted = {"missing": "no-such-package", **variables}
    return play(str(INVENTORY.parent / "missing.yml"), limit(hosts), inventory=INVENTORY, **wanted)


def test_a_package_that_no_repository_has_is_named_with_those_that_were_asked(hosts: list[Host]) -> None:
    refused = install(hosts)
    assert_refused(refused, hosts, "There is no package no-such-package")
    assert_refused(refused, hosts, f"mirror ({MIRROR}/")


def test_a_mirror_that_is_away_is_named(hosts: list[Host]) -> None:
    away = [
        {"name": "away", "url": "http://10.89.82.1:8083/packages", "suites": ["./"], "components": []},
    ]
    refused = install(hosts, packages_repositories=away)
    assert_refused(refused, hosts, "cannot be had from away (http://10.89.82.1:8083/packages)")
    for host in hosts:
        assert host.run("ls /etc/apt/sources.list.d /etc/yum.repos.d | grep away").rc != 0


def test_a_key_that_was_not_promised_is_refused_before_any_host_is_touched(hosts: list[Host]) -> None:
    repository = {
        "name": "mirror",
        "url": f"{MIRROR}/Debian",
        "key": str(PROJECT / ".fleet" / "offline" / "mirror" / "key.asc"),
        "fingerprints": ["0123456789" * 4],
    }
    code, output = converge(hosts, packages_repositories=[repository])
    assert code != 0
    assert "is not among 0123456789" in output
    assert "Gather the facts" not in output
