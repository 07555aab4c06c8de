"""Apache httpd in front of the apps: what clients get, releases under load, refusals, removal."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from probes import SENTENCE, differences, eventually, fetch, name, play, snapshot
from traffic import Target, lives, load

SCENARIO = Path(__file__).resolve().parents[1]
INVENTORY = SCENARIO / "inventory"
APPS = yaml.safe_load((INVENTORY / "group_vars" / "wsgi.yml").read_text())["wsgi_apps"]
BIND = 5085
ORIGIN = "https://shop.example"
RELEASES = 2
# What others than us leave: httpd's package its first page, the package managers and httpd their logs and backups.
LEFT_BY_OTHERS = {"files": r"/var/(backups|www|lib/apache2)(/.*)?", "logs": r"apache2|(alternatives|apt|dpkg)(\.log)?"}


@pytest.fixture
def client(connect: Callable[[str], Host]) -> Host:
    """Where requests come from."""
    return connect("apache-neighbour")


def run(playbook: str, *arguments: str, **variables: Any) -> tuple[int, str]:
    """Run a playbook on the host."""
    return play(playbook, "--limit=wsgi", *arguments, inventory=INVENTORY, **variables)


def url(host: Host, path: str = "/gunicorn/hello") -> str:
    return f"http://{name(host)}:8080{path}"


def test_an_app_answers_below_its_prefix_and_does_not_notice_the_web_server(host: Host, client: Host) -> None:
    assert fetch(client, url(host)).text == SENTENCE
    assert fetch(client, url(host, "/gunicorn")).headers["location"] == url(host, "/gunicorn/")
    assert fetch(client, url(host, "/stamped/")).status == 200
    assert fetch(client, f"http://{name(host)}:{BIND}/").status == 200


def test_httpd_is_there_in_place_of_nginx(host: Host) -> None:
    assert not host.package("nginx").is_installed
    assert host.service("apache2").is_running
    assert host.service("apache2").is_enabled


def test_httpd_has_few_of_root_s_rights(host: Host) -> None:
    parent = host.check_output("systemctl show --property=MainPID --value apache2")
    (bound,) = re.findall(r"CapBnd:\s*(\w+)", host.file(f"/proc/{parent}/status").content_string)
    assert int(bound, 16).bit_count() <= 8
    said = host.check_output("systemd-analyze security --no-pager apache2 | tail -1")
    assert float(re.findall(r"(\d+\.\d)", said)[0]) <= 5.0


def test_an_app_is_used_by_pages_of_the_origin_that_is_named_alone(host: Host, client: Host) -> None:
    allow = "access-control-allow-origin"
    answer = fetch(client, url(host), "OPTIONS", headers={"Origin": ORIGIN})
    assert (answer.status, answer.body, answer.headers[allow]) == (204, b"", ORIGIN)
    assert fetch(client, url(host), headers={"Origin": ORIGIN}).headers[allow] == ORIGIN
    assert allow not in fetch(client, url(host), headers={"Origin": "https://evil.example"}).headers


def test_the_error_page_is_the_sites_and_an_apps_where_it_wants_it(host: Host, client: Host) -> None:
    pages = {path: fetch(client, url(host, path)) for path in ("/nowhere", "/stamped/nowhere", "/gunicorn/nowhere")}
    assert {answer.status for answer in pages.values()} == {404}
    assert ["nothing here" in answer.text for answer in pages.values()] == [True, True, False]


def test_another_host_name_is_refused_without_an_app(host: Host, client: Host) -> None:
    assert fetch(client, url(host), headers={"Host": "other.example"}).status == 421


def test_the_configuration_of_httpd_raises_no_warning_of_ours(host: Host) -> None:
    said = host.run("apache2ctl -t").stderr.splitlines()
    assert [line for line in said if "fully qualified domain name" not in line] == ["Syntax OK"]


def test_releases_and_rollbacks_under_load_lose_no_request(host: Host, client: Host) -> None:
    before = len(lives(host, "stamped"))
    targets = [Target(host, "stamped", 8080), Target(host, "stamped", BIND, "")]
    with load(client, targets, rate=40, connections={"slow": 1}) as judgement:
        for number in range(RELEASES):
            assert run("site.yml", "--tags=wsgi", version=f"release {number}", wsgi_selected=["stamped"])[0] == 0
        assert run("playbooks/rollback.yml", app="stamped")[0] == 0
    judgement.assert_flawless()
    assert len(lives(host, "stamped")) == before + RELEASES + 1
    assert judgement.found["count"] > 1000


def test_clients_get_a_page_of_ours_while_an_app_is_away(host: Host, client: Host) -> None:
    host.check_output("systemctl stop supervisord-baremetal")
    answer = fetch(client, url(host), headers={"Origin": ORIGIN})
    host.check_output("systemctl start supervisord-baremetal")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (503, ORIGIN)
    assert "<h1>Back soon</h1>" in answer.text
    assert eventually(lambda: fetch(client, url(host)).status == 200)


def test_status_tells_how_httpd_is(host: Host) -> None:
    code, output = run("playbooks/status.yml")
    assert code == 0
    assert "apache active" in output


def test_a_host_has_one_web_server_for_all_its_apps(host: Host) -> None:
    mixed = [APPS[0], {**APPS[1], "site": {**APPS[1]["site"], "proxy": "nginx"}}]
    code, output = run("site.yml", wsgi_apps=mixed)
    assert code == 2
    assert "site.proxy of hello is apache, and site.proxy of stamped is nginx" in output


def test_a_site_of_somebody_else_is_left_alone_and_its_port_is_not_taken(host: Host, client: Host) -> None:
    theirs = "Listen 8090\n<VirtualHost *:8090>\nRedirect 410 /\n</VirtualHost>\n"
    host.check_output("printf %%s %s > /etc/apache2/sites-enabled/theirs.conf && apache2ctl graceful", theirs)
    there = [APPS[0] | {"site": {**APPS[0]["site"], "listen": 8090}}, APPS[1]]
    code, output = run("site.yml", "--tags=wsgi", wsgi_apps=there)
    assert code == 2
    assert "/etc/apache2/sites-enabled/theirs.conf has a site on port 8090 as well" in output
    assert fetch(client, url(host)).text == SENTENCE
    there[0]["site"]["catch_all_enabled"] = False
    assert run("site.yml", "--tags=wsgi", wsgi_apps=there)[0] == 0
    assert fetch(client, f"http://{name(host)}:8090/gunicorn/hello").text == SENTENCE
    assert fetch(client, f"http://{name(host)}:8090/", headers={"Host": "theirs.example"}).status == 410
    host.check_output("rm /etc/apache2/sites-enabled/theirs.conf")
    assert run("site.yml", "--tags=wsgi")[0] == 0
    assert fetch(client, url(host)).text == SENTENCE


def test_a_configuration_that_httpd_refuses_never_reaches_it(host: Host, client: Host) -> None:
    files = "find /etc/apache2 -type f -exec sha256sum {} + | sort"
    before = host.check_output(files)
    broken = [{**APPS[0], "site": {**APPS[0]["site"], "server_names": ["a", "b>c"]}}, APPS[1]]
    assert run("site.yml", "--tags=wsgi", wsgi_apps=broken)[0] == 2
    host.check_output("echo Nonsense > /etc/apache2/conf-enabled/theirs.conf")
    moved = [{**APPS[0], "site": {**APPS[0]["site"], "listen": 8091}}, APPS[1]]
    code, output = run("site.yml", "--tags=wsgi", wsgi_apps=moved)
    host.check_output("rm /etc/apache2/conf-enabled/theirs.conf")
    assert code == 2
    assert "Invalid command 'Nonsense'" in output
    assert host.check_output(files) == before
    assert fetch(client, url(host)).text == SENTENCE


def test_in_check_mode_a_live_host_is_as_described(host: Host) -> None:
    code, output = run("site.yml", "--check", "--diff")
    assert code == 0
    assert "changed=0" in output


def test_a_removed_app_is_no_longer_published_and_the_other_one_is(host: Host, client: Host) -> None:
    assert run("playbooks/remove.yml", remove="stamped", confirm="stamped", remove_data=True)[0] == 0
    assert fetch(client, url(host, "/stamped/")).status == 404
    assert fetch(client, f"http://{name(host)}:{BIND}/").error == "ConnectionRefusedError"
    assert fetch(client, url(host)).text == SENTENCE


def test_after_removal_a_host_is_as_it_was(host: Host) -> None:
    assert run("playbooks/remove.yml", remove="stack", confirm="stack", remove_data=True)[0] == 0
    before = json.loads(host.file("/root/before.json").content_string)
    after = snapshot(host)
    assert differences(before, after, LEFT_BY_OTHERS) == {}
