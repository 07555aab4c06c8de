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
from contextlib import suppress
from typing import NamedTuple, Union

_LISTEN = "0A"
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
EVERYWHERE: set[Address] = {ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")}


class Listener(NamedTuple):
    """A program that listens on a TCP port."""

    address: Address
    program: str
    own: bool  # of the unit that was asked about


def _address(digits: str) -> Address:
    """Return an address that /proc shows as words of this machine's byte order."""
    packed = b"".join(struct.pack("=I", int(digits[start : start + 8], 16)) for start in range(0, len(digits), 8))
    address = ipaddress.ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address


def _listening_inodes(port: int) -> dict[str, Address]:
    inodes = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError), open(table, encoding="ascii") as stream:
            for line in list(stream)[1:]:
                fields = line.split()
                digits, _colon, number = fields[1].rpartition(":")
                if fields[3] == _LISTEN and int(number, 16) == port:
                    inodes[fields[9]] = _address(digits)
    return inodes


def _listeners(port: str, unit: str) -> set[Listener]:
    wanted = {f"socket:[{inode}]": address for inode, address in _listening_inodes(int(port)).items()}
    found = set()
    for link in glob.glob("/proc/[0-9]*/fd/*") if wanted else []:
        with suppress(OSError):
            if address := wanted.get(os.readlink(link)):
                process = os.path.join("/proc", link.split("/")[2])
                own = unit in _read(os.path.join(process, "cgroup")).replace("\n", "/").split("/")
                found.add(Listener(address, _read(os.path.join(process, "comm")).strip(), own))
    return found


def _split(place: str) -> tuple[set[Address], str]:
    """Return the addresses and the port of PORT or ADDRESS:PORT."""
    host, _colon, port = place.rpartition(":")
    return {ipaddress.ip_address(host.strip("[]"))} if host else EVERYWHERE, port


def _overlap(wanted: Address, held: Address) -> bool:
    alike = wanted.version == held.version and (wanted.is_unspecified or held.is_unspecified)
    return wanted == held or alike or held == ipaddress.ip_address("::")  # which may hold IPv4 as well


def port_holders(place: str, unit: str) -> set[str]:
    """Return the programs outside a systemd unit that keep it from listening on PORT or ADDRESS:PORT."""
    addresses, port = _split(place)
    strangers = (found for found in _listeners(port, unit) if not found.own)
    return {found.program for found in strangers if any(_overlap(wanted, found.address) for wanted in addresses)}


def own_obstacle(place: str, places: list[str], unit: str) -> str:
    """Return where a systemd unit listens itself, so that a reload cannot bring it to ``place``; empty for nowhere.

    It opens the new before it closes the old, and all addresses of a port exclude one of them. ``places`` is all that
    it is to listen on: what is open already and stays serves one address as well.
    """
    addresses, port = _split(place)
    stays = {address for other in places if _split(other)[1] == port for address in _split(other)[0]}
    held = {found.address for found in _listeners(port, unit) if found.own}
    for wanted in sorted(addresses - held, key=str):
        for address in sorted(held, key=str):
            excludes = wanted.is_unspecified or (address.is_unspecified and address not in stays)
            if wanted.version == address.version and excludes:
                return str(address)
    return ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
