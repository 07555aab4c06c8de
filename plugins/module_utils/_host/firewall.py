# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open TCP ports in the firewall that runs: one service of firewalld, or one application profile of ufw, for a name."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress

from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file

PREFIX = "baremetal-web-"
PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"
# ufw refuses more in one rule.
PORTS_PER_RULE = 15

_RULE = re.compile(r'^\s*rule port port="(\d+)" protocol="tcp" accept$', re.MULTILINE)

# Runs a command; returns its exit status, what it printed, and its complaint.
Run = Callable[[list[str]], "tuple[int, str, str]"]


def _rule(port: int) -> str:
    return f'rule port port="{port}" protocol="tcp" accept'


class FirewallError(Exception):
    """The firewall did not do what it was asked for."""


def _elements(path: str, tag: str) -> list[Mapping[str, str]]:
    """Return the attributes of all elements of a kind in a file of XML."""
    from xml.etree import ElementTree  # slow, and only firewalld has any

    return [element.attrib for element in ElementTree.parse(path).getroot().iter(tag)]


def entry_name(name: str) -> str:
    """Return the name of our entry; whatever the firewalls' rules for names refuse becomes a dash."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_]", "-", name)


class Firewall:
    """The common part of both firewalls."""

    program = ""

    def __init__(self, run: Run, name: str, root: str = "/"):
        self._run = run
        self.name = name
        self.root = root

    def ask(self, *arguments: str, program: str = "") -> str:
        program = program or self.program
        code, out, err = self._run([program, *arguments])
        if code:
            raise FirewallError(f"{program} {' '.join(arguments)} failed: {(err or out).strip()}")
        return out

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    @property
    def running(self) -> bool:
        raise NotImplementedError

    def saved(self) -> set[int]:
        """Return the ports of our entry."""
        raise NotImplementedError

    def converged(self, ports: set[int]) -> bool:
        """Tell whether our entry opens exactly these ports, now and after a restart; without any, it is not there."""
        raise NotImplementedError

    def open(self, ports: set[int]) -> None:
        """Let our entry open exactly these ports."""
        raise NotImplementedError

    def close(self) -> None:
        """Take our entry away, and nothing else."""
        raise NotImplementedError


class Firewalld(Firewall):
    """A service of our own in the default zone, saved for good.

    A new service is known after a reload only, and that would lose what others changed for the time being. So until the
    next one, the running firewall has rich rules, which nobody takes for ports that he opened himself.
    """

    program = "firewall-cmd"

    @property
    def running(self) -> bool:
        return self._run([self.program, "--state"])[0] == 0

    def _services(self) -> dict[str, set[int]]:
        """Return the ports of all services of this collection."""
        found = {}
        for path in glob.glob(self.path("etc/firewalld/services", f"{PREFIX}*.xml")):
            found[os.path.basename(path)[:-4]] = {int(port["port"]) for port in _elements(path, "port")}
        return found

    def saved(self) -> set[int]:
        return self._services().get(self.name, set())

    def _zones(self) -> list[str]:
        """Return the zones for which our service is saved."""
        found = []
        for path in sorted(glob.glob(self.path("etc/firewalld/zones/*.xml"))):
            if self.name in (service.get("name") for service in _elements(path, "service")):
                found.append(os.path.basename(path)[:-4])
        return found

    def _zone(self) -> str:
        return self.ask("--get-default-zone").strip()

    def _now(self, zone: str) -> tuple[set[int], set[int]]:
        """Return the ports that the running firewall opens by our service, and all that it opens by rich rules."""
        listed = self.ask(f"--zone={zone}", "--list-all")
        rules = {int(port) for port in _RULE.findall(listed)}
        services = re.search(r"^  services:(.*)$", listed, re.MULTILINE)
        if not services or self.name not in services[1].split():
            return set(), rules
        printed = re.search(r"^  ports:(.*)$", self.ask(f"--info-service={self.name}"), re.MULTILINE)
        return {int(port) for port in re.findall(r"(\d+)/tcp", printed[1] if printed else "")}, rules

    def converged(self, ports: set[int]) -> bool:
        if not ports:
            return self.name not in self._services()
        zone = self._zone()
        if self.saved() != ports or zone not in self._zones():
            return False
        by_service, by_rule = self._now(zone)
        return by_service == ports or (not by_service and ports <= by_rule)

    def open(self, ports: set[int]) -> None:
        zone, previous = self._zone(), self.saved()
        if self.name not in self._services():
            self.ask("--permanent", f"--new-service={self.name}")
        # firewall-cmd takes either kind of change at a time.
        for option, changed in (("--add-port", ports - previous), ("--remove-port", previous - ports)):
            if changed:
                changes = [f"{option}={port}/tcp" for port in sorted(changed)]
                self.ask("--permanent", f"--service={self.name}", *changes)
        if zone not in self._zones():
            self.ask("--permanent", f"--zone={zone}", f"--add-service={self.name}")
        by_service, by_rule = self._now(zone)
        if by_service != ports:
            for port in sorted(ports - by_rule):
                self.ask(f"--zone={zone}", f"--add-rich-rule={_rule(port)}")
            self._forget_now(zone, previous | by_service, ports)

    def _forget_now(self, zone: str, previous: set[int], kept: set[int]) -> None:
        """Close previous ports in the running firewall, except those that are kept or of another service of ours."""
        by_service, by_rule = self._now(zone)
        others = {port for name, ports in self._services().items() if name != self.name for port in ports}
        for port in sorted(previous & by_rule - kept - others):
            self.ask(f"--zone={zone}", f"--remove-rich-rule={_rule(port)}")
        if by_service:
            self.ask(f"--zone={zone}", f"--remove-service={self.name}")

    def _save(self, running: bool, *arguments: str) -> None:
        """Change what is saved, by firewalld itself or, while it does not run, without it."""
        if running:
            self.ask("--permanent", *arguments)
        else:
            self.ask(*arguments, program="firewall-offline-cmd")

    def close(self) -> None:
        previous, zones, running = self.saved(), self._zones(), self.running
        for zone in zones:
            option = "--remove-service" if running else "--remove-service-from-zone"
            self._save(running, f"--zone={zone}", f"{option}={self.name}")
        self._save(running, f"--delete-service={self.name}")
        for zone in {*zones, self._zone()} if running else ():
            self._forget_now(zone, previous, set())
        # What firewalld keeps of a service that was deleted.
        with suppress(FileNotFoundError):
            os.unlink(self.path("etc/firewalld/services", f"{self.name}.xml.old"))


class Ufw(Firewall):
    """An application profile of our own, allowed by its name."""

    program = "ufw"

    @property
    def running(self) -> bool:
        return "Status: active" in self.ask("status")

    @property
    def _profile(self) -> str:
        return self.path("etc/ufw/applications.d", self.name)

    def _text(self, ports: set[int]) -> str:
        ordered = [str(port) for port in sorted(ports)]
        groups = [ordered[start : start + PORTS_PER_RULE] for start in range(0, len(ordered), PORTS_PER_RULE)]
        listed = "|".join(f"{','.join(group)}/tcp" for group in groups)
        return f"[{self.name}]\ntitle=Sites of baremetal.web\ndescription=Opened by baremetal.web\nports={listed}\n"

    def _read(self, path: str) -> str:
        with suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            return stream.read()
        return ""

    def _applied(self) -> set[int]:
        """Return the ports of the rules that bear our name."""
        rules = re.findall(
            rf"^### tuple ### allow tcp (\S+) \S+ any \S+ {re.escape(self.name)} - in",
            self._read(self.path("etc/ufw/user.rules")),
            re.MULTILINE,
        )
        return {int(port) for rule in rules for port in rule.split(",")}

    def saved(self) -> set[int]:
        listed = re.search(r"^ports=(.*)$", self._read(self._profile), re.MULTILINE)
        return {int(port) for port in re.findall(r"\d+", listed[1])} if listed else set()

    def converged(self, ports: set[int]) -> bool:
        return self._applied() == ports and self._read(self._profile) == (self._text(ports) if ports else "")

    def open(self, ports: set[int]) -> None:
        # `ufw app update` would do, but does not reach the running firewall when it is called over ssh.
        self.close()
        write_file(self._profile, self._text(ports).encode(), 0o644)
        self.ask("allow", self.name)

    def close(self) -> None:
        if self._applied():
            self.ask("delete", "allow", self.name)
        with suppress(FileNotFoundError):
            os.unlink(self._profile)


def installed(run: Run, name: str) -> list[Firewall]:
    """Return the firewalls of this host, whether they run or not."""
    return [kind(run, name) for kind in (Firewalld, Ufw) if shutil.which(kind.program, path=PLACES)]
