"""Services that were there before us go on; an app that cannot stand beside them is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from probes import INVENTORY, SENTENCE, assert_refused, fetch, limit, name, play

HELLO = {
    "name": "hello",
    "source": {"path": "files/hello_flask"},
    "entrypoint": "hello_flask:create_app()",
    "server": {"workers": "1"},
    "site": {"listen": 8080},
    "health": {"path": "/healthz"},
}


def site(hosts: list[Host], **values: Any) -> tuple[int, str]:
    """Run site.yml with some values of the app's site changed."""
    return play("site.yml", limit(hosts), wsgi_apps=[{**HELLO, "site": {**HELLO["site"], **values}}])


def clock(host: Host) -> str:
    """Return what the distribution's supervisor says of its program, with its process id."""
    return " ".join(host.check_output("/usr/bin/supervisorctl status clock").split()[:4])


@pytest.fixture(autouse=True)
def undisturbed(hosts: list[Host], client: Host) -> Iterator[None]:
    """A test in which nobody's own things notice anything."""

    def state(host: Host) -> list[str]:
        return [
            fetch(client, f"http://{name(host)}:7070/").text,
            clock(host),
            host.check_output("systemctl show --property=MainPID --value nginx"),
            host.check_output("sha256sum /etc/nginx/nginx.conf /etc/nginx/conf.d/theirs.conf"),
        ]

    before = [state(host) for host in hosts]
    assert all(page == "theirs\n" and "RUNNING" in program for page, program, *_ in before)
    yield
    assert [state(host) for host in hosts] == before


def test_the_app_is_served_beside_what_was_there(host: Host, neighbour: Host) -> None:
    assert fetch(neighbour, f"http://{name(host)}:8080/hello").text == SENTENCE


def test_a_main_configuration_that_is_in_use_stays(host: Host) -> None:
    configuration = host.file("/etc/nginx/nginx.conf").content_string
    assert "Ansible managed" not in configuration
    assert ("client_max_body_size 77m" in configuration) == (name(host) == "busy-debian")


def test_pages_of_other_packages_in_the_default_server_are_still_answered(host: Host, neighbour: Host) -> None:
    if name(host) == "busy-centos":
        assert fetch(neighbour, f"http://{name(host)}/theirs").text == "theirs too\n"
    else:  # Debian's default server is a site of its own, which the package's page was
        assert not host.file("/etc/nginx/sites-enabled/default").exists


def test_a_port_of_another_site_is_refused_unless_unknown_names_are_left_to_it(hosts: list[Host], client: Host) -> None:
    assert_refused(site(hosts, listen=7070), hosts, "/etc/nginx/conf.d/theirs.conf listens on port 7070 as well")
    assert site(hosts, listen=7070, catch_all_enabled=False)[0] == 0
    for host in hosts:
        url = f"http://{name(host)}:7070"
        assert fetch(client, f"{url}/hello").text == SENTENCE
        assert fetch(client, f"{url}/", headers={"Host": "other.example"}).text == "theirs\n"
    assert site(hosts)[0] == 0


def test_a_name_of_another_site_is_refused(hosts: list[Host]) -> None:
    answer = site(hosts, listen=7070, catch_all_enabled=False, server_names=["theirs.example"])
    assert_refused(answer, hosts, 'conflicting server name "theirs.example" on 0.0.0.0:7070')


def test_a_port_of_another_program_is_refused(hosts: list[Host]) -> None:
    assert_refused(site(hosts, listen=9001), hosts, "Port 9001 is held by ")


def test_a_file_that_somebody_else_wrote_is_not_overwritten(hosts: list[Host]) -> None:
    files = {host: f"/etc/nginx/conf.d/wsgi-8090-{name(host)}.conf" for host in hosts}
    for host, file in files.items():
        host.check_output(f"echo '# theirs' > {file}")
    answer = site(hosts, listen=8090)
    theirs = [host.check_output(f"cat {file} && rm {file}") for host, file in files.items()]
    assert_refused(answer, hosts, "was not written by this collection")
    assert all(file in answer[1] for file in files.values())
    assert theirs == ["# theirs"] * len(hosts)
    assert site(hosts)[0] == 0


def test_the_inventory_describes_what_the_tests_change() -> None:
    import yaml

    assert yaml.safe_load((INVENTORY / "group_vars" / "busy.yml").read_text())["wsgi_apps"] == [HELLO]
