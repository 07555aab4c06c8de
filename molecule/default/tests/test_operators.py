"""The hosts as operators find them when they log in, and when they run Ansible."""

import json
import re
from collections.abc import Iterator

import pytest
from testinfra.host import Host

from probes import APPS, SUPERVISORCTL, App, apps, environment, play


@pytest.fixture
def operator(host: Host) -> Iterator[str]:
    """An unprivileged member of the group supervisor."""
    host.check_output("useradd --create-home --shell /bin/bash --groups supervisor observer")
    yield "observer"
    host.check_output("userdel --remove --force observer")


def running(status: str) -> set[str]:
    """Return the programs that `supervisorctl status` shows as running."""
    return set(re.findall(r"^(\S+) +RUNNING", status, re.MULTILINE))


def programs(host: Host) -> set[str]:
    """Return the programs that should run."""
    return {app.program(host) for app in APPS}


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_root_finds_the_commands_in_a_login_shell(host: Host, shell: str) -> None:
    assert running(host.check_output("%s -lc 'supervisorctl status'", shell)) == programs(host)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_roots_path_has_no_command_of_an_app(host: Host, shell: str) -> None:
    assert "/srv/wsgi/" not in host.check_output("%s -lc 'echo $PATH'", shell)


def test_root_runs_a_command_as_the_apps_user(host: Host, hello: App) -> None:
    said = host.check_output("/usr/local/bin/app-run %s sh -c 'id -un; pwd; command -v python'", hello.name).split()
    release = f"/srv/wsgi/{hello.name}/current"
    assert said[0] == host.file(f"/srv/wsgi/{hello.name}/data").user != "root"
    assert host.file(said[1]).linked_to == host.file(f"{release}/app").linked_to
    assert said[2].endswith("/venv/bin/python")


def test_a_member_of_the_group_supervisor_needs_no_root(host: Host, operator: str) -> None:
    assert running(host.check_output("runuser -l %s -c 'supervisorctl status'", operator)) == programs(host)


def test_others_may_not_speak_to_supervisord(host: Host) -> None:
    assert host.run(f"runuser -u ops -- {SUPERVISORCTL} status").rc != 0


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_path_has_each_directory_once_however_often_it_is_set(host: Host, shell: str) -> None:
    script = "for again in 1 2; do for file in /etc/profile.d/*.sh; do . $file; done; done; echo $PATH"
    path = host.check_output("%s -lc %s", shell, script).split(":")
    wanted = {"/opt/baremetal/bin"}
    assert wanted <= set(path)
    assert len(path) == len(set(path))
    assert path.index("/usr/bin") < min(map(path.index, wanted))


def test_a_variable_of_any_shape_arrives_as_it_was_written(host: Host, hello: App) -> None:
    written = next(app for app in apps() if app["name"] == hello.name)["environment"]["WORDS"]
    for process in (hello.master(host), *hello.workers(host)):
        assert environment(host, process)["WORDS"] == written


def test_a_check_of_the_live_hosts_finds_nothing_to_change() -> None:
    code, output = play("site.yml", "--check", "--limit=wsgi")
    assert code == 0
    recap = dict(re.findall(r"(\S+) : ok=\d+ (changed=\d+)", output))
    assert recap == dict.fromkeys(["app-centos", "app-ubuntu", "app-debian"], "changed=0")


@pytest.mark.parametrize(("playbook", "words"), [("status", {}), ("history", {"app": "hello"})])
def test_a_script_gets_one_document_of_all_hosts(playbook: str, words: dict[str, str]) -> None:
    code, output = play(f"playbooks/{playbook}.yml", "--limit=wsgi", callback="baremetal.web.json", **words)
    document = json.loads(output)
    assert (code, document["failures"]) == (0, [])
    wanted = {words["app"]} if words else {app.name for app in APPS}
    hosts = {row["host"] for row in document["rows"]}
    assert hosts == {"app-centos", "app-ubuntu", "app-debian"}
    assert all({row["app"] for row in document["rows"] if row["host"] == host} >= wanted for host in hosts)
