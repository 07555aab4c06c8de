"""What happens to one app must not be felt by another."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import APPS, PROJECT, SENTENCE, App, apps, fetch, name, play

HELLO, SECOND, EVENTED = APPS


def converge(host: Host, described: list[dict[str, Any]]) -> str:
    """Bring the apps to the host; return what was printed."""
    code, output = play("site.yml", f"--limit={name(host)}", "--tags=wsgi", wsgi_apps=described)
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
def restored(host: Host) -> Iterator[None]:
    """The apps as the inventory has them, before and after."""
    converge(host, apps())
    yield
    converge(host, apps())


@pytest.fixture(autouse=True)
def unharmed(host: Host) -> Iterator[None]:
    """The other apps, whose servers go on as if nothing had been."""
    before = [app.master(host) for app in (SECOND, EVENTED)]
    yield
    assert [app.master(host) for app in (SECOND, EVENTED)] == before


def programs(host: Host, app: App) -> list[str]:
    """Return the names of an app's programs that supervisord knows."""
    lines = host.run("/opt/baremetal/bin/supervisorctl status").stdout.splitlines()
    return [line.split()[0] for line in lines if line.startswith(f"{app.name}-")]


def test_a_changed_number_of_workers_is_a_release_and_going_back_needs_no_build(host: Host, neighbour: Host) -> None:
    former, built = HELLO.release(host), host.file("/srv/wsgi/hello/current/server.txt").mtime
    converge(host, changed(server={"workers": "3"}))
    assert HELLO.release(host) != former
    assert len(HELLO.workers(host)) == 3
    # The former one goes on for a while beside it.
    assert programs(host, HELLO) == sorted([f"hello-{former}", HELLO.program(host)])
    assert HELLO.answers(host, client=neighbour)
    converge(host, apps())
    assert HELLO.release(host) == former
    assert host.file("/srv/wsgi/hello/current/server.txt").mtime == built
    assert HELLO.answers(host, client=neighbour)


def test_the_order_of_the_apps_makes_no_difference(host: Host) -> None:
    assert "changed=0 " in converge(host, apps()[::-1])


def test_a_site_that_moves_leaves_nothing_listening_behind(host: Host, neighbour: Host) -> None:
    described = apps()
    for app in described[:2]:
        app["site"]["listen"] = 8090
    release = HELLO.release(host)
    converge(host, described)
    assert fetch(neighbour, f"http://{name(host)}:8090/gunicorn/hello").text == SENTENCE
    assert not host.socket("tcp://0.0.0.0:8080").is_listening
    assert HELLO.release(host) == release


def test_an_app_that_is_no_longer_named_stays_published_until_that_is_said(host: Host, neighbour: Host) -> None:
    limit, left = f"--limit={name(host)}", apps()[1:]
    converge(host, apps())  # where the site stands that another test has moved
    code, output = play("site.yml", limit, wsgi_apps=left)
    assert code == 2
    assert f"app hello is published on {name(host)}, and wsgi_apps of {name(host)} names evented, second." in output
    assert HELLO.answers(host, client=neighbour)
    # A run for another app has no need to change the sites.
    code, output = play("site.yml", limit, "--tags=wsgi", wsgi_apps=left, app="second")
    assert code == 0
    assert f"The sites of {name(host)} stay as they are." in output
    assert HELLO.answers(host, client=neighbour)
    code, _ = play("site.yml", limit, "--tags=wsgi", wsgi_apps=left, unpublish="hello")
    assert code == 0
    assert fetch(neighbour, HELLO.url(host)).status == 404
    assert SECOND.answers(host, client=neighbour)
    code, output = play("playbooks/status.yml", limit, wsgi_apps=left)
    assert code == 2
    assert f"hello on {name(host)}: wsgi_apps of {name(host)} does not name it" in output
    code, output = play("playbooks/status.yml", limit)
    assert code == 2
    assert f"hello on {name(host)}: the web server's configuration does not lead to it." in output


def test_an_app_may_listen_on_an_address_of_its_own_as_well(host: Host, neighbour: Host) -> None:
    converge(host, changed(server={"bind": "127.0.0.1:5000"}))
    assert fetch(host, "http://127.0.0.1:5000/hello").text == SENTENCE
    assert HELLO.answers(host, client=neighbour)


def test_a_version_comes_from_git_and_the_host_needs_none(host: Host, neighbour: Host, tmp_path: Path) -> None:
    repository = tmp_path / "hello.git"
    shutil.copytree(PROJECT / "files" / "hello_flask", repository, ignore=shutil.ignore_patterns("tests", ".*"))
    # The same content is the same release, with the commit that it came from first.
    (repository / "unique.txt").write_text(str(tmp_path))
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "First"), ("tag", "v1")):
        subprocess.run(["git", *identity, *words], cwd=repository, check=True)
    described = apps()
    described[0]["source"] = {"git": {"repo": str(repository), "version": "v1"}}
    converge(host, described)
    manifest = json.loads(host.file("/srv/wsgi/hello/current/release.json").content_string)
    commit = subprocess.check_output(["git", "rev-parse", "v1"], cwd=repository, text=True).strip()
    assert (manifest["version"], manifest["commit"]) == ("v1", commit)
    assert HELLO.answers(host, client=neighbour)
    assert not host.exists("git")


def test_packages_that_need_building_are_built_by_the_build_user(host: Host, tmp_path: Path) -> None:
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
    code, output = play("site.yml", f"--limit={name(host)}", wsgi_apps=[{**described[0], "python": {}}, *described[1:]])
    assert code == 2
    assert "built" in output
    converge(host, described)
    (built_by,) = host.check_output("cat /srv/wsgi/hello/current/venv/lib/python3.*/site-packages/built.txt").split()
    assert built_by == "wsgi-build"


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
