"""Installed packages are upgraded, and clients of the load balancer in front do not notice."""

import http.client
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from probes import APPS, INVENTORY, SENTENCE, SUPERVISORCTL, App, apps, name, play

FLEET = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["children"]
BALANCER = FLEET["nginx_alone"]["hosts"]["nginx-debian"]["ansible_host"]
OLD = "/opt/baremetal/bin/uv pip install --system-certs --quiet --no-cache --python /opt/baremetal/bin/python"

# A newer build of nginx comes into reach; or the one that is there is put down as an older one.
NEWER_NGINX = "sed -i.former 's/^enabled=0/enabled=1/' /etc/yum.repos.d/*.repo"
FORMER_REPOSITORIES = "for file in /etc/yum.repos.d/*.former; do mv $file ${file%.former}; done"
OLDER_NGINX = """
set -e; cd /var/tmp; apt-get -q download nginx; dpkg-deb --raw-extract nginx_*.deb older
sed -i '/^Version:/s/$/~older/' older/DEBIAN/control; dpkg-deb --build older older.deb
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --allow-downgrades ./older.deb; rm -r nginx_*.deb older older.deb
"""


class Clients:
    """Clients who ask without a pause on connections that are kept, by turns for a page and with a form."""

    def __init__(self, count: int = 4):
        self.answers: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(count)]

    def _visit(self) -> None:
        connection = http.client.HTTPConnection(BALANCER, 8088, timeout=30)
        headers = {"Host": "shop.example", "Content-Type": "application/json"}
        while not self._over.wait(0.02):
            for method, path, body in (("GET", "/gunicorn/hello", None), ("POST", "/gunicorn/server", '{"data": 1}')):
                try:
                    connection.request(method, path, body, headers)
                    response = connection.getresponse()
                    text = response.read().decode()
                    fine = response.status == 200 and (method == "POST" or text == SENTENCE)
                    self.answers["fine" if fine else f"{method} {response.status} {text[:60]}"] += 1
                except OSError as error:
                    self.answers[f"{method} {error!r}"] += 1
                    connection.close()

    @contextmanager
    def visiting(self) -> Iterator[None]:
        """Visit while the block runs."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()


def published() -> list[dict[str, Any]]:
    """Return wsgi_apps with the name that the load balancer is asked for."""
    described = apps()
    for app in described[:2]:
        app["site"]["server_names"] = ["shop.example", "{{ inventory_hostname }}"]
    return described


@pytest.fixture(scope="module")
def hosts(connect: Callable[[str], Host]) -> Iterator[list[Host]]:
    """The hosts of the apps, each with an old supervisord, and with a newer nginx to be had."""
    assert play("site.yml", "--limit=wsgi", wsgi_apps=published())[0] == 0
    assert play("molecule/upgrade/balance.yml", "--limit=nginx-debian")[0] == 0
    found = [connect(name) for name in FLEET["wsgi"]["hosts"]]
    for host in found:
        host.check_output(f"{OLD} supervisor==4.2.5 'setuptools<81'")
        host.check_output("echo former > /opt/baremetal/requirements.d/supervisor.sha256")
        host.check_output("systemctl restart supervisord-baremetal")
        host.check_output(NEWER_NGINX if host.exists("rpm") else OLDER_NGINX)
    yield found
    for host in found:
        if host.exists("rpm"):
            host.check_output(FORMER_REPOSITORIES)


def supervisord(host: Host) -> str:
    return host.check_output(f"{SUPERVISORCTL} version")


def nginx(host: Host) -> str:
    query = "rpm -q nginx" if host.exists("rpm") else "dpkg-query -W nginx"
    return host.check_output(query)


def test_an_upgrade_is_host_by_host_and_no_client_notices(hosts: list[Host]) -> None:
    before = [nginx(host) for host in hosts]
    releases = [[app.release(host) for app in APPS] for host in hosts]
    assert {supervisord(host) for host in hosts} == {"4.2.5"}
    clients = Clients()
    with clients.visiting():
        code, output = play("playbooks/upgrade.yml", "--limit=wsgi", wsgi_apps=published())
    assert code == 0
    assert {supervisord(host) for host in hosts} == {"4.3.0"}
    assert [nginx(host) != old for host, old in zip(hosts, before, strict=True)] == [True] * len(hosts)
    assert [[app.release(host) for app in APPS] for host in hosts] == releases
    assert len(re.findall(r"PLAY \[Upgrade host by host\]", output)) == len(hosts)
    print(clients.answers)
    assert clients.answers["fine"] > 500
    assert set(clients.answers) == {"fine"}


def test_a_second_upgrade_changes_nothing(hosts: list[Host]) -> None:
    code, output = play("playbooks/upgrade.yml", "--limit=wsgi", wsgi_apps=published())
    assert code == 0
    assert re.findall(r"changed=(\d+)", output) == ["0"] * len(hosts)


def test_a_changed_interpreter_restarts_what_runs_on_it(hosts: list[Host]) -> None:
    host = hosts[-1]
    before = APPS[0].master(host)
    # What an upgrade of the package does to the file.
    host.check_output("f=$(readlink -f /usr/bin/python3) && cp -a $f $f.new && mv $f.new $f")
    assert play("playbooks/upgrade.yml", f"--limit={name(host)}", wsgi_apps=published())[0] == 0
    assert APPS[0].master(host) not in (0, before)


def test_the_upgrade_stops_at_a_host_whose_app_is_not_healthy(hosts: list[Host]) -> None:
    first = hosts[0]
    first.check_output(f"{SUPERVISORCTL} stop %s", APPS[1].program(first))
    code, output = play("playbooks/upgrade.yml", "--limit=wsgi", wsgi_apps=published(), upgrade_timeout=2)
    first.check_output(f"{SUPERVISORCTL} start %s", APPS[1].program(first))
    assert code == 2
    assert f"second on {name(first)}" in output
    assert len(re.findall(r"PLAY \[Upgrade host by host\]", output)) == 1


def test_a_host_without_the_stack_is_refused() -> None:
    code, output = play("playbooks/upgrade.yml", "--limit=nginx-debian", wsgi_apps=[])
    assert code == 2
    assert "There is nothing to upgrade on nginx-debian. Run site.yml first" in output


def test_an_app_moves_to_another_python_with_an_environment_of_its_own(hosts: list[Host], hello: App) -> None:
    host = next((host for host in hosts if host.package("python3.12").is_installed and host.exists("rpm")), None)
    if not host:
        pytest.skip("no platform of this run offers two Pythons")
    seen = []
    for version in ("3.11", "3.12"):
        described = apps()
        described[0]["python"] = {"version": version}
        assert play("site.yml", f"--limit={name(host)}", wsgi_apps=described)[0] == 0
        seen.append(host.check_output("readlink -f /srv/wsgi/hello/current/venv/bin/python"))
        assert hello.answers(host, host)
    assert seen[0].endswith("/python3.11")
    assert seen[0] != seen[1]
