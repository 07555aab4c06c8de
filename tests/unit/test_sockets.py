"""Listening sockets of other programs, and HTTP over unix sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import sockets
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import (
    AddressConnection,
    own_obstacle,
    port_holders,
)

LISTENER = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family)
server.bind((sys.argv[1], 0))
server.listen()
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as server:
            server.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def listen(start: Callable[..., subprocess.Popen]) -> Callable[[str], tuple[int, str]]:
    """Let another process listen; return its port and the name of its program."""

    def _listen(address: str) -> tuple[int, str]:
        process = start(sys.executable, "-c", LISTENER, address, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        return int(process.stdout.readline()), Path(f"/proc/{process.pid}/comm").read_text().strip()

    return _listen


@pytest.fixture
def cgroup(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every process seem to be in a control group, as systemd would put it there."""
    real = sockets._read

    def _cgroup(path: str) -> None:
        monkeypatch.setattr(sockets, "_read", lambda file: f"0::{path}\n" if file.endswith("/cgroup") else real(file))

    return _cgroup


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "0.0.0.0", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))],
)
def test_a_program_that_listens_is_named(listen: Callable[[str], tuple[int, str]], address: str) -> None:
    port, name = listen(address)
    assert port_holders(str(port), {"nginx.service"}) == {name}


def test_a_program_of_the_unit_itself_is_no_stranger(
    listen: Callable[[str], tuple[int, str]], cgroup: Callable[[str], None]
) -> None:
    port, _ = listen("127.0.0.1")
    cgroup("/system.slice/nginx.service")
    assert port_holders(str(port), {"nginx.service"}) == set()


SHORT_SIGHTED = """
import sys
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import port_holders
print(port_holders(sys.argv[1], {int(sys.argv[2])} if sys.argv[2:] else {"nginx.service"}))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="takes root and setpriv")
def test_a_program_that_even_root_may_not_look_into_holds_its_port(start: Callable[..., subprocess.Popen]) -> None:
    process = start(
        *("setpriv", "--reuid=65534", "--clear-groups", "python3", "-c", LISTENER, "127.0.0.1"),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    port, name = process.stdout.readline().strip(), Path(f"/proc/{process.pid}/comm").read_text().strip()

    def holders(*arguments: str) -> str:
        blind = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", sys.executable, "-c", SHORT_SIGHTED]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [*blind, port, *arguments], env=environment, text=True, capture_output=True, check=True
        ).stdout.strip()

    assert name in holders()
    assert holders(str(process.pid)) == "set()"


@pytest.mark.parametrize("path", ["/system.slice/apache2.service", "/system.slice/my-nginx.service", "/"])
def test_a_program_of_another_unit_is_a_stranger(
    listen: Callable[[str], tuple[int, str]], cgroup: Callable[[str], None], path: str
) -> None:
    port, name = listen("127.0.0.1")
    cgroup(path)
    assert port_holders(str(port), {"nginx.service"}) == {name}


@pytest.mark.parametrize(
    ("held", "wanted", "refused"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "[::1]", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "[::1]", False),
        ("::", "127.0.0.1", True),  # Linux gives it IPv4 as well, unless told not to
        ("::1", "127.0.0.1", False),
    ],
)
def test_an_address_is_held_by_whoever_has_it_or_all(
    listen: Callable[[str], tuple[int, str]], held: str, wanted: str, refused: bool
) -> None:
    if ":" in held and not has_ipv6():
        pytest.skip("no IPv6 here")
    port, name = listen(held)
    assert port_holders(f"{wanted}:{port}", {"nginx.service"}) == ({name} if refused else set())


@pytest.mark.parametrize(
    ("held", "places", "obstacle"),
    [
        ("127.0.0.1", ["127.0.0.1:PORT"], ""),
        ("127.0.0.1", ["127.0.0.2:PORT"], ""),
        ("127.0.0.1", ["PORT"], "127.0.0.1"),
        ("127.0.0.1", ["PORT", "127.0.0.1:PORT"], "127.0.0.1"),
        ("0.0.0.0", ["PORT"], ""),
        ("0.0.0.0", ["127.0.0.1:PORT"], "0.0.0.0"),
        ("0.0.0.0", ["127.0.0.1:PORT", "PORT"], ""),  # what is open serves that address as well
        ("0.0.0.0", ["[::1]:PORT"], ""),
    ],
)
def test_a_reload_cannot_change_between_all_addresses_of_a_port_and_one(
    listen: Callable[[str], tuple[int, str]], cgroup: Callable[[str], None], held: str, places: list[str], obstacle: str
) -> None:
    port, _ = listen(held)
    wanted = [place.replace("PORT", str(port)) for place in places]
    assert own_obstacle(wanted[0], wanted, {"nginx.service"}) == ""  # somebody else's is no business of a reload
    cgroup("/system.slice/nginx.service")
    assert own_obstacle(wanted[0], wanted, {"nginx.service"}) == obstacle


def test_a_port_is_free_once_nobody_listens_on_it_any_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port_holders(str(port), {"nginx.service"})
    assert port_holders(str(port), {"nginx.service"}) == set()


def test_a_connection_to_a_port_does_not_hold_it() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
        server.close()
        assert port_holders(str(port), {"nginx.service"}) == set()


def test_http_is_spoken_over_a_unix_socket(unix_server: Path) -> None:
    connection = AddressConnection(str(unix_server), 60)
    connection.request("GET", "/", headers={"Host": "shop.example"})
    response = connection.getresponse()
    assert response.status == 200
    assert response.read().startswith(b"shop.example")
    connection.close()


def test_a_server_that_does_not_answer_is_given_up(unix_server: Path) -> None:
    connection = AddressConnection(str(unix_server), 0.2)
    connection.request("GET", "/slow")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
