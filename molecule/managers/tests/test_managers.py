"""nginx under supervisord, both ways and through what happens to a host; and an app on a Python of conda."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from probes import PROJECT, SUPERVISORCTL, App, differences, eventually, fetch, limit, name, pid, play, snapshot

SCENARIO = Path(__file__).resolve().parents[1]
HELLO = App("hello", 80, "")
DEBIAN = "managed-debian"
CONDA = "/opt/conda"
# What packages and Ansible itself leave, as the scenario `remove` says.
LEFT_BY_OTHERS = {
    "files": r"/var/(backups|lib/nginx|www)(/.*)?|/root/\.ansible(/tmp)?",
    "users": "nginx",
    "groups": "nginx",
    "logs": r"nginx|(alternatives|apt|dnf.*|dpkg|hawkey)(\.log)?",
}
# Asks again and again for some seconds, and prints the longest time without an answer.
WATCH = """
import http.client, sys, time
end, last, longest = time.monotonic() + float(sys.argv[1]), time.monotonic(), 0.0
while time.monotonic() < end:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=1)
        connection.request("GET", "/hello", headers={"Host": sys.argv[2]})
        if connection.getresponse().status == 200:
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    except OSError:
        pass
    finally:
        connection.close()
    time.sleep(0.02)
print(max(longest, time.monotonic() - last))
"""
# Sends a request whose body ends only two seconds later.
SLOW = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", 80), 10)
connection.sendall(f"POST /hello HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\nContent-Length: 2\\r\\n\\r\\nx".encode())
time.sleep(2)
connection.sendall(b"x")
print(connection.recv(99).split()[1].decode())
"""


def description(**changes: Any) -> list[dict[str, Any]]:
    """Return wsgi_apps with some keys of the app changed."""
    (app,) = yaml.safe_load((SCENARIO / "inventory/group_vars/managed.yml").read_text())["wsgi_apps"]
    return [{**app, **changes}]


def provision(hosts: list[Host], role: str, *arguments: str, **variables: Any) -> tuple[int, str]:
    """Run the part of site.yml that a role does, or all of it."""
    chosen = [limit(hosts), f"--tags={role}", *arguments]
    return play("site.yml", *chosen, inventory=SCENARIO / "inventory", **variables)


def answers(host: Host, client: Host) -> bool:
    return HELLO.answers(host, client)


def all_answer(hosts: list[Host]) -> bool:
    """Tell whether each host answers the other."""
    return all(answers(host, other) for host, other in zip(hosts, hosts[::-1], strict=True))


def is_off(host: Host) -> bool:
    """Tell whether systemd neither runs nginx nor would."""
    return not host.service("nginx").is_running and not host.service("nginx").is_enabled


@pytest.fixture
def client(host: Host, connect: Callable[[str], Host]) -> Host:
    """The other host, where clients come from."""
    return connect("managed-centos" if name(host) == DEBIAN else DEBIAN)


@pytest.fixture
def debian(host: Host) -> Host:
    """The host that has conda; what does not depend on the family is asked there alone."""
    if name(host) != DEBIAN:
        pytest.skip("one host is enough")
    return host


# nginx under supervisord.


def test_the_site_answers_on_a_port_that_only_root_may_have(host: Host, client: Host) -> None:
    assert answers(host, client)


def test_supervisorctl_and_the_web_interface_show_nginx_and_the_status_does(host: Host) -> None:
    assert re.search(r"^nginx +RUNNING", host.check_output(f"{SUPERVISORCTL} status"), re.MULTILINE)
    password = host.file("/etc/supervisord/web-password").content_string.strip()
    token = base64.b64encode(f"admin:{password}".encode()).decode()
    assert "nginx" in fetch(host, "http://127.0.0.1:9001/", headers={"Authorization": f"Basic {token}"}).text
    out = play("playbooks/status.yml", f"--limit={name(host)}", inventory=SCENARIO / "inventory")[1]
    assert re.search(r" active +healthy", out)


def test_systemds_unit_is_off_and_does_not_start_beside_it(host: Host, client: Host) -> None:
    assert is_off(host)
    host.run("systemctl start nginx")
    assert is_off(host)
    assert answers(host, client)


def test_supervisord_may_do_nothing_more_than_take_low_ports(host: Host) -> None:
    unit = host.file("/etc/systemd/system/supervisord-baremetal.service").content_string
    (own,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    allowed = host.check_output("systemctl show --property=CapabilityBoundingSet --value supervisord-baremetal")
    assert set(allowed.split()) == {*own.lower().split(), "cap_net_bind_service"}
    of_nginx, of_app = (
        int(re.search(r"CapBnd:\s+(\w+)", host.file(f"/proc/{process}/status").content_string)[1], 16)  # type: ignore[index]
        for process in (pid(host, "nginx"), HELLO.master(host))
    )
    assert of_nginx & 1 << 10
    assert of_app == of_nginx
    # Only the launcher of the apps keeps the right to mount (21), until it becomes the app.
    for process in (pid(host, "nginx"), HELLO.master(host)):
        for right in ("CapPrm", "CapEff"):
            status = host.file(f"/proc/{process}/status").content_string
            assert not int(re.search(rf"{right}:\s+(\w+)", status)[1], 16) >> 21 & 1  # type: ignore[index]
    said = host.check_output("systemd-analyze security --no-pager supervisord-baremetal | tail -1")
    assert float(re.findall(r"(\d+\.\d)", said)[0]) <= 5.0


def test_logs_are_where_nginx_writes_them(host: Host, client: Host) -> None:
    lines = len(host.file("/var/log/nginx/access.log").content_string.splitlines())
    assert answers(host, client)
    eventually(lambda: len(host.file("/var/log/nginx/access.log").content_string.splitlines()) > lines)


def test_a_changed_site_is_taken_up_by_the_same_nginx(debian: Host, client: Host) -> None:
    before = pid(debian, "nginx")
    for port in (8090, 80):
        assert provision([debian], "wsgi", wsgi_apps=description(site={"listen": port}))[0] == 0
        eventually(lambda port=port: App("hello", port, "").answers(debian, client))
    assert pid(debian, "nginx") == before


def test_a_broken_configuration_never_reaches_the_running_nginx(debian: Host, client: Host) -> None:
    before = pid(debian, "nginx")
    files = debian.check_output("find /etc/nginx -type f -exec sha256sum {} + | sort")
    code, out = provision([debian], "nginx", nginx_client_max_body_size="10q")
    assert code == 2
    assert "every file is as it was before" in out
    assert '"client_max_body_size" directive invalid value' in out
    assert (pid(debian, "nginx"), debian.check_output("find /etc/nginx -type f -exec sha256sum {} + | sort")) == (
        before,
        files,
    )
    assert answers(debian, client)


def test_a_check_of_a_host_that_serves_changes_nothing(host: Host) -> None:
    code, out = provision([host], "all", "--check", "--diff")
    assert code == 0
    assert "changed=0 " in out


def test_nginx_that_is_killed_comes_back_though_its_workers_have_the_port(host: Host, client: Host) -> None:
    before = pid(host, "nginx")
    host.check_output("kill -9 %s", str(before))
    eventually(lambda: pid(host, "nginx") not in (0, before) and answers(host, client))
    eventually(lambda: host.run("ps -o ppid= -C nginx | grep -w 1").rc != 0, seconds=70)


def test_a_stop_lets_requests_in_flight_finish(debian: Host) -> None:
    both = f"python3 -c %s {name(debian)} & sleep 0.5; {SUPERVISORCTL} restart nginx >/dev/null; wait"
    assert debian.check_output(both, SLOW) == "405"


def test_a_package_that_comes_anew_leaves_nginx_to_supervisord(hosts: list[Host]) -> None:
    for host in hosts:
        host.check_output(
            "env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --reinstall --yes nginx nginx-common >&2"
            if name(host) == DEBIAN
            else "dnf --assumeyes --quiet reinstall nginx >&2"
        )
    eventually(lambda: all_answer(hosts))
    assert [is_off(host) for host in hosts] == [True, True]
    assert provision(hosts, "nginx")[0] == 0
    assert all_answer(hosts)


def test_a_package_cannot_put_a_second_nginx_beside_it(debian: Host, client: Host) -> None:
    """Packages upgrade nginx in flight by SIGUSR2, which one in the foreground, a child of its starter, ignores."""
    before = pid(debian, "nginx")
    debian.check_output("kill -USR2 %s", str(before))
    assert answers(debian, client)
    assert not debian.file("/run/nginx.pid.oldbin").exists
    assert pid(debian, "nginx") == before


def test_a_reboot_brings_it_up(host: Host, client: Host) -> None:
    def boot() -> str:
        try:
            return host.check_output("cat /proc/sys/kernel/random/boot_id")
        except RuntimeError:  # ssh has no connection
            return ""

    before = boot()
    host.run("systemd-run --on-active=1 systemctl reboot")
    eventually(lambda: boot() not in ("", before))
    eventually(lambda: answers(host, client))
    assert is_off(host)


@pytest.mark.parametrize("manager", ["systemd", "supervisor"])
def test_a_manager_takes_over_from_the_other_within_a_restart(hosts: list[Host], manager: str) -> None:
    for host in hosts:
        host.check_output(
            f"systemd-run --collect --unit=watch --property=StandardOutput=file:/tmp/watch "
            f"/usr/bin/python3 -c %s 20 {name(host)}",
            WATCH,
        )
    assert provision(hosts, "nginx", nginx_manager=manager)[0] == 0
    assert all_answer(hosts)
    by_systemd = manager == "systemd"
    for host in hosts:
        assert (host.service("nginx").is_running, host.service("nginx").is_enabled) == (by_systemd, by_systemd)
        assert (host.run(f"{SUPERVISORCTL} status nginx").rc == 0) == (not by_systemd)
        eventually(lambda host=host: host.run("systemctl is-active watch").rc != 0)
        longest = float(host.check_output("cat /tmp/watch; rm /tmp/watch"))
        print(f"longest time without an answer: {longest:.2f} s")
        # The watch lasts 20 s, and a busy machine takes several times as long as a quiet one.
        assert longest < 10


# A Python of conda: what stands in for the installer is in conda_stand_in.py; its Pythons are real.


def test_the_app_runs_on_the_python_of_conda(debian: Host, client: Host) -> None:
    (python, *_others) = debian.file(f"/proc/{HELLO.master(debian)}/cmdline").content_string.split("\0")
    asked = "import sys; print(sys.base_prefix)"
    said = debian.check_output("runuser --user wsgi-hello -- %s -c %s", python, asked)
    assert said == f"{CONDA}/envs/python3.13"
    assert debian.check_output(f"find {CONDA} ! -user root") == ""
    assert answers(debian, client)


def test_conda_is_on_the_path_of_login_shells_and_hides_no_command_of_the_system(debian: Host) -> None:
    said = debian.check_output("env --ignore-environment HOME=/home/ops bash -lc 'command -v conda python3'")
    assert said.split() == [f"{CONDA}/bin/conda", "/usr/bin/python3"]
    assert "conda" not in debian.check_output("cat /etc/profile /root/.bashrc /root/.profile /home/ops/.bashrc")


def installer(version: str = "24.1.0") -> Path:
    """Write an installer on the controller."""
    path = PROJECT / ".fleet" / "managers" / f"conda-{version}.sh"
    subprocess.run([sys.executable, str(SCENARIO / "conda_stand_in.py"), str(path), version], check=True)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("conda", "python", "sentence"),
    [
        ({}, {}, "app hello: python.provider is conda, and python_conda is not set"),
        (
            {"checksum": f"sha256:{'0' * 64}", "prefix": "/opt/other"},
            {},
            f"not sha256:{'0' * 64}; nothing of it was used",
        ),
        (
            None,
            {"version": "3.99"},
            "conda cannot make an environment with Python 3.99 from its channels. Set python.ver",
        ),
        (None, {"version": "four"}, "python.version is 'four'"),
    ],
    ids=["no installer", "checksum", "version", "shape"],
)
def test_what_cannot_be_had_is_said_and_the_app_goes_on(
    debian: Host, client: Host, conda: dict[str, str] | None, python: dict[str, str], sentence: str
) -> None:
    given = {} if conda is None else {"python_conda": conda and {"path": str(installer()), **conda}}
    apps = description(python={"provider": "conda", **python})
    before = HELLO.master(debian)
    code, out = provision([debian], "python", wsgi_apps=apps, **given)
    assert code == 2
    assert sentence in out
    assert HELLO.master(debian) == before
    assert not debian.file("/opt/other").exists
    assert not debian.file(f"{CONDA}/envs/python3.99").exists
    assert answers(debian, client)


def test_another_installer_updates_conda_and_leaves_the_app_alone(debian: Host, client: Host) -> None:
    assert debian.check_output(f"{CONDA}/bin/conda --version") == "conda 24.1.0"
    newer = installer("25.3.0")
    given = {"python_conda": {"path": str(newer), "checksum": f"sha256:{digest(newer)}"}}
    before = HELLO.master(debian)
    assert provision([debian], "python", **given)[0] == 0
    assert debian.check_output(f"{CONDA}/bin/conda --version") == "conda 25.3.0"
    assert "changed=0 " in provision([debian], "all", **given)[1]
    assert HELLO.master(debian) == before
    assert answers(debian, client)


# The end. Tests of all hosts come after those of one host, whatever their order here.


def test_removing_everything_leaves_the_hosts_as_they_were(hosts: list[Host]) -> None:
    variables = {"remove": "stack", "confirm": "stack", "remove_data": True}
    code, _out = play("playbooks/remove.yml", limit(hosts), inventory=SCENARIO / "inventory", **variables)
    assert code == 0
    for host in hosts:
        before = json.loads(host.file("/root/before.json").content_string)
        assert differences(before, snapshot(host), LEFT_BY_OTHERS) == {}
