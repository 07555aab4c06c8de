# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a benchmark: what runs, what is asked of it, and in which order."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers
from ansible_collections.baremetal.web.roles.benchmark.library.benchmark_load import SIEGE_SETTINGS, WRK_SUMMARY

# Hosts of the plan's own names are never looked up: https://www.rfc-editor.org/rfc/rfc6761#section-6.4
DOMAIN = "benchmark.invalid"
# Two releases of an app may run at a time.
PORTS_OF_AN_APP = 2
# Where commands that are no app answer.
ADDRESS = "127.0.0.1:18500"
ACCESSES = ("unix", "tcp", "direct")
ENTRYPOINTS = {"wsgi": "benchmark_app:app", "asgi": "benchmark_asgi:app", "tornado": "benchmark_tornado:app"}


class PlanError(Exception):
    """The benchmark cannot be run as wanted."""


@dataclass(frozen=True)
class Settings:
    """How much is measured, and from where."""

    rounds: int
    seconds: int
    connections: int
    requests: int
    repetitions: int
    port: int
    # How the client and the target itself reach the target's nginx.
    address: str
    source: str

    NUMBERS: ClassVar = ("rounds", "seconds", "connections", "requests", "repetitions", "port")

    def __post_init__(self) -> None:
        for name in self.NUMBERS:
            given = getattr(self, name)
            # What is given with -e KEY=VALUE is text.
            if not str(given).isdecimal() or int(given) < 1:
                raise PlanError(f"benchmark_{name} is {given!r}; it has to be a whole number of at least 1.")
            object.__setattr__(self, name, int(given))


class Plan:
    """The sets that are chosen, and subjects of the user's own.

    ``tables`` has C(sets), C(loads) and C(workloads) of the role's variables.
    """

    def __init__(
        self, tables: Mapping[str, Any], chosen: list[str] | str, own: list[dict[str, Any]], settings: Settings
    ) -> None:
        # What is given with -e benchmark_sets=limits,nginx is text.
        self.chosen = chosen = _words(chosen) if isinstance(chosen, str) else chosen
        if unknown := set(chosen) - set(tables["sets"]):
            raise PlanError(
                f"benchmark_sets names {', '.join(sorted(unknown))}; there are {', '.join(tables['sets'])}."
            )
        self.tables, self.settings = tables, settings
        if not chosen and not own:
            raise PlanError("Nothing is to be measured: benchmark_sets and benchmark_subjects are empty.")
        sets = dict(tables["sets"])
        measured = sets["servers"]["subjects"]
        sets["servers"] = {**sets["servers"], "subjects": [*measured, *_unmeasured(measured)]}
        if own:
            sets["own"] = {**sets["servers"], "subjects": [_own(number, one) for number, one in enumerate(own, 1)]}
        # What all are compared with is always there.
        self.subjects = [
            {"title": one["name"], "set": name, "accesses": table.get("accesses", []), **one}
            | {"loads": one.get("loads") or table["loads"]}
            for name, table in sets.items()
            for one in table["subjects"]
            if name in (*chosen, "own") or one.get("reference") or one.get("default")
        ]
        names = [one["name"] for one in self.subjects]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PlanError(f"benchmark_subjects has {', '.join(twice)} twice, or as one of the role's own.")

    def apps(self) -> list[dict[str, Any]]:
        """Return what is to be released, in the words of C(wsgi_apps)."""
        found = []
        for subject in self.subjects:
            for transport in ("unix", "tcp") if "server" in subject else ():
                wanted = set(subject["accesses"]) & ({"unix"} if transport == "unix" else {"tcp", "direct"})
                if wanted:
                    port = {"port": self.settings.port + 2 + PORTS_OF_AN_APP * len(found)} if transport == "tcp" else {}
                    found.append(self._app(subject, transport, port))
        return found

    def _app(self, subject: Mapping[str, Any], transport: str, port: dict[str, int]) -> dict[str, Any]:
        interface = subject.get("interface", "wsgi")
        return {
            "name": name_of(subject, transport),
            "source": {"path": self.settings.source},
            "interface": interface,
            "entrypoint": ENTRYPOINTS[interface],
            "server": {**subject["server"], **port},
            "site": {"server_names": [host_of(subject, transport)], "listen": self.settings.port},
            "health": {"path": "/", "stable": 1},
            "releases": {"keep": 2},
        }

    def groups(self) -> list[dict[str, Any]]:
        """Return what is started, and what is sent to it before it is stopped; all subjects in turn in each round."""
        found = [
            {"title": f"{subject['title']}, {access}", "start": self._start(subject, access), "loads": loads}
            for number in range(1, self.settings.rounds + 1)
            for subject in self.subjects
            for access in subject["accesses"]
            if (loads := list(self._loads(subject, access, number)))
        ]
        total = sum(len(group["loads"]) for group in found)
        count = 0
        for group in found:
            for load in group["loads"]:
                count += 1
                load["label"] = (
                    f"{count} of {total}, round {load['run']['round']}: {group['title']}, {load['run']['workload']}, "
                    f"{load['send']['tool']} with {load['send']['connections']}"
                )
        return found

    def _start(self, subject: Mapping[str, Any], access: str) -> dict[str, Any]:
        app: dict[str, Any] = {}
        if "server" in subject:
            transport = "unix" if access == "unix" else "tcp"
            app = {"app": name_of(subject, transport), "host": host_of(subject, transport)}
        public = self.settings.port + ("units" in subject)
        app |= {"front": "" if access == "direct" else f"127.0.0.1:{public}"}
        if "units" not in subject:
            return {**app, "proxied": access != "direct"}
        units = [
            {
                "name": unit["name"],
                "command": shlex.split(unit["command"]),
                "group": unit.get("group", "server"),
            }
            for unit in subject["units"]
            if unit.get("access", access) == access
        ]
        address = subject.get("address", ADDRESS)
        return {**app, "units": units, "address": address, "protocol": subject.get("protocol", "http")}

    def _loads(self, subject: Mapping[str, Any], access: str, number: int) -> Iterator[dict[str, Any]]:
        seen = set()
        for name in subject["loads"].get(access, []):
            load = self.tables["loads"][name]
            path = self.tables["workloads"][load["workload"]]["path"]
            for connections in load.get("connections", [self.settings.connections]):
                key = (load["workload"], load["tool"], connections)
                if key in seen:
                    continue
                seen.add(key)
                run = {
                    **{"subject": subject["name"], "access": access, "workload": load["workload"]},
                    **{"tool": load["tool"], "connections": connections, "round": number},
                }
                yield {"run": run, "send": self._send(subject, access, load["tool"], connections, path)}

    def _send(self, subject: Mapping[str, Any], access: str, tool: str, connections: int, path: str) -> dict[str, Any]:
        """Return what the tool is told; an empty C(address) stands for that of the app itself."""
        if "units" not in subject:
            address = "" if access == "direct" else f"{self.settings.address}:{self.settings.port}"
            host = host_of(subject, "unix" if access == "unix" else "tcp")
        else:
            port = (
                subject.get("address", ADDRESS).rpartition(":")[2]
                if access == "direct"
                else str(self.settings.port + 1)
            )
            public = port == str(self.settings.port + 1)
            address = f"{self.settings.address if public else '127.0.0.1'}:{port}"
            host = "localhost"
        bounds = {"seconds": self.settings.seconds, "requests": self.settings.requests}
        return {
            **{"tool": tool, "host": host, "address": address, "path": path, "connections": connections},
            **{**bounds, "repetitions": self.settings.repetitions, "local": address[:9] in ("", "127.0.0.1")},
        }

    def info(self) -> list[dict[str, Any]]:
        """Return the subjects as the report has them."""
        return [
            {
                **{key: subject[key] for key in ("name", "title", "set", "accesses")},
                **{key: subject.get(key) for key in ("tutorial", "families", "processes", "threads")},
                **{key: subject.get(key) for key in ("server", "interface")},
                **{key: bool(subject.get(key)) for key in ("reference", "default")},
                "commands": [unit["command"] for unit in subject.get("units", [])],
                "file_names": subject.get("files", []),
            }
            for subject in self.subjects
        ]

    def tools(self) -> list[str]:
        """Return the programs that send, by name."""
        return sorted(
            {
                self.tables["loads"][name]["tool"]
                for subject in self.subjects
                for access in subject["accesses"]
                for name in subject["loads"].get(access, [])
            }
            - {"pool"}
        )


def _unmeasured(subjects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return a subject for each server of the table that has none, with its defaults and its first interface."""
    table = servers()
    measured = set()
    for subject in subjects:
        server = {"kind": table.options["kind"]["default"], "worker_class": "", **subject["server"]}
        measured.add((server["kind"], table.worker_class(server, subject.get("interface", "wsgi"))))
    for kind, worker_class in table.variants():
        if (kind, worker_class) in measured:
            continue
        chosen = {"kind": kind, **({"worker_class": worker_class} if worker_class else {})}
        interface = table.variant(kind, worker_class, "")["interfaces"][0]
        yield {
            "name": "-".join(chosen.values()),
            "title": f"{' '.join(chosen.values())}, interface {interface}",
            "interface": interface,
            "server": chosen,
        }


def _own(number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a subject of the user's own."""
    if not given.get("name"):
        raise PlanError(f"Number {number} of benchmark_subjects has no name.")
    accesses = given.get("accesses", ["unix"])
    accesses = _words(accesses) if isinstance(accesses, str) else accesses
    if not accesses or set(accesses) - set(ACCESSES):
        said = ", ".join(accesses) or "nothing"
        raise PlanError(
            f"accesses of {given['name']} in benchmark_subjects is {said}; there are {', '.join(ACCESSES)}."
        )
    return {"server": {}, **given, "accesses": accesses}


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def name_of(subject: Mapping[str, Any], transport: str) -> str:
    """Return the name of a subject's app, of which it has one for sockets and one for ports."""
    return f"bm-{subject['name']}" if transport == "unix" else f"bm-{subject['name']}-tcp"


def host_of(subject: Mapping[str, Any], transport: str) -> str:
    """Return the host name that the site of a subject's app answers to."""
    return f"{name_of(subject, transport)}.{DOMAIN}"


def document(given: Mapping[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the report reads: what is given, in its words, and what was measured."""
    files, apps = given["files"], given["apps"]
    claims = [{"access": "direct", **some["common"], **claim} for some in given["claims"] for claim in some["claims"]]
    names = {subject["name"] for subject in given["subjects"]}
    return {
        **{key: value for key, value in given.items() if key not in ("files", "apps", "servers")},
        "target": _host(given["target"]),
        "client": _host(given["client"]),
        "subjects": [
            {key: value for key, value in subject.items() if key != "file_names"}
            | {"files": {name: files[name] for name in subject["file_names"]}}
            | {"resolved": _resolved(subject, given["servers"], apps)}
            for subject in given["subjects"]
        ],
        "claims": [claim for claim in claims if claim["subject"] in names],
        "claims_not_chosen": [
            {"tutorial": claim["tutorial"], "what": claim["what"]} for claim in claims if claim["subject"] not in names
        ],
        "scripts": {"percentiles.lua": WRK_SUMMARY, "siege.conf": SIEGE_SETTINGS.format(users="(the connections)")},
        "runs": [line["run"] for line in lines if "run" in line],
        "missing": [line["missing"] for line in lines if "missing" in line],
    }


def _resolved(subject: Mapping[str, Any], servers: Mapping[str, Any], apps: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a subject's app came to: its server with all defaults, the version, and the command."""
    app = next((name for name in (name_of(subject, transport) for transport in ("unix", "tcp")) if name in apps), "")
    if not app:
        return None
    server, runs = servers[app], apps[app]
    return {
        **{key: server.get(key) for key in ("kind", "worker_class", "workers", "threads")},
        "version": runs["packages"].get(server["kind"]),
        "command": runs["command"],
    }


def _host(given: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a host by its facts; nothing in them that names it to others."""
    facts = given["facts"]
    return {
        **{key: value for key, value in given.items() if key != "facts"},
        "platform": f"{facts['distribution']} {facts['distribution_version']}",
        "kernel": facts["kernel"],
        "cpus": facts["processor_nproc"],
        "memory_mb": facts["memtotal_mb"],
        "machine": facts["architecture"],
        "model": next(iter(facts.get("processor", [])[2:3]), ""),
        "virtualization": facts.get("virtualization_type", ""),
    }
