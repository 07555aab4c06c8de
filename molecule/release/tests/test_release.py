"""A change of one app must not be felt by another."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import APPS, PROJECT, SENTENCE, App, apps, assert_refused, fetch, limit, name, play

HELLO, SECOND, EVENTED = APPS


def converge(hosts: list[Host], described: list[dict[str, Any]]) -> str:
    """Bring the apps to the hosts; return what was printed."""
    code, output = play("site.yml", limit(hosts), "--tags=wsgi", wsgi_apps=described)
    assert code == 0
    return output


def changed(**values: Any) -> list[dict[str, Any]]:
    """Return wsgi_apps with some values of the first app changed."""
    described = apps()
    described[0] |= {
        key: {**described[0].get(key, {}), **value} if key in ("server", "site") else value
        for key, value in values.items()
    }
    return described


@pytest.fixture(scope="module", autouse=True)
def restored(hosts: list[Host]) -> Iterator[None]:
    """The apps as the inventory has them, before and after."""
    converge(hosts, apps())
    yield
    converge(hosts, apps())


@pytest.fixture(autouse=True)
def unharmed(hosts: list[Host]) -> Iterator[None]:
    """The other apps, whose servers go on as if nothing had been."""
    before = [app.master(host) for host in hosts for app in (SECOND, EVENTED)]
    yield
    assert [app.master(host) for host in hosts for app in (SECOND, EVENTED)] == before


def programs(host: Host, app: App) -> list[str]:
    """Return the names of an app's programs that supervisord knows."""
    lines = host.run("/opt/baremetal/bin/supervisorctl status").stdout.splitlines()
    return [line.split()[0] for line in lines if line.startswith(f"{app.name}-")]


def built(host: Host) -> float:
    """Return when the live release was built."""
    return host.file("/srv/wsgi/hello/current/server.txt").mtime.timestamp()


def test_a_changed_number_of_workers_is_a_release_and_going_back_needs_no_build(
    hosts: list[Host], client: Host
) -> None:
    before = [(HELLO.release(host), built(host)) for host in hosts]
    converge(hosts, changed(server={"workers": "3"}))
    for host, (release, _) in zip(hosts, before, strict=True):
        assert HELLO.release(host) != release
        assert len(HELLO.workers(host)) == 3
        # The standby one goes on for a while beside it.
        assert programs(host, HELLO) == sorted([f"hello-{release}", HELLO.program(host)])
        assert HELLO.answers(host, client)
    converge(hosts, apps())
    assert [(HELLO.release(host), built(host)) for host in hosts] == before
    assert all(HELLO.answers(host, client) for host in hosts)


def test_the_order_of_the_apps_makes_no_difference(hosts: list[Host]) -> None:
    assert set(re.findall(r"changed=(\d+) ", converge(hosts, apps()[::-1]))) == {"0"}


def test_a_site_that_moves_leaves_nothing_listening_behind(hosts: list[Host], client: Host) -> None:
    described = apps()
    for app in described[:2]:
        app["site"]["listen"] = 8090
    releases = [HELLO.release(host) for host in hosts]
    converge(hosts, described)
    for host in hosts:
        assert fetch(client, f"http://{name(host)}:8090/gunicorn/hello").text == SENTENCE
        assert not host.socket("tcp://0.0.0.0:8080").is_listening
    assert [HELLO.release(host) for host in hosts] == releases


def test_an_app_that_is_no_longer_named_stays_published_until_that_is_said(hosts: list[Host], client: Host) -> None:
    left = apps()[1:]
    converge(hosts, apps())  # where the site stands that another test has moved
    code, output = play("site.yml", limit(hosts), wsgi_apps=left)
    assert code == 2
    for host in hosts:
        assert f"app hello is published on {name(host)}, and wsgi_apps of {name(host)} names evented, second." in output
    assert all(HELLO.answers(host, client) for host in hosts)
    # A run for another app has no need to change the sites.
    code, output = play("site.yml", limit(hosts), "--tags=wsgi", wsgi_apps=left, app="second")
    assert code == 0
    assert all(f"The sites of {name(host)} stay as they are." in output for host in hosts)
    assert all(HELLO.answers(host, client) for host in hosts)
    code, _ = play("site.yml", limit(hosts), "--tags=wsgi", wsgi_apps=left, unpublish="hello")
    assert code == 0
    assert all(fetch(client, HELLO.url(host)).status == 404 for host in hosts)
    assert all(SECOND.answers(host, client) for host in hosts)
    code, output = play("playbooks/status.yml", limit(hosts), wsgi_apps=left)
    assert code == 2
    for host in hosts:
        assert f"hello on {name(host)}: wsgi_apps of {name(host)} does not name it" in output
    code, output = play("playbooks/status.yml", limit(hosts))
    assert code == 2
    for host in hosts:
        assert f"hello on {name(host)}: the web server's configuration does not lead to it." in output


def test_an_app_may_listen_on_an_address_of_its_own_as_well(hosts: list[Host], client: Host) -> None:
    converge(hosts, changed(server={"bind": "127.0.0.1:5000"}))
    for host in hosts:
        assert fetch(host, "http://127.0.0.1:5000/hello").text == SENTENCE
        assert HELLO.answers(host, client)


def test_a_version_comes_from_git_and_the_host_needs_none(hosts: list[Host], client: Host, tmp_path: Path) -> None:
    repository = tmp_path / "hello.git"
    shutil.copytree(PROJECT / "files" / "hello_flask", repository, ignore=shutil.ignore_patterns("tests", ".*"))
    # The same content is the same release, with the commit that it came from first.
    (repository / "unique.txt").write_text(str(tmp_path))
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "First"), ("tag", "v1")):
        subprocess.run(["git", *identity, *words], cwd=repository, check=True)
    described = apps()
    described[0]["source"] = {"git": {"repo": str(repository), "version": "v1"}}
    converge(hosts, described)
    commit = subprocess.check_output(["git", "rev-parse", "v1"], cwd=repository, text=True).strip()
    for host in hosts:
        manifest = json.loads(host.file("/srv/wsgi/hello/current/release.json").content_string)
        assert (manifest["version"], manifest["commit"]) == ("v1", commit)
        assert HELLO.answers(host, client)
        assert not host.exists("git")


def test_packages_that_need_building_are_built_by_the_build_user(hosts: list[Host], tmp_path: Path) -> None:
    source = tmp_path / "hello"
    shutil.copytree(PROJECT / "files" / "hello_flask", source, ignore=shutil.ignore_patterns("tests", ".*"))
    package = source / "built"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "built"\nversion = "1.0"\n'
    )
    (package / "backend.py").write_text(BACKEND)
    (source / "requirements.txt").write_text("flask\n./built\n")
    described = apps()
    described[0] |= {"source": {"path": str(source)}, "python": {"source_builds_enabled": True}}
    answer = play("site.yml", limit(hosts), wsgi_apps=[{**described[0], "python": {}}, *described[1:]])
    assert_refused(answer, hosts, "built")
    converge(hosts, described)
    for host in hosts:
        builder = host.check_output("cat /srv/wsgi/hello/current/venv/lib/python3.*/site-packages/built.txt")
        assert builder.split() == ["wsgi-build"]


# The least that builds a wheel, and says as whom.
BACKEND = """
import os, pwd, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "built-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("built.txt", pwd.getpwuid(os.getuid()).pw_name)
        wheel.writestr("built-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n")
        wheel.writestr("built-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("built-1.0.dist-info/RECORD", "")
    return name
"""
