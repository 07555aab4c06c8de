# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: run what is measured, and say what it used."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_subject
short_description: Run one subject of a benchmark, and count what it uses
description:
  - A subject is an app of this collection, whose program is started alone, or commands in systemd units of their own.
    These run as users without any rights, but with an app's sockets. Afterwards its program is stopped again.
options:
  state:
    description: >-
      V(started) starts it, waits for its first answer and warms it up. V(measured) returns what it has used since, and
      waits until nothing of the load is left in its queues. V(stopped) stops all units of a benchmark, and the programs
      of the apps O(apps). V(info) returns what runs in these apps.
    type: str
    choices: [started, measured, stopped, info]
    required: true
  apps:
    description: Names of the apps for V(stopped) and V(info).
    type: list
    elements: str
    default: []
  app:
    description: Name of the app.
    type: str
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  units:
    description: Commands to run, each in a unit of its own.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name; that of the unit begins with C(baremetal-benchmark-).
        type: str
        required: true
      command:
        description: The program and its arguments.
        type: list
        elements: str
        required: true
      group:
        description: The group that its use counts for, the server's or the proxy's.
        type: str
        choices: [server, proxy]
        default: server
  environment:
    description: Environment variables of the units.
    type: dict
    default: {}
  proxied:
    description: Whether the host's own nginx counts as the proxy.
    type: bool
    default: false
  address:
    description: ADDRESS:PORT at which the units answer; needed with O(units).
    type: str
    default: ""
  front:
    description: Where what is in front of it answers over HTTP, an ADDRESS:PORT; empty when nothing is.
    type: str
    default: ""
  protocol:
    description: The protocol that they speak there.
    type: str
    choices: [http, uwsgi]
    default: http
  host:
    description: The host name that is asked for.
    type: str
    default: localhost
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does nothing.
    support: full
"""

EXAMPLES = r"""
- name: Run the app shop, and nothing else
  benchmark_subject:
    state: started
    app: shop
"""

RETURN = r"""
start_seconds:
  description: Seconds from the command to start it to its first answer.
  type: float
  returned: O(state=started)
address:
  description: ADDRESS:PORT or path of the unix socket at which the server listens.
  type: str
  returned: O(state=started)
cpu_seconds:
  description: Seconds of processor time of C(server) and of C(proxy) since the last time.
  type: dict
  returned: O(state=measured)
memory_bytes:
  description: Memory of C(server) and of C(proxy), proportional set size.
  type: dict
  returned: O(state=measured)
apps:
  description: For each app C(command), how its server is run, and C(packages), the versions in its environment.
  type: dict
  returned: O(state=info)
"""

import glob
import http.client
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.processes import family, processes
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import ask, port_holders
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import Activation
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError

SNAPSHOT = "/run/baremetal-benchmark.json"
UNIT = "baremetal-benchmark-"
WARMUP = 200  # requests
WARMUP_FAILURES = 10  # requests of these
SETTLED = 40  # requests at 8 at a time that are answered within
PROMPT = 0.5  # seconds when nothing else waits
TIMEOUT = 30  # seconds for the first good answer, and for the queues to empty
# systemd.exec(5): an unprivileged user that exists while the unit runs; it sees the host's files, but writes to none.
# None outlives an interrupted benchmark by more than an hour.
PROPERTIES = (
    *("DynamicUser=yes", "RuntimeDirectory={unit}", "WorkingDirectory=/run/{unit}"),
    *("TimeoutStopSec=10", "RuntimeMaxSec=3600"),
)


class SubjectError(Exception):
    """The subject cannot be run."""


class Subject:
    """The server that is measured, with the proxy in front of it."""

    def __init__(self, module: AnsibleModule):
        self.module = module
        self.wanted = module.params
        self.supervisor = Supervisor()
        self.address, self.protocol = self.wanted["address"], self.wanted["protocol"]
        self.front = self.wanted["front"]
        self.program, self.socket, self.group = "", "", ""
        if self.wanted["app"]:
            home = Home(self.wanted["app"], self.wanted["root"])
            live = Activation(home, self.supervisor, home.current)
            self.program = live.name
            self.socket = live.address if live.address.startswith("/") else ""
            self.group = str(os.stat(os.path.dirname(self.socket)).st_gid) if self.socket else ""
            if all(unit["group"] == "proxy" for unit in self.wanted["units"]):
                self.address, self.protocol = live.address, live.endpoint["protocol"]

    def start(self) -> dict[str, Any]:
        """Start it; return how long it took to answer."""
        with suppress(FileNotFoundError):
            os.unlink(self.socket)
        own = {unit["group"] for unit in self.wanted["units"]}
        for address in ([self.address] if "server" in own else []) + ([self.front] if "proxy" in own else []):
            if holders := port_holders(address, []):
                raise SubjectError(
                    f"{address} is held by {', '.join(sorted(holders))}; stop that, or measure elsewhere"
                )
        started = time.monotonic()
        if self.program:
            self.supervisor.call("startProcessGroup", self.program, False)
        for unit in self.wanted["units"]:
            name = f"{UNIT}{unit['name']}"
            settings = [f"--property={setting.format(unit=name)}" for setting in PROPERTIES]
            settings += [f"--property=SupplementaryGroups={self.group}"] if self.group else []
            settings += [f"--setenv={name}={value}" for name, value in self.wanted["environment"].items()]
            self._systemd(["systemd-run", "--quiet", "--collect", "--unit", name, *settings, *unit["command"]])
        self._wait(self._ask)
        taken = time.monotonic() - started
        if self.front:
            self._wait(self._ask_front)
        failed = self._ask_often(WARMUP, self._ask_front if self.front else self._ask)
        if len(failed) > WARMUP_FAILURES:
            raise SubjectError(f"{len(failed)} of {WARMUP} requests failed before any load: {failed[0]}")
        self._note()
        return {"start_seconds": taken, "address": self.address}

    def _wait(self, ask_it: Callable[[float], str]) -> None:
        started = time.monotonic()
        while problem := ask_it(2):
            if time.monotonic() - started > TIMEOUT or not all(self.roots()["server"]):
                raise SubjectError(f"no good answer after {time.monotonic() - started:.0f} s: {problem}")
            time.sleep(0.01)

    def _ask_often(self, number: int, ask_it: Callable[[float], str]) -> list[str]:
        """Send requests; return the problems of those that failed."""
        with ThreadPoolExecutor(8) as threads:
            return [problem for problem in threads.map(ask_it, [10.0] * number) if problem]

    def _ask(self, seconds: float) -> str:
        return self._ask_at(self.address, self.protocol, seconds)

    def _ask_front(self, seconds: float) -> str:
        return self._ask_at(self.front, "http", seconds)

    def _ask_at(self, address: str, protocol: str, seconds: float) -> str:
        try:
            status = ask(address, "/", {"Host": self.wanted["host"]}, seconds, protocol).status
        except (OSError, http.client.HTTPException) as error:
            return f"{address} gives no answer ({error})"
        return "" if status == 200 else f"{address} answers {status}"

    def roots(self) -> dict[str, list[int]]:
        """Return the first processes of the server and of what is in front of it."""
        found: dict[str, list[int]] = {"server": [], "proxy": []}
        if self.program:
            found["server"] += self.supervisor.processes(self.program)
        if self.wanted["proxied"]:
            found["proxy"] += self.supervisor.processes("nginx") or [self._main_process("nginx.service")]
        for unit in self.wanted["units"]:
            found[unit["group"]].append(self._main_process(f"{UNIT}{unit['name']}.service"))
        return found

    def _main_process(self, unit: str) -> int:
        return int(self._systemd(["systemctl", "show", "--property=MainPID", "--value", unit]) or 0)

    def _note(self) -> dict[str, Any]:
        roots = self.roots()
        noted = {"roots": roots, "cpu_seconds": {group: cpu_seconds(found) for group, found in roots.items()}}
        write_file(SNAPSHOT, json.dumps(noted).encode(), 0o600)
        return noted

    def measure(self) -> dict[str, Any]:
        """Return what it has used since the last time."""
        with open(SNAPSHOT, encoding="utf-8") as stream:
            before = json.load(stream)
        now = self._note()
        if now["roots"] != before["roots"] or not all(root for roots in now["roots"].values() for root in roots):
            raise SubjectError("it has ended, or was started again, while it was measured; its log says why")
        used = {group: seconds - before["cpu_seconds"][group] for group, seconds in now["cpu_seconds"].items()}
        memory = {group: memory_bytes(roots) for group, roots in now["roots"].items()}
        self._settle()
        self._note()
        return {"cpu_seconds": used, "memory_bytes": memory}

    def _settle(self) -> None:
        """Wait until nothing waits in front of a new request: a tool that ends leaves what it has sent last."""
        began = time.monotonic()
        while True:
            started = time.monotonic()
            failed = self._ask_often(SETTLED, self._ask)
            ended = time.monotonic()
            if not failed and ended - started < PROMPT:
                return
            if ended - began > TIMEOUT:
                break
        # A machine that is slow is no error.
        if failed:
            raise SubjectError(f"{TIMEOUT} s after the load: {failed[0]}")

    def _systemd(self, command: list[str]) -> str:
        status, output, said = self.module.run_command(command)
        if status:
            raise SubjectError(f"{command[0]}: {said.strip()}")
        return str(output).strip()


def app_info(app: str, root: str) -> dict[str, Any]:
    """Return what runs in an app."""
    home = Home(app, root)
    live = Activation(home, Supervisor(), home.current)
    folders = glob.glob(os.path.join(home.release(home.current), "venv", "lib", "python*", "site-packages"))
    installed = importlib.metadata.distributions(path=folders)
    return {
        "command": live.description["program"]["command"],
        "packages": {one.metadata["Name"].lower(): one.version for one in installed},
    }


def stop(module: AnsibleModule) -> bool:
    """Stop everything; return whether something ran."""
    supervisor = Supervisor()
    homes = [Home(app, module.params["root"]) for app in module.params["apps"]]
    programs = [home.program(home.current) for home in homes if home.current]
    running = [program for program in programs if supervisor.state(program) in ("RUNNING", "STARTING", "BACKOFF")]
    for program in running:
        supervisor.call("stopProcessGroup", program, False)
    for program in running:
        supervisor.wait(program, 60)
    listed = ["systemctl", "list-units", "--plain", "--no-legend", f"{UNIT}*.service"]
    units = [line.split()[0] for line in module.run_command(listed)[1].splitlines()]
    if units:
        module.run_command(["systemctl", "stop", *units], check_rc=True)
    with suppress(FileNotFoundError):
        os.unlink(SNAPSHOT)
    return bool(running or units)


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the processor time of the processes and their descendants, in seconds."""
    known = processes()
    return sum(known[process].cpu for process in family(roots, known))


def memory_bytes(roots: Iterable[int]) -> int:
    """Return the proportional set size of the processes and their descendants, in bytes."""
    total = 0
    for process in family(roots, processes()):
        with suppress(OSError), open(f"/proc/{process}/smaps_rollup", encoding="ascii") as stream:
            total += next((int(line.split()[1]) for line in stream if line.startswith("Pss:")), 0) * 1024
    return total


def main() -> None:
    unit = {
        "name": {"type": "str", "required": True},
        "command": {"type": "list", "elements": "str", "required": True},
        "group": {"type": "str", "choices": ["server", "proxy"], "default": "server"},
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["started", "measured", "stopped", "info"]},
            "apps": {"type": "list", "elements": "str", "default": []},
            "app": {"type": "str"},
            "root": {"type": "path", "default": "/srv/wsgi"},
            "units": {"type": "list", "elements": "dict", "default": [], "options": unit},
            "environment": {"type": "dict", "default": {}},
            "proxied": {"type": "bool", "default": False},
            "address": {"type": "str", "default": ""},
            "front": {"type": "str", "default": ""},
            "protocol": {"type": "str", "choices": ["http", "uwsgi"], "default": "http"},
            "host": {"type": "str", "default": "localhost"},
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    if module.check_mode:
        module.exit_json(changed=False)
    try:
        if state == "stopped":
            module.exit_json(changed=stop(module))
        if state == "info":
            apps = {app: app_info(app, module.params["root"]) for app in module.params["apps"]}
            module.exit_json(changed=False, apps=apps)
        subject = Subject(module)
        if state == "started":
            module.exit_json(changed=True, **subject.start())
        module.exit_json(changed=False, **subject.measure())
    except (SubjectError, SupervisorError, ReleaseError, OSError) as error:
        names = [unit["name"] for unit in module.params["units"]]
        said = [
            module.run_command(["journalctl", "--output=cat", "--lines=5", f"--unit={UNIT}{name}"])[1] for name in names
        ]
        name = module.params["app"] or " and ".join(names) or state
        module.fail_json(msg=" ".join([f"{name}: {error}", *"".join(said).splitlines()]))


if __name__ == "__main__":
    main()
