# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the role wsgi: what each of them can do, which options it has, and what cannot go together."""

from __future__ import annotations

import copy
import functools
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.baremetal.web.plugins.module_utils._release.layout import (
    live_socket,
    marker,
    slot_link,
    slot_port,
)

# Where two releases run at a time, each has a port of its own.
PORTS = ("port", "stats_port")


@functools.cache
def servers() -> Servers:
    """Return the table of servers."""
    with open(os.path.join(os.path.dirname(__file__), "servers.yml"), encoding="utf-8") as stream:
        return Servers(**yaml_load(stream))


@dataclass(frozen=True, eq=False)
class Servers:
    """The contents of the table."""

    options: Mapping[str, Mapping[str, Any]]
    wheels: Mapping[str, Any]
    kinds: Mapping[str, Any]
    defaults: Mapping[str, Any]
    worker_rules: Mapping[str, Mapping[str, int]]
    refused: Mapping[str, str]

    def variants(self) -> Iterator[tuple[str, str]]:
        """Return each kind with each of its worker classes, an empty one where it has none."""
        for kind, entry in self.kinds.items():
            for worker_class in entry.get("worker_classes", [""]):
                yield kind, worker_class

    def uses(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Return each kind with each of its worker classes and interfaces, and what is known of it."""
        for kind, worker_class in self.variants():
            for interface in self.variant(kind, worker_class, "")["interfaces"]:
                yield kind, worker_class, interface, self.variant(kind, worker_class, interface)

    def variant(self, kind: str, worker_class: str, interface: str) -> dict[str, Any]:
        """Return what is known of a server that is used in one way."""
        entry = {**self.defaults, **self.kinds[kind]}
        chosen = entry.pop("worker_classes", {}).get(worker_class, {})
        options = {**entry["options"], **chosen.get("options", {})}
        options.update(entry["interface_options"].get(interface, {}))
        return {**entry, **chosen, "options": options}

    def worker_class(self, server: Mapping[str, Any], interface: str) -> str:
        """Return the worker class, the first one that has the interface when none is chosen; empty for none."""
        classes = list(self.kinds[server["kind"]].get("worker_classes", {}))
        fitting = [name for name in classes if interface in self.variant(server["kind"], name, interface)["interfaces"]]
        return server["worker_class"] or next(iter(fitting or classes), "")

    def having(self, option: str) -> list[str]:
        """Return the names of the servers that have an option."""
        names = (
            f"{kind} {worker_class}".strip()
            for kind, worker_class, _interface, variant in self.uses()
            if option in variant["options"]
        )
        return list(dict.fromkeys(names))

    @functools.cached_property
    def common(self) -> frozenset[str]:
        """Return the options that every server takes; a server refuses those that it does not have."""
        return frozenset(self.options).difference(*(variant["options"] for *_names, variant in self.uses()))

    def argument_spec(self) -> dict[str, dict[str, Any]]:
        """Return the options as an argument spec has them, with the names that may be chosen."""
        spec = {
            option: {key: value for key, value in entry.items() if key not in ("least", "most")}
            for option, entry in self.options.items()
        }
        spec["kind"]["choices"] = list(self.kinds)
        spec["worker_class"]["choices"] = ["", *dict.fromkeys(name for _kind, name in self.variants() if name)]
        return spec

    def patching(self) -> set[str]:
        """Return the names of the kinds and worker classes that change the standard library below the app."""
        return {
            worker_class or kind for kind, worker_class, _interface, variant in self.uses() if variant["patches_app"]
        }

    # What an operator wrote

    def refusal(self, server: Mapping[str, Any], key: str) -> str:
        """Return what to use in place of a setting that does not exist any more; empty for a plain unknown one."""
        if key in self.refused:
            option, _space, value = key.partition(" ")
            return f"server.{option} is {value or server[key]!r}: {self.refused[key]}"
        return ""

    def complete(self, app: dict[str, Any]) -> list[str]:
        """Fill in the defaults of the app's server; return a sentence for each problem."""
        server, interface = app["server"], app["interface"]
        classes = self.kinds[server["kind"]].get("worker_classes", {})
        if server["worker_class"] and not classes:
            having = " or ".join(kind for kind, entry in self.kinds.items() if "worker_classes" in entry)
            return [
                f"server.worker_class is {server['worker_class']!r}, which is for {having} alone; leave it out with "
                f"server.kind {server['kind']}, or take server.kind {having}"
            ]
        server["worker_class"] = self.worker_class(server, interface)
        variant = self.variant(server["kind"], server["worker_class"], interface)
        problems = list(self._misfits(app, variant))
        for option, default in variant["options"].items():
            if self._is_unset(option, server[option]):
                server[option] = copy.deepcopy(default)
        unused = [option for option in server if option not in variant["options"] and option not in self.common]
        for option in unused:
            del server[option]
        return problems or list(self._shapes(server))

    def _misfits(self, app: Mapping[str, Any], variant: Mapping[str, Any]) -> Iterator[str]:
        """Find what the chosen server cannot do."""
        server, interface = app["server"], app["interface"]
        name = f"server.kind {server['kind']}"
        if server["worker_class"]:
            name = f"server.worker_class {server['worker_class']}"
        if interface not in variant["interfaces"]:
            able = [
                " ".join(pair).strip()
                for pair in self.variants()
                if interface in self.variant(*pair, interface)["interfaces"]
            ]
            yield f"interface is {interface}, which {name} does not run; {', '.join(able)} do"
        for option, value in server.items():
            if not self._is_unset(option, value) and option not in self.common and option not in variant["options"]:
                others = ", ".join(self.having(option))
                yield f"server.{option} is {value!r}, for which {name} has no use; leave it out, or take {others}"
        if server["protocol"] not in variant["protocols"]:
            able = [" ".join(pair).strip() for pair in self.variants() if self._speaks(pair, server["protocol"])]
            yield f"server.protocol is {server['protocol']}, which {name} does not speak; {', '.join(able)} do"
        if app["site"]["websocket_enabled"] and interface not in variant["websocket_interfaces"]:
            having = [
                f"{' '.join(pair).strip()} ({each})"
                for pair in self.variants()
                for each in self.variant(*pair, "")["websocket_interfaces"]
            ]
            yield (
                f"site.websocket_enabled is true, and {name} has no WebSockets for interface {interface}. "
                f"Choose one that has: {', '.join(having)}"
            )
        if interface == "tornado" and app["site"]["prefix"] != "/":
            yield (
                f"site.prefix is {app['site']['prefix']!r}, and a Tornado application (interface tornado) knows no "
                "prefix; give it host names of its own (site.server_names)"
            )
        guard = variant["unsafe_ports"].get(server["protocol"])
        if guard and server["port"] and not server[guard["allowed_by"]]:
            yield (
                f"server.port is {server['port']} with server.protocol {server['protocol']}: {guard['reason']}; leave "
                f"the port out, or set server.{guard['allowed_by']} to true where nobody else has a login"
            )
        yield from self._development(app, variant)

    def _is_unset(self, option: str, value: Any) -> bool:
        # Ansible fills in the empty text of an option with choices, and then takes it for what somebody wrote.
        return value is None or ("choices" in self.options[option] and not value)

    def _speaks(self, pair: tuple[str, str], protocol: str) -> bool:
        return protocol in self.variant(*pair, "")["protocols"]

    def _development(self, app: Mapping[str, Any], variant: Mapping[str, Any]) -> Iterator[str]:
        server = app["server"]
        if server["reload_enabled"] and server["preload_enabled"]:
            yield "server.reload_enabled and server.preload_enabled are both true; what is preloaded cannot be reloaded"
        if app["environment"].get("APP_ENV") == "development" or server["development_enabled"]:
            return
        way_out = (
            "environment.APP_ENV is not development; set it to that, or server.development_enabled to true if you "
            "know what you do"
        )
        if variant["development"]:
            yield f"server.kind is {server['kind']}, {variant['development']}, and {way_out}"
        if server["reload_enabled"]:
            yield f"server.reload_enabled is true, and {way_out}"

    def _shapes(self, server: Mapping[str, Any]) -> Iterator[str]:
        """Find values that no server could use."""
        for option, value in server.items():
            least, most = (self.options[option].get(bound) for bound in ("least", "most"))
            if least is not None and value < least:
                yield f"server.{option} is {value}; it must be {least} or more"
            if most is not None and value > most:
                yield f"server.{option} is {value}; it must be {most} or less"
            if option in PORTS and value and not 1024 <= value <= 65534:
                yield f"server.{option} is {value}; it must be 0, or from 1024 to 65534 (the next one is used, too)"
        workers = server.get("workers", "auto")
        if workers not in ("auto", *self.worker_rules) and not re.fullmatch(r"[1-9]\d*", workers):
            rules = ", ".join(self.worker_rules)
            yield f"server.workers is {workers!r}; it must be auto, {rules}, or a whole number from 1 up"
        if server["chdir"] and (
            not re.fullmatch(r"[A-Za-z0-9._+@/-]+", server["chdir"])
            or server["chdir"].startswith("/")
            or ".." in server["chdir"].split("/")
        ):
            yield f"server.chdir is {server['chdir']!r}; it must be a path in the source, such as backend"
        if re.search(r"[\x00-\x1f]", server.get("access_log_format", "")):
            yield f"server.access_log_format is {server['access_log_format']!r}; it must be one line"
        statsd = server.get("statsd_host", "")
        found = re.fullmatch(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", statsd)
        if statsd and not (found and 1 <= int(found[1]) <= 65535):
            yield f"server.statsd_host is {statsd!r}; it must be HOST:PORT, such as 127.0.0.1:8125"
        for peer in server.get("forwarded_allow_ips", []):
            try:
                ipaddress.ip_network(peer)
            except ValueError as error:
                yield f"server.forwarded_allow_ips has {peer!r}, which is no address or network: {error}"

    def lacking_wheels(self, app: Mapping[str, Any], machine: str) -> str:
        """Say that a host cannot install the server, and why; empty when it can. The version of Python is a number."""
        server, python = app["server"], app["python"]
        variant = self.variant(server["kind"], server["worker_class"], app["interface"])
        wheels = variant["wheels"]
        fits = not wheels or (python["version"] in wheels["pythons"] and machine in wheels["machines"])
        if fits or python["source_builds_enabled"]:
            return ""
        name = " ".join(filter(None, (server["kind"], server["worker_class"])))
        return (
            f"app {app['name']}: server {name} has no wheel for Python {python['version']} on {machine}; there are "
            f"some for {', '.join(wheels['pythons'])} on {', '.join(wheels['machines'])}. Choose another "
            "python.version or server, or set python.source_builds_enabled and python_compiler_enabled"
        )

    # What follows from it

    def workers(self, server: Mapping[str, Any], variant: Mapping[str, Any], cpus: int, memory: int) -> int:
        """Return the number of workers on a host with so many processors, and so much memory in MiB."""
        wanted = server["workers"]
        if wanted not in ("auto", *self.worker_rules):
            return int(wanted)
        rule = self.worker_rules[variant["auto"] if wanted == "auto" else wanted]
        number = max(rule["least"], rule["per_cpu"] * cpus + rule["extra"])
        room = max(1, memory // 2 // server["worker_memory"])
        return min(number, room) if wanted == "auto" else number


def endpoint(server: Mapping[str, Any]) -> dict[str, Any]:
    """Return how nginx reaches a release: the protocol, and the first of two ports, 0 for a unix socket."""
    return {"protocol": server["protocol"], "port": server["port"]}


def place_slots(home: str, slots: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Describe the two slots of an app, each with its own idle connections, as a location of a web server.

    The marker says which of them is live. ``slots`` has the endpoint of each.
    """
    servers = {slot: _address(home, slot, found["port"]) for slot, found in slots.items()}
    alike = slots["a"] == slots["b"]
    return {
        "servers": [servers["a"]],
        "protocol": slots["a"]["protocol"],
        "alternative": {"file": marker(home), "servers": [servers["b"]], "protocol": slots["b"]["protocol"]},
        # For a request that chose its slot so long ago that the release there has ended.
        # There is none on a port, for anybody may listen on one whose release has ended.
        "backups": [f"unix:{live_socket(home)}"] if alike and not slots["a"]["port"] else [],
    }


def _address(home: str, slot: str, port: int) -> str:
    """Return where the release in a slot listens, in nginx's words."""
    return f"127.0.0.1:{slot_port(port, slot)}" if port else f"unix:{slot_link(home, slot)}"
