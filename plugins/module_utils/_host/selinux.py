# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask SELinux what a confined program may do, and write down what it may not and needs."""

from __future__ import annotations

import bz2
import glob
import os
import re
from contextlib import suppress

PREFIX = "baremetal-web-"
# What a port is where the policy knows no service for it.
UNCLAIMED = ("reserved_port_t", "hi_reserved_port_t", "unreserved_port_t", "ephemeral_port_t", "port_t")

_PORTS = re.compile(r"^\(portcon tcp (?:\((\d+) (\d+)\)|(\d+)) \(\w+ \w+ (\w+)", re.MULTILINE)
_LOCAL_PORTS = re.compile(r"^portcon tcp (\d+)(?:-(\d+))? \w+:\w+:(\w+)", re.MULTILINE)


class SELinuxError(Exception):
    """The policy cannot be as wanted; the text says why."""


def module_name(name: str) -> str:
    """Return the name of our policy module; whatever its rules for names refuse becomes a dash."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_]", "-", name)


class Policy:
    """The policy of this host: what the kernel says of it, and what stands in its store."""

    def __init__(self, root: str = "/"):
        self.kernel = os.path.join(root, "sys/fs/selinux")
        self.config = os.path.join(root, "etc/selinux/config")
        self.stores = os.path.join(root, "var/lib/selinux")

    @property
    def enabled(self) -> bool:
        """Tell whether the kernel runs SELinux, enforcing or not."""
        return os.path.exists(os.path.join(self.kernel, "enforce"))

    @property
    def store(self) -> str:
        """The directory of the policy that is in use."""
        kind = re.search(r"^SELINUXTYPE=(\S+)", _read(self.config), re.MULTILINE)
        return os.path.join(self.stores, kind[1] if kind else "targeted", "active")

    def _context(self, type_name: str, role: str) -> str:
        level = ":s0" if _read(os.path.join(self.kernel, "mls")).strip() == "1" else ""
        return f"system_u:{role}:{type_name}{level}"

    def knows(self, type_name: str) -> bool:
        """Tell whether the policy has a type."""
        try:
            self._ask("context", self._context(type_name, "object_r"))
        except OSError:
            return False
        return True

    def allows(self, domain: str, target: str, kind: str, permission: str) -> bool:
        """Tell whether the kernel lets a domain do something to a target, a port or another domain."""
        place = os.path.join(self.kernel, "class", kind)
        number = int(_read(os.path.join(place, "perms", permission)))
        role = "object_r" if kind == "tcp_socket" else "system_r"
        question = (self._context(domain, "system_r"), self._context(target, role), _read(os.path.join(place, "index")))
        allowed = int(self._ask("access", " ".join(question)).split()[0], 16)
        return bool(allowed >> (number - 1) & 1)

    def _ask(self, file: str, question: str) -> str:
        descriptor = os.open(os.path.join(self.kernel, file), os.O_RDWR)
        try:
            os.write(descriptor, question.encode())
            return os.read(descriptor, 4096).decode()
        finally:
            os.close(descriptor)

    def module(self, name: str) -> str:
        """Return the text of a policy module that this collection installed, empty when there is none."""
        return _read(os.path.join(self.store, "modules", "400", name, "cil"))

    def own_rules(self) -> set[str]:
        """Return all rules of all modules of this collection."""
        paths = glob.glob(os.path.join(glob.escape(self.store), "modules", "400", f"{PREFIX}*", "cil"))
        return {line for path in paths for line in _read(path).splitlines() if line.startswith("(")}

    def port_type(self, port: int) -> str:
        """Return the type that the policy and the host's administrators gave a TCP port."""
        local = ((low, high or low, name) for low, high, name in _LOCAL_PORTS.findall(self._text("ports.local")))
        base = (
            (low or single, high or single, name)
            for low, high, single, name in _PORTS.findall(self._text("modules", "100", "base", "cil"))
        )
        for ports in (local, base):
            ranges = [(int(high) - int(low), name) for low, high, name in ports if int(low) <= port <= int(high)]
            if ranges:
                return min(ranges)[1]
        return "port_t"

    def _text(self, *path: str) -> str:
        return _read(os.path.join(self.store, *path))


def _read(path: str) -> str:
    """Return the text of a file, compressed or not; empty when there is none."""
    with suppress(FileNotFoundError), open(path, "rb") as stream:
        content = stream.read()
        return (bz2.decompress(content) if content.startswith(b"BZh") else content).decode()
    return ""


class Needs:
    """The rules that a confined program lacks for what it is to do."""

    def __init__(self, policy: Policy, domain: str):
        self.policy = policy
        self.domain = domain
        self.own = policy.own_rules()
        self.rules: list[str] = []

    def label(self, path: str, type_name: str) -> None:
        """Files whose path matches a regular expression are of a type."""
        if not self.policy.knows(type_name):
            raise SELinuxError(f"The SELinux policy of this host has no type {type_name!r}, which {path} is to get.")
        self._add(f'(filecon "{path}" any (system_u object_r {type_name} ((s0) (s0))))')

    def reach(self, server: str) -> None:
        """The program connects to unix sockets on which a domain listens."""
        if self.policy.knows(server):
            self._allow(server, "unix_stream_socket", "connectto")

    def connect(self, port: int, port_type: str) -> None:
        """The program connects to a TCP port, wherever it is."""
        for target in sorted(
            {self.policy.port_type(port), port_type if self._claim(port, port_type) in self.own else ""}
        ):
            if target:
                self._allow(target, "tcp_socket", "name_connect")

    def listen(self, port: int, port_type: str, others: list[str]) -> None:
        """The program listens on a TCP port: one of its own kinds, an unclaimed one, or one of the others' kinds."""
        found = self.policy.port_type(port)
        rule = f"(allow {self.domain} {found} (tcp_socket (name_bind)))"
        if rule not in self.own and self.policy.allows(self.domain, found, "tcp_socket", "name_bind"):
            return
        if found in UNCLAIMED:
            self._add(self._claim(port, port_type))
        elif found in others:
            self._add(rule)
        else:
            raise SELinuxError(
                f"Port {port} belongs to another service in the SELinux policy of this host (its type is {found}), so "
                f"{self.domain} must not listen on it. Choose another port, or add {found} to port_types "
                "(nginx_selinux_port_types, for a site). "
                "Nothing was changed."
            )

    @staticmethod
    def _claim(port: int, port_type: str) -> str:
        return f"(portcon tcp {port} (system_u object_r {port_type} ((s0) (s0))))"

    def _allow(self, target: str, kind: str, permission: str) -> None:
        """Add a rule, unless the policy has it without us."""
        rule = f"(allow {self.domain} {target} ({kind} ({permission})))"
        if rule in self.own or not self.policy.allows(self.domain, target, kind, permission):
            self._add(rule)

    def _add(self, rule: str) -> None:
        if rule not in self.rules:
            self.rules.append(rule)

    def text(self) -> str:
        """Return the policy module, empty when nothing is lacking."""
        return "\n".join(["; Made by baremetal.web.selinux; removed with `semodule -r`.", *sorted(self.rules), ""]) * (
            bool(self.rules)
        )
