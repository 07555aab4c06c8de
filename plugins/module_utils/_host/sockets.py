# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the listening sockets of a host through /proc, and speak HTTP over unix sockets."""

from __future__ import annotations

import glob
import http.client
import ipaddress
import os
import socket
import struct
from collections.abc import Collection
from contextlib import closing, suppress
from typing import NamedTuple, Union
from urllib.parse import unquote

from ansible_collections.baremetal.web.plugins.module_utils._host.processes import process_numbers

_LISTEN = "0A"
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
EVERYWHERE: set[Address] = {ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")}


class Listener(NamedTuple):
    """A program that listens on a TCP port."""

    address: Address
    program: str
    own: bool  # of the service that was asked about


def _address(digits: str) -> Address:
    """Return an address that /proc shows as words of this machine's byte order."""
    packed = b"".join(struct.pack("=I", int(digits[start : start + 8], 16)) for start in range(0, len(digits), 8))
    address = ipaddress.ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address


def _listening_inodes(port: int) -> dict[str, tuple[Address, int]]:
    """Return address and user of each socket that listens on a port, by what /proc calls it."""
    inodes = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError), open(table, encoding="ascii") as stream:
            for line in list(stream)[1:]:
                fields = line.split()
                digits, _colon, number = fields[1].rpartition(":")
                if fields[3] == _LISTEN and int(number, 16) == port:
                    inodes[f"socket:[{fields[9]}]"] = _address(digits), int(fields[7])
    return inodes


def _is_owned(process: str, owners: Collection[str | int]) -> bool:
    """Tell whether a process belongs to one of systemd's units, or to a process group."""
    group = _read(os.path.join(process, "stat")).rpartition(")")[2].split()[2]
    names = _read(os.path.join(process, "cgroup")).replace("\n", "/").split("/")
    return int(group) in owners or any(name in owners for name in names)


def _listeners(port: str, owners: Collection[str | int]) -> set[Listener]:
    nameless = _listening_inodes(int(port))
    processes = [f"/proc/{number}" for number in process_numbers()] if nameless else []
    found, closed = set(), set()
    for process in processes:
        # A process may end meanwhile; and even root may not look into each, where a container lacks CAP_SYS_PTRACE.
        for link in glob.glob(os.path.join(process, "fd", "*")):
            try:
                inode = os.readlink(link)
            except PermissionError:
                closed.add(process)
                break
            except OSError:
                continue
            if inode in nameless:
                with suppress(OSError):
                    found.add(_listener(nameless[inode][0], process, owners))
                    del nameless[inode]
    for address, user in nameless.values():
        suspects = [_listener(address, process, owners) for process in closed if _user(process) == user]
        own = next((suspect for suspect in suspects if suspect.own), None)
        program = " or ".join(sorted({suspect.program for suspect in suspects})) or f"a program of user {user}"
        found.add(own or Listener(address, program, own=False))
    return found


def _listener(address: Address, process: str, owners: Collection[str | int]) -> Listener:
    return Listener(address, _read(os.path.join(process, "comm")).strip(), _is_owned(process, owners))


def _user(process: str) -> int:
    """Return the effective user of a process; none of an ended one."""
    with suppress(OSError):
        for line in _read(os.path.join(process, "status")).splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[2])
    return -1


def _split(address: str) -> tuple[set[Address], str]:
    """Return the addresses and the port of PORT or ADDRESS:PORT."""
    host, _colon, port = address.rpartition(":")
    return {ipaddress.ip_address(host.strip("[]"))} if host else EVERYWHERE, port


def _overlap(wanted: Address, held: Address) -> bool:
    alike = wanted.version == held.version and (wanted.is_unspecified or held.is_unspecified)
    return wanted == held or alike or held == ipaddress.ip_address("::")  # which may hold IPv4 as well


def port_holders(address: str, owners: Collection[str | int]) -> set[str]:
    """Return the programs of others that keep a service from listening on PORT or ADDRESS:PORT.

    Its own are those of its units, given by name, and of its process groups, given by number.
    """
    addresses, port = _split(address)
    strangers = (found for found in _listeners(port, owners) if not found.own)
    return {found.program for found in strangers if any(_overlap(wanted, found.address) for wanted in addresses)}


def own_obstacle(address: str, all_wanted: list[str], owners: Collection[str | int]) -> str:
    """Return where a service listens itself, so that a reload cannot bring it to ``address``; empty for nowhere.

    It opens the new before it closes the old, and all addresses of a port exclude one of them. ``all_wanted`` has all
    addresses that it is to listen on: one that is open already and stays serves one address as well.
    """
    addresses, port = _split(address)
    stays = {one for other in all_wanted if _split(other)[1] == port for one in _split(other)[0]}
    held = {found.address for found in _listeners(port, owners) if found.own}
    for wanted in sorted(addresses - held, key=str):
        for one in sorted(held, key=str):
            excludes = wanted.is_unspecified or (one.is_unspecified and one not in stays)
            if wanted.version == one.version and excludes:
                return str(one)
    return ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def connect(address: str, timeout: float) -> socket.socket:
    """Connect to a unix socket, or to ADDRESS:PORT."""
    if not address.startswith("/"):
        host, _colon, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


class AddressConnection(http.client.HTTPConnection):
    """An HTTP connection to a unix socket, or to ADDRESS:PORT."""

    def __init__(self, address: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self.address = address

    def connect(self) -> None:
        self.sock = connect(self.address, self.timeout)


class Answer(NamedTuple):
    """An HTTP server's answer, as far as callers need it."""

    status: int
    location: str
    cookies: dict[str, str]


def _answer(response: http.client.HTTPResponse) -> Answer:
    cookies = (value.partition(";")[0].partition("=") for value in response.headers.get_all("Set-Cookie") or [])
    return Answer(
        response.status,
        response.getheader("Location") or "",
        {name.strip(): value.strip() for name, _sign, value in cookies},
    )


def ask(address: str, path: str, headers: dict[str, str], timeout: float, protocol: str = "http") -> Answer:
    """Send a GET; return its answer. Each read and write may take as long as ``timeout``."""
    if protocol == "uwsgi":
        return ask_over_uwsgi(address, path, headers, timeout)
    with closing(AddressConnection(address, timeout)) as connection:
        connection.request("GET", path, headers=headers)
        return _answer(connection.getresponse())


def ask_over_uwsgi(address: str, path: str, headers: dict[str, str], timeout: float) -> Answer:
    """Send a GET over the uwsgi protocol, with the variables that nginx sets; return its answer.

    https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html: a header of four bytes, then names and values, each after
    its length; the answer is HTTP.
    """
    variables = {
        **{"REQUEST_METHOD": "GET", "REQUEST_URI": path, "PATH_INFO": unquote(path.partition("?")[0])},
        **{"QUERY_STRING": path.partition("?")[2], "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "localhost"},
        **{"SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": "", "CONTENT_TYPE": ""},
        "SCRIPT_NAME": headers.get("SCRIPT_NAME", ""),
        **{"HTTP_CONNECTION": "close", "HTTP_X_REQUEST_URI": path},
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items() if "_" not in name},
    }
    words = (word.encode() for pair in variables.items() for word in pair)
    body = b"".join(struct.pack("<H", len(word)) + word for word in words)
    with connect(address, timeout) as connection:
        connection.sendall(struct.pack("<BHB", 0, len(body), 0) + body)
        with http.client.HTTPResponse(connection, method="GET") as response:
            response.begin()
            return _answer(response)
