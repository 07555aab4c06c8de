"""Every run gets one bad value beside the good ones, on a host that serves."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import INVENTORY, App, apps, assert_refused, fetch, limit, play

# Where a distribution says who it is.
IDENTITY = ("/usr/lib/os-release", "/etc/debian_version", "/etc/redhat-release", "/etc/centos-release")
LIVE = "/etc/nginx /etc/supervisord /etc/profile.d /etc/sysusers.d /srv/wsgi"

# Standby releases that are still warm would end by themselves in the middle of a test.
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


def release(hosts: list[Host], described: list[dict[str, Any]], **options: bool) -> tuple[int, str]:
    """Try to bring the apps to the hosts."""
    return play("site.yml", limit(hosts), wsgi_apps=described, **options)


@pytest.fixture
def untouched(hosts: list[Host], client: Host, hello: App) -> Iterator[None]:
    """A test after which the hosts are, and serve, as before."""

    def state(host: Host) -> list[str]:
        return [
            host.check_output(f"find {LIVE} ! -name releases.log -printf '%y %m %u %g %p %l\\n' | sort"),
            host.check_output(f"find {LIVE} -type f ! -name releases.log -exec sha256sum {{}} + | sort"),
            host.check_output("pgrep --list-full '^(nginx|supervisord|python)' | sort"),
            fetch(client, hello.url(host, "/")).text,
        ]

    for host in hosts:
        host.check_output(END_FORMER)
    before = [state(host) for host in hosts]
    assert all(hello.release(host) in answers[-1] for host, answers in zip(hosts, before, strict=True))
    yield
    assert [state(host) for host in hosts] == before


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
    "health of the live release": ({"health": {"path": "/nope", "timeout": 2}}, "not healthy on /nope within 2 s"),
    "health of a new release": (
        {"health": {"path": "/nope", "timeout": 5}, "server": {"threads": 2}},
        "not healthy on /nope within 5 s: answer 404 from http://",
    ),
}
# One after the other, the apps of one run.
OF_EACH_APP = [
    ({"entrypoint": "no_such_module:app"}, "ModuleNotFoundError: No module named 'no_such_module'"),
    ({"entrypoint": "hello_flask:no_such_app"}, "entrypoint 'hello_flask:no_such_app' does not import"),
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("which", "values", "sentence"), OF_THE_DESCRIPTION.values(), ids=OF_THE_DESCRIPTION)
def test_the_controller_refuses_and_asks_no_host(
    hosts: list[Host], which: int, values: dict[str, Any], sentence: str
) -> None:
    code, output = release(hosts, changed(values, which))
    assert code == 2
    assert sentence in output
    assert "Gather the facts" not in output


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("values", "sentence"), OF_THE_HOST.values(), ids=OF_THE_HOST)
def test_the_host_refuses_and_goes_on_serving(hosts: list[Host], values: dict[str, Any], sentence: str) -> None:
    assert_refused(release(hosts, changed(values)), hosts, sentence)


@pytest.mark.usefixtures("untouched")
def test_a_run_tells_what_is_wrong_with_each_of_its_apps(hosts: list[Host]) -> None:
    described = apps()
    for app, (values, _) in zip(described, OF_EACH_APP, strict=False):
        app |= values
    answer = release(hosts, described)
    for _, sentence in OF_EACH_APP:
        assert_refused(answer, hosts, sentence)


@pytest.mark.usefixtures("untouched")
def test_a_misspelt_wsgi_apps_takes_no_app_away(hosts: list[Host], tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(INVENTORY, inventory)
    described = inventory / "group_vars" / "wsgi.yml"
    described.write_text(described.read_text().replace("wsgi_apps:", "wsgi_app:"))
    code, output = play("site.yml", limit(hosts), inventory=inventory)
    assert code == 2
    assert "wsgi_apps is not defined for this host" in output


@pytest.fixture
def on_another_platform(hosts: list[Host]) -> Iterator[None]:
    """Hosts that say they are of a version from long ago."""
    files = [
        (host, path) for host in hosts for path in IDENTITY if host.file(path).exists and not host.file(path).is_symlink
    ]
    versions = {host: host.check_output(". /etc/os-release && echo ${VERSION_ID%%.*}") for host in hosts}
    for host, path in files:
        host.check_output(f"cp {path} /tmp/{Path(path).name} && sed -i 's/{versions[host]}/6/' {path}")
    yield
    for host, path in files:
        host.check_output(f"mv /tmp/{Path(path).name} {path}")


@pytest.mark.usefixtures("untouched", "on_another_platform")
def test_an_unsupported_platform_is_refused(hosts: list[Host]) -> None:
    code, output = release(hosts, apps(), fresh_facts=True)
    assert code == 2
    said = re.findall(r"(\w+) 6[\d.]* is not supported\. Supported: Debian 12, Debian 13, Ubuntu 22\.04", output)
    assert set(said) == {"CentOS", "Debian"}


@pytest.fixture
def frozen(hosts: list[Host]) -> Iterator[None]:
    """Hosts on which nobody is to release the first app."""
    assert play("playbooks/lock.yml", limit(hosts), app="hello", message="the sale is on")[0] == 0
    yield
    assert play("playbooks/unlock.yml", limit(hosts), app="hello")[0] == 0


@pytest.mark.usefixtures("untouched", "frozen")
def test_a_release_of_a_frozen_app_is_refused_with_who_and_why(hosts: list[Host]) -> None:
    answer = release(hosts, changed({"server": {"threads": 2}}))
    assert_refused(answer, hosts, "ansible-playbook baremetal.web.unlock -e app=hello")
    said = re.findall(r"locked by \S+@\S+ since \S+ \(the sale is on\)\. The lock has no end", answer[1])
    assert len(said) >= len(hosts)


@pytest.mark.usefixtures("untouched")
def test_an_app_whose_import_fails_is_refused_with_its_own_words(hosts: list[Host], hello: App, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise RuntimeError('no database at db.example:5432')\n")
    broken = {"source": {"path": str(tmp_path)}, "entrypoint": "shop:app", "python": {"requirements": ""}}
    answer = release(hosts, changed(broken))
    says = "entrypoint 'shop:app' does not import: RuntimeError: no database at db.example:5432"
    assert_refused(answer, hosts, says)
    assert all(f"The live release is {hello.release(host)}." in answer[1] for host in hosts)
