"""The role supervisor without the other roles."""

from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from probes import SUPERVISORCTL, assert_refused, environment, eventually, limit, pid, play, web_status

CONVERGE = "molecule/supervisor/converge.yml"
PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module", autouse=True)
def restored(hosts: list[Host]) -> Iterator[None]:
    """The programs of the playbook, put back after the tests."""
    yield
    assert play(CONVERGE, limit(hosts))[0] == 0


def pids(hosts: list[Host], program: str) -> list[int]:
    """Return the process id of a program on each host."""
    return [pid(host, program) for host in hosts]


def change(hosts: list[Host], **values: Any) -> tuple[int, str]:
    """Run the playbook with some values of one program changed."""
    return play(CONVERGE, limit(hosts), "--start-at-task=Run the programs", "--diff", "-v", change=values)


def test_a_program_runs_as_nobody_and_its_output_is_kept(host: Host) -> None:
    assert host.check_output("ps -o user= -p %s", str(pid(host, "steady"))) == "nobody"
    eventually(lambda: host.file("/var/log/supervisord/steady.log").size)


def test_a_variable_arrives_as_it_was_written(host: Host) -> None:
    assert environment(host, pid(host, "changing"))["WORD"] == "it's 100% $HOME;# "


def test_changing_a_program_leaves_the_other_alone_and_shows_no_secret(hosts: list[Host]) -> None:
    steady, changing = pids(hosts, "steady"), pids(hosts, "changing")
    code, output = change(hosts, umask="077", environment={"WORD": "hunter2hunter2"})
    assert code == 0
    assert output.count("+umask = 077") == len(hosts)
    assert "hunter2hunter2" not in output
    for host, former in zip(hosts, changing, strict=True):
        assert pid(host, "changing") not in (0, former)
        assert environment(host, pid(host, "changing"))["WORD"] == "hunter2hunter2"
    assert pids(hosts, "steady") == steady


def test_an_absent_program_is_gone_and_leaves_the_other_alone(hosts: list[Host]) -> None:
    steady = pids(hosts, "steady")
    assert change(hosts, state="absent")[0] == 0
    for host in hosts:
        assert "no such process" in host.run(f"{SUPERVISORCTL} status changing").stdout
        assert not host.file("/etc/supervisord/conf.d/changing.conf").exists
    assert pids(hosts, "steady") == steady


def test_a_program_that_does_not_stay_up_is_reported(hosts: list[Host]) -> None:
    steady = pids(hosts, "steady")
    says = "The program changing does not stay up: it is FATAL. Its log is /var/log/supervisord/changing.log."
    assert_refused(change(hosts, command="/bin/false", startretries=0), hosts, says)
    assert pids(hosts, "steady") == steady


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"supervisor_web_password": "short"}, "supervisor_web_password has 5 characters (12 or more"),
        ({"supervisor_web_port": 80}, "supervisor_web_port is 80 (1024 to 65535)"),
        ({"supervisor_web_names": ["ui.example:9001"]}, "supervisor_web_names are ui.example:9001 (host names"),
        ({"supervisor_log_level": "loud"}, "loud"),
        ({"change": {"comand": "/bin/true"}}, "supervisor_program.comand. Supported parameters include"),
        ({"change": {"environment": {"WORD": 'a "b"'}}}, "The value of the environment variable WORD cannot stand in"),
    ],
    ids=["password", "port", "names", "level", "key", "variable"],
)
def test_bad_input_is_refused_and_nothing_restarts(hosts: list[Host], variables: dict[str, Any], sentence: str) -> None:
    steady = pids(hosts, "steady")
    assert_refused(play(CONVERGE, limit(hosts), **variables), hosts, sentence)
    assert pids(hosts, "steady") == steady


def test_a_password_that_is_given_opens_the_web_interface_in_place_of_the_generated_one(hosts: list[Host]) -> None:
    generated = [host.file("/etc/supervisord/web-password").content_string.strip() for host in hosts]
    assert play(CONVERGE, limit(hosts), supervisor_web_password=PASSWORD)[0] == 0
    for host, former in zip(hosts, generated, strict=True):
        assert [web_status(host, f"admin:{password}") for password in (PASSWORD, former)] == [200, 401]
        assert PASSWORD not in host.file("/etc/supervisord/supervisord.conf").content_string


def test_the_stack_is_not_needed(host: Host) -> None:
    assert not host.package("nginx").is_installed
    assert not host.file("/srv/wsgi").exists
