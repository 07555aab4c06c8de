"""Every run gets one bad value beside the good ones, on a host that serves."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import INVENTORY, App, apps, fetch, name, play

# Where a distribution says who it is.
IDENTITY = ("/usr/lib/os-release", "/etc/debian_version", "/etc/redhat-release", "/etc/centos-release")
LIVE = "/etc/nginx /etc/supervisord /etc/profile.d /etc/sysusers.d /srv/wsgi"

# Former releases that are still warm would end by themselves in the middle of a test.
END_FORMER = """
for timer in $(systemctl list-units --plain --no-legend 'baremetal-web-retire-*.timer' | cut -d ' ' -f 1); do
    systemctl start ${timer%.timer}.service
    while systemctl --quiet is-active ${timer%.timer}.service; do sleep 0.2; done
done
"""


def changed(values: dict[str, Any], which: int = 0) -> list[dict[str, Any]]:
    """Return wsgi_apps with some values of one app changed."""
    described = apps()
    app = described[which]
    for key, value in values.items():
        app[key] = {**app.get(key, {}), **value} if isinstance(value, dict) else value
    return described


def release(host: Host, described: list[dict[str, Any]]) -> tuple[int, str]:
    """Try to bring the apps to the host."""
    return play("site.yml", f"--limit={name(host)}", wsgi_apps=described)


@pytest.fixture
def untouched(host: Host, neighbour: Host, hello: App) -> Iterator[None]:
    """A test after which the host is, and serves, as before."""

    def state() -> list[str]:
        return [
            host.check_output(f"find {LIVE} ! -name releases.log -printf '%y %m %u %g %p %l\\n' | sort"),
            host.check_output(f"find {LIVE} -type f ! -name releases.log -exec sha256sum {{}} + | sort"),
            host.check_output("pgrep --list-full '^(nginx|supervisord|python)' | sort"),
            fetch(neighbour, hello.url(host, "/")).text,
        ]

    host.check_output(END_FORMER)
    before = state()
    assert hello.release(host) in before[-1]
    yield
    assert state() == before


# What is wrong: which app it is about, its values, and what the sentence must have.
OF_THE_DESCRIPTION = {
    "unknown key": (0, {"sever": {}}, "unknown key sever (did you mean server?)"),
    "unknown key inside": (0, {"server": {"wokers": 9}}, "unknown key server.wokers (did you mean workers?)"),
    "name": (0, {"name": "../hello"}, "name is '../hello'; it must be a lower-case letter"),
    "name used twice": (1, {"name": "hello"}, "app hello: the name is used twice"),
    "place used twice": (1, {"site": {"prefix": "/gunicorn"}}, "the same site (port 8080, prefix /gunicorn)"),
    "port": (0, {"site": {"listen": 70000}}, "site.listen is 70000; a port is a number from 1 to 65535"),
    "prefix": (0, {"site": {"prefix": "/a/"}}, "site.prefix is '/a/'; it must be / or a path such as /shop"),
    "bind": (0, {"server": {"bind": "127.0.0.1:80"}}, "server.bind is '127.0.0.1:80'; the port must be from 1024"),
    "workers": (0, {"server": {"workers": "0"}}, "server.workers is '0'; it must be auto, n, 2n+1, or a whole number"),
    "source": (0, {"source": {"path": "nowhere"}}, "source.path 'nowhere' is no directory on the controller"),
    "requirements": (0, {"python": {"requirements": "none.txt"}}, "python.requirements names 'none.txt', which"),
    "variable's name": (0, {"environment": {"A-B": "c"}}, "environment has the name 'A-B'"),
}
OF_THE_HOST = {
    "python": ({"python": {"version": "3.9"}}, "which gives no Python 3.9; it gives 3.1"),
    "module": ({"entrypoint": "no_such_module:app"}, "ModuleNotFoundError: No module named 'no_such_module'"),
    "attribute": ({"entrypoint": "hello_flask:no_such_app"}, "entrypoint 'hello_flask:no_such_app' does not import"),
    "health of the live release": ({"health": {"path": "/nope", "timeout": 2}}, "not healthy on /nope within 2 s"),
    "health of a new release": (
        {"health": {"path": "/nope", "timeout": 5}, "server": {"threads": 2}},
        "not healthy on /nope within 5 s: answer 404 from http://",
    ),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("which", "values", "sentence"), OF_THE_DESCRIPTION.values(), ids=OF_THE_DESCRIPTION)
def test_the_controller_refuses_and_asks_no_host(host: Host, which: int, values: dict[str, Any], sentence: str) -> None:
    code, output = release(host, changed(values, which))
    assert code == 2
    assert sentence in output
    assert "Gather the facts" not in output


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("values", "sentence"), OF_THE_HOST.values(), ids=OF_THE_HOST)
def test_the_host_refuses_and_goes_on_serving(host: Host, values: dict[str, Any], sentence: str) -> None:
    code, output = release(host, changed(values))
    assert code == 2
    assert sentence in output


@pytest.mark.usefixtures("untouched")
def test_a_misspelt_wsgi_apps_takes_no_app_away(host: Host, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(INVENTORY, inventory)
    described = inventory / "group_vars" / "wsgi.yml"
    described.write_text(described.read_text().replace("wsgi_apps:", "wsgi_app:"))
    code, output = play("site.yml", f"--limit={name(host)}", inventory=inventory)
    assert code == 2
    assert "wsgi_apps is not defined for this host" in output


@pytest.fixture
def on_another_platform(host: Host) -> Iterator[None]:
    """A host that says it is of a version from long ago."""
    files = [path for path in IDENTITY if host.file(path).exists and not host.file(path).is_symlink]
    version = host.check_output(". /etc/os-release && echo ${VERSION_ID%%.*}")
    for path in files:
        host.check_output(f"cp {path} /tmp/{Path(path).name} && sed -i 's/{version}/6/' {path}")
    yield
    for path in files:
        host.check_output(f"mv /tmp/{Path(path).name} {path}")


@pytest.mark.usefixtures("untouched", "on_another_platform")
def test_an_unsupported_platform_is_refused(host: Host) -> None:
    code, output = release(host, apps())
    assert code == 2
    assert "is not supported. Supported: Debian 12, Debian 13, Ubuntu 22.04" in output


@pytest.fixture
def frozen(host: Host) -> Iterator[None]:
    """A host on which nobody is to release the first app."""
    assert play("playbooks/lock.yml", f"--limit={name(host)}", app="hello", message="the sale is on")[0] == 0
    yield
    assert play("playbooks/unlock.yml", f"--limit={name(host)}", app="hello")[0] == 0


@pytest.mark.usefixtures("untouched", "frozen")
def test_a_release_of_a_frozen_app_is_refused_with_who_and_why(host: Host) -> None:
    code, output = release(host, changed({"server": {"threads": 2}}))
    assert code == 2
    assert re.search(r"locked by \S+@\S+ since \S+ \(the sale is on\), for ever", output)
    assert "ansible-playbook baremetal.web.unlock -e app=hello" in output


@pytest.mark.usefixtures("untouched")
def test_an_app_whose_import_fails_is_refused_with_its_own_words(host: Host, hello: App, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise RuntimeError('no database at db.example:5432')\n")
    code, output = release(
        host, changed({"source": {"path": str(tmp_path)}, "entrypoint": "shop:app", "python": {"requirements": ""}})
    )
    assert code == 2
    assert "entrypoint 'shop:app' does not import: RuntimeError: no database at db.example:5432" in output
    assert f"The live release is {hello.release(host)}." in output
