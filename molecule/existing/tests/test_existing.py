"""What was there before us goes on; what cannot stand beside it is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from probes import INVENTORY, SENTENCE, fetch, name, play

HELLO = {
    "name": "hello",
    "source": {"path": "files/hello_flask"},
    "entrypoint": "hello_flask:create_app()",
    "server": {"workers": "1"},
    "site": {"listen": 8080},
    "health": {"path": "/healthz"},
}
ADDED = {"busy-centos": ("/theirs", "theirs too\n"), "busy-debian": ("/", "")}


def site(host: Host, **values: Any) -> tuple[int, str]:
    """Run site.yml with some values of the app's site changed."""
    return play("site.yml", f"--limit={name(host)}", wsgi_apps=[{**HELLO, "site": {**HELLO["site"], **values}}])


def clock(host: Host) -> str:
    """Return what the distribution's supervisor says of its program, with its process id."""
    return " ".join(host.check_output("/usr/bin/supervisorctl status clock").split()[:4])


@pytest.fixture(autouse=True)
def undisturbed(host: Host, neighbour: Host) -> Iterator[None]:
    """A test in which nobody's own things notice anything."""

    def state() -> list[str]:
        return [
            fetch(neighbour, f"http://{name(host)}:7070/").text,
            clock(host),
            host.check_output("systemctl show --property=MainPID --value nginx"),
            host.check_output("sha256sum /etc/nginx/nginx.conf /etc/nginx/conf.d/theirs.conf"),
        ]

    before = state()
    assert before[0] == "theirs\n"
    assert "RUNNING" in before[1]
    yield
    assert state() == before


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


def test_a_port_of_another_site_is_refused_unless_unknown_names_are_left_to_it(host: Host, neighbour: Host) -> None:
    code, output = site(host, listen=7070)
    assert code == 2
    assert "/etc/nginx/conf.d/theirs.conf listens on port 7070 as well" in output
    assert site(host, listen=7070, catch_all_enabled=False)[0] == 0
    assert fetch(neighbour, f"http://{name(host)}:7070/hello").text == SENTENCE
    assert fetch(neighbour, f"http://{name(host)}:7070/", headers={"Host": "other.example"}).text == "theirs\n"
    assert site(host)[0] == 0


def test_a_name_of_another_site_is_refused(host: Host) -> None:
    code, output = site(host, listen=7070, catch_all_enabled=False, server_names=["theirs.example"])
    assert code == 2
    assert 'conflicting server name "theirs.example" on 0.0.0.0:7070' in output


def test_a_port_of_another_program_is_refused(host: Host) -> None:
    code, output = site(host, listen=9001)
    assert code == 2
    assert "Port 9001 is held by " in output


def test_a_file_that_somebody_else_wrote_is_not_overwritten(host: Host) -> None:
    file = f"/etc/nginx/conf.d/wsgi-8090-{name(host)}.conf"
    host.check_output(f"echo '# theirs' > {file}")
    code, output = site(host, listen=8090)
    theirs = host.file(file).content_string
    host.check_output(f"rm {file}")
    assert code == 2
    assert f"{file} was not written by this collection" in output
    assert theirs == "# theirs\n"
    assert site(host)[0] == 0


def test_the_inventory_describes_what_the_tests_change() -> None:
    import yaml

    assert yaml.safe_load((INVENTORY / "group_vars" / "busy.yml").read_text())["wsgi_apps"] == [HELLO]
