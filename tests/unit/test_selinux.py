"""What a confined program is allowed: what it lacks, and nothing else."""

from __future__ import annotations

import bz2
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.selinux import (
    Needs,
    Policy,
    SELinuxError,
    module_name,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.web_servers import upstream_ports

# As the targeted policy of EL 9 and 10 has them.
BASE = """\
(portcon tcp 80 (system_u object_r http_port_t ((s0) (s0))))
(portcon tcp 8080 (system_u object_r http_cache_port_t ((s0) (s0))))
(portcon tcp 8081 (system_u object_r transproxy_port_t ((s0) (s0))))
(portcon tcp (3000 3001) (system_u object_r ntop_port_t ((s0) (s0))))
(portcon tcp 3306 (system_u object_r mysqld_port_t ((s0) (s0))))
(portcon udp 8090 (system_u object_r mysqld_port_t ((s0) (s0))))
(portcon tcp (1 511) (system_u object_r reserved_port_t ((s0) (s0))))
(portcon tcp (1024 32767) (system_u object_r unreserved_port_t ((s0) (s0))))
"""
BINDS = ("http_port_t", "http_cache_port_t", "ntop_port_t")
STORE = Path("/var/lib/selinux/default")


class Host(Policy):
    """A store of files, and a kernel that allows what it is told to."""

    allowed = frozenset(("httpd_t", kind, "tcp_socket", "name_bind") for kind in BINDS)

    def knows(self, type_name: str) -> bool:
        return type_name in ("httpd_t", "httpd_var_run_t", "unconfined_service_t")

    def allows(self, domain: str, target: str, kind: str, permission: str) -> bool:
        return (domain, target, kind, permission) in self.allowed


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "etc/selinux").mkdir(parents=True)
    (tmp_path / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=targeted\n")
    base = tmp_path / "var/lib/selinux/targeted/active/modules/100/base/cil"
    base.parent.mkdir(parents=True)
    base.write_bytes(bz2.compress(BASE.encode()))
    return Host(str(tmp_path))


@pytest.fixture
def install(host: Host) -> Callable[[str, str], None]:
    """Install a policy module, in effect at once."""

    def _install(name: str, text: str) -> None:
        path = Path(host.store, "modules/400", name, "cil")
        path.parent.mkdir(parents=True)
        path.write_bytes(bz2.compress(text.encode()))

    return _install


def listening(host: Host, *ports: int, others: tuple[str, ...] = ("transproxy_port_t",)) -> list[str]:
    needs = Needs(host, "httpd_t")
    for port in ports:
        needs.listen(port, "http_port_t", list(others))
    return needs.rules


def test_where_selinux_is_off_one_look_says_so(tmp_path: Path) -> None:
    assert not Policy(str(tmp_path)).enabled


@pytest.mark.parametrize("port", [80, 8080, 3001])
def test_a_port_that_the_policy_gives_to_the_web_needs_no_rule(host: Host, port: int) -> None:
    assert listening(host, port) == []


@pytest.mark.parametrize("port", [90, 8090, 40000])
def test_a_port_that_no_service_claims_becomes_one_of_the_web(host: Host, port: int) -> None:
    assert listening(host, port, port) == [f"(portcon tcp {port} (system_u object_r http_port_t ((s0) (s0))))"]


def test_a_port_of_another_service_keeps_its_type(host: Host) -> None:
    assert listening(host, 8081) == ["(allow httpd_t transproxy_port_t (tcp_socket (name_bind)))"]


def test_a_port_of_a_service_that_was_not_named_is_refused_with_what_to_do(host: Host) -> None:
    with pytest.raises(SELinuxError, match=r"Port 3306 .* mysqld_port_t.* add mysqld_port_t to port_types"):
        listening(host, 3306)
    assert listening(host, 3306, others=("mysqld_port_t",))


def test_a_port_that_an_administrator_gave_to_the_web_needs_no_rule(host: Host) -> None:
    Path(host.store, "ports.local").write_text("portcon tcp 8085-8095 system_u:object_r:http_port_t:s0\n")
    assert listening(host, 8090) == []


def test_rules_that_are_in_effect_already_are_wanted_all_the_same(
    host: Host, install: Callable[[str, str], None]
) -> None:
    rule = "(allow httpd_t unconfined_service_t (unix_stream_socket (connectto)))"
    install("baremetal-web-wsgi", f"{rule}\n")
    host.allowed = frozenset({("httpd_t", "unconfined_service_t", "unix_stream_socket", "connectto")})
    needs = Needs(host, "httpd_t")
    needs.reach("unconfined_service_t")
    assert needs.rules == [rule]


def test_what_the_policy_allows_by_itself_needs_no_rule(host: Host) -> None:
    host.allowed = frozenset({("httpd_t", "unconfined_service_t", "unix_stream_socket", "connectto")})
    needs = Needs(host, "httpd_t")
    needs.reach("unconfined_service_t")
    assert needs.text() == ""


def test_a_domain_that_the_policy_does_not_have_is_left_out(host: Host) -> None:
    needs = Needs(host, "httpd_t")
    needs.reach("initrc_t")
    assert needs.rules == []


def test_a_type_that_the_policy_does_not_have_is_refused_by_name(host: Host) -> None:
    with pytest.raises(SELinuxError, match="no type 'httpd_vra_run_t'"):
        Needs(host, "httpd_t").label("/srv/wsgi/[^/]+/run(/.*)?", "httpd_vra_run_t")


def test_only_the_kind_of_port_that_is_proxied_to_may_be_connected_to(host: Host) -> None:
    needs = Needs(host, "httpd_t")
    needs.connect(3306, "http_port_t")
    assert needs.rules == ["(allow httpd_t mysqld_port_t (tcp_socket (name_connect)))"]


@pytest.mark.parametrize(("name", "installed"), [("wsgi", "baremetal-web-wsgi"), ("a+b.c", "baremetal-web-a-b-c")])
def test_a_policy_module_bears_our_name(name: str, installed: str) -> None:
    assert module_name(name) == installed


@pytest.mark.parametrize(
    ("server", "ports"),
    [
        ("127.0.0.1:5000 weight=2", [5000]),
        ("[::1]:5000", [5000]),
        ("[2001:db8::1]", [80]),
        ("app.example", [80]),
        ("unix:/srv/app.sock max_fails=1", []),
    ],
)
def test_the_port_of_a_server_is_read_as_nginx_reads_it(server: str, ports: list[int]) -> None:
    plain = {"servers": ["unix:/srv/app.sock"], "alternative": None, "backups": []}
    assert upstream_ports([{**plain, "servers": [server]}]) == ports
    alternative = {**plain, "alternative": {"file": "/a", "servers": [server]}}
    assert upstream_ports([alternative, {**plain, "backups": [server]}]) == ports


@pytest.mark.skipif(
    not (shutil.which("semodule") and STORE.exists()), reason="needs policycoreutils and selinux-policy-default"
)
def test_the_real_tools_take_the_module_and_label_the_sockets(host: Host, tmp_path: Path) -> None:
    """On a copy of this machine's policy store, which needs no kernel with SELinux."""
    needs = Needs(host, "httpd_t")
    needs.label(r"/srv/my\.apps/[^/]+/run(/.*)?", "httpd_var_run_t")
    needs.listen(8090, "http_port_t", [])
    needs.listen(8081, "http_port_t", ["transproxy_port_t"])
    copy, module = tmp_path / "copy", tmp_path / "baremetal-web-test.cil"
    module.write_text(needs.text())
    shutil.copytree(STORE, copy / "var/lib/selinux/default")
    shutil.copytree("/etc/selinux", copy / "etc/selinux")
    command = ["semodule", "-p", str(copy), "-s", "default", "-n", "-i", str(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    contexts = copy / "etc/selinux/default/contexts/files/file_contexts"
    paths = ["/srv/my.apps/hello/run/x.sock", "/srv/my.apps/hello/run", "/srv/my.apps/hello/current.sock"]
    labels = subprocess.run(["matchpathcon", "-n", "-f", contexts, *paths], capture_output=True, text=True, check=True)
    types = [label.split(":")[2] for label in labels.stdout.split()]
    assert types[0] == types[1] != types[2]
    assert types[0] in ("httpd_var_run_t", "httpd_runtime_t")
    installed = Policy(str(copy))
    (copy / "etc/selinux/config").write_text("SELINUXTYPE=default\n")
    assert installed.module("baremetal-web-test") == needs.text()
    assert installed.port_type(8080) == "http_cache_port_t"
