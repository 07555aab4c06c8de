# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the listening sockets of a host through /proc, and speak HTTP over unix sockets."""

from __future__ import annotations

import glob
import http.client
import os
import socket
from contextlib import suppress

_LISTEN = "0A"


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError), open(table, encoding="ascii") as stream:
            for line in list(stream)[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def port_holders(port: int, unit: str) -> set[str]:
    """Return the names of the programs outside a systemd unit that listen on a TCP port."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    holders = set()
    for link in glob.glob("/proc/[0-9]*/fd/*") if wanted else []:
        with suppress(OSError):
            if os.readlink(link) in wanted:
                process = os.path.join("/proc", link.split("/")[2])
                if unit not in _read(os.path.join(process, "cgroup")).replace("\n", "/").split("/"):
                    holders.add(_read(os.path.join(process, "comm")).strip())
    return holders


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
