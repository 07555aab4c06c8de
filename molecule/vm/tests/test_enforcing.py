"""The whole stack on a host where SELinux enforces and a firewall runs."""

import re
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from probes import SENTENCE, Answer, fetch, play

INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
APPS = yaml.safe_load((INVENTORY / "group_vars/wsgi.yml").read_text())["wsgi_apps"]
# What the stack starts or labels; denials of the system's own services are not of our making.
OURS = re.compile(r'comm="(nginx|gunicorn|supervisord|supervisorctl)"|httpd_t|/srv/wsgi|/opt/baremetal')


def ask(host: Host, app: dict) -> Answer:
    """Ask an app for its sentence, on the host itself and by the host's name."""
    site = app["site"]
    return fetch(host, f"http://127.0.0.1:{site['listen']}{site.get('prefix', '')}/hello", headers={"Host": "vm"})


def denials(host: Host) -> list[str]:
    """Return the denials in the audit log that concern the stack."""
    return [
        line
        for line in host.run("grep -a 'avc:  denied' /var/log/audit/audit.log").stdout.splitlines()
        if OURS.search(line)
    ]


def ports_open(host: Host) -> set[str]:
    return set(re.findall(r"\b80\d\d\b", host.run("ufw status verbose || firewall-cmd --list-all").stdout))


def test_selinux_enforces_and_nginx_is_confined(host: Host) -> None:
    assert host.file("/sys/fs/selinux/enforce").content_string == "1"
    assert {line.split(":")[2] for line in host.check_output("ps -o label= -C nginx").splitlines()} == {"httpd_t"}


@pytest.mark.parametrize("app", APPS, ids=lambda app: app["name"])
def test_an_app_answers_through_nginx(host: Host, app: dict) -> None:
    assert ask(host, app).text == SENTENCE


def test_nothing_of_the_stack_was_denied(host: Host) -> None:
    assert denials(host) == []


def test_the_firewall_lets_the_ports_of_the_sites_in_and_no_other(host: Host) -> None:
    assert ports_open(host) == {str(app["site"]["listen"]) for app in APPS}


def test_a_socket_that_lost_its_label_gets_it_back_by_a_run(host: Host) -> None:
    socket = host.check_output("readlink -f /srv/wsgi/hello/current.sock")
    label = host.check_output("stat -c %%C %s", socket)
    assert ":var_t:" not in label
    host.check_output("chcon -t var_t %s", socket)
    assert ask(host, APPS[0]).status == 502
    code, out = play("site.yml", "--tags=wsgi", inventory=INVENTORY)
    assert code == 0
    assert "changed=1" in out
    assert host.check_output("stat -c %%C %s", socket) == label
    assert ask(host, APPS[0]).text == SENTENCE


def test_a_port_of_another_service_is_refused_by_name(host: Host) -> None:
    code, out = play(
        "molecule/vm/site.yml", inventory=INVENTORY, nginx_site={"name": "db", "server_names": ["db"], "listen": 3306}
    )
    assert code != 0
    assert "Port 3306 belongs to another service" in out
    assert "mysqld_port_t" in out
    assert not host.file("/etc/nginx/conf.d/db.conf").exists


def test_a_site_that_goes_takes_its_rules_along(host: Host) -> None:
    site = {"name": "gone", "server_names": ["gone"], "listen": 8091}
    assert play("molecule/vm/site.yml", inventory=INVENTORY, nginx_site=site)[0] == 0
    assert "baremetal-web-nginx-site-gone" in host.check_output("semodule -l")
    assert fetch(host, "http://127.0.0.1:8091/", headers={"Host": "gone"}).status == 404
    assert play("molecule/vm/site.yml", inventory=INVENTORY, nginx_site=site, nginx_site_state="absent")[0] == 0
    assert "baremetal-web-nginx-site-gone" not in host.check_output("semodule -l")
    assert "8091" not in ports_open(host)
