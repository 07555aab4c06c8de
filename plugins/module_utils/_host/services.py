# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a host: each is a unit of systemd, or a program of supervisord in the place of the unit of that name."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, commands
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Entry
from ansible_collections.baremetal.web.plugins.module_utils._host.processes import children, started
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    Supervisor,
    SupervisorError,
    render_program,
)

ROOT = "root"
UNIT_DIRECTORY = "/etc/systemd/system"
# A reload of these starts other workers, which tell when the configuration was read.
RENEWED_BY_RELOAD = ("nginx.service",)


class Refused(Exception):
    """The new configuration is not accepted."""


class Unit:
    """A service that systemd runs."""

    def __init__(self, name: str):
        self.name = name
        self.owners: set[str | int] = {name}

    def run(self, *arguments: str) -> None:
        code, out, err = commands.run(["systemctl", *arguments, self.name])
        if code:
            journal = commands.run(["journalctl", "--no-pager", "-n", "15", "-o", "cat", "-u", self.name])[1]
            raise Refused(
                f"systemctl {' '.join(arguments)} {self.name} failed: {(err or out).strip()}\n{journal}".strip()
            )

    def properties(self) -> dict[str, str]:
        wanted = "ActiveState,UnitFileState,ActiveEnterTimestampMonotonic"
        out = commands.run(["systemctl", "show", "-p", wanted, self.name])[1]
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    @property
    def enabled(self) -> bool:
        return self.properties().get("UnitFileState") == "enabled"

    @property
    def active(self) -> bool:
        return self.properties().get("ActiveState") in ("active", "reloading", "activating")

    @property
    def converged(self) -> bool:
        return self.properties().get("ActiveState") == "active" and self.enabled

    @property
    def present(self) -> bool:
        return self.active or self.enabled

    @property
    def started(self) -> float:
        """When it was started, in seconds since 1970."""
        ago = time.clock_gettime(time.CLOCK_MONOTONIC) - int(self.properties()["ActiveEnterTimestampMonotonic"]) / 1e6
        return time.time() - ago

    @property
    def configured(self) -> float:
        """When its newest worker was started, so it has read its configuration; 0 where that does not tell."""
        if self.name not in RENEWED_BY_RELOAD:
            return 0
        out = commands.run(["systemctl", "show", "-p", "MainPID", "--value", self.name])[1].strip()
        return max(map(started, children(int(out))), default=0) if out.isdigit() and int(out) else 0

    def note(self, notes: change_record.ChangeRecord) -> None:
        """Note what it was."""
        state = self.properties()
        before = {"active": state.get("ActiveState") == "active", "enabled": state.get("UnitFileState") == "enabled"}
        notes.note("unit", self.name, before)

    def apply(self, verb: str) -> str:
        """Take up the configuration, running now and after a boot; return what was done."""
        if not self.enabled:
            self.run("enable", "--quiet")
        verb = verb if self.active else "start"
        self.run(verb)
        return f"{verb}ed"

    def let_go(self) -> None:
        """Stop it, for another manager runs it from now on."""
        self.run("disable", "--now", "--quiet")

    def take_back(self) -> None:
        """Run it again, because the other manager could not."""
        self.apply("start")

    def recover(self, verb: str) -> None:
        """Run with what it had before."""
        if verb == "restart" or not self.active:
            commands.run(["systemctl", "restart", self.name])


class Program:
    """A service that supervisord runs; its description is given where the program may be new."""

    def __init__(self, name: str, description: dict[str, Any] | None):
        self.name = name
        self.description = description
        self.supervisor: Supervisor | None = None
        with suppress(SupervisorError):  # there is none
            self.supervisor = Supervisor()

    @property
    def reached(self) -> Supervisor:
        if self.supervisor is None:
            raise SupervisorError("There is no supervisord of this collection on this host; let its role run first.")
        return self.supervisor

    @property
    def state(self) -> str:
        with suppress(SupervisorError):
            return self.reached.state(self.name)
        return "ABSENT"

    @property
    def owners(self) -> set[str | int]:
        """The process group that supervisord has made for it."""
        with suppress(SupervisorError):
            return set(self.reached.processes(self.name))
        return set()

    @property
    def path(self) -> str:
        """Its file; empty where there is no supervisord."""
        return self.supervisor.path(self.name) if self.supervisor else ""

    @property
    def entry(self) -> Entry:
        """Its file as it is to be."""
        text = render_program(self.description or {}, self.reached.log_directory)
        return Entry(self.path, text.encode(), 0o600, ROOT, ROOT)

    @property
    def active(self) -> bool:
        return self.state == "RUNNING"

    @property
    def converged(self) -> bool:
        return self.active

    @property
    def present(self) -> bool:
        return os.path.exists(self.path) or self.state != "ABSENT"

    @property
    def started(self) -> float:
        """When it was started, in seconds since 1970."""
        return float(self.reached.call("getProcessInfo", self.name)["start"])

    @property
    def configured(self) -> float:
        """When it has read its configuration; 0, because its processes do not tell."""
        return 0

    def apply(self, verb: str) -> str:
        """Take up the configuration, running now and after a boot; return what was done."""
        was_active = self.active
        if verb == "reload" and was_active:
            self.reached.call("signalProcessGroup", self.name, "HUP")
            return "reloaded"
        self._start()
        return "restarted" if was_active else "started"

    def known(self) -> str:
        """Return what its file has; refuse a program that has none."""
        text = self.reached.current_text(self.name)
        if text is None:
            raise Refused(f"supervisord has no program {self.name}; let the role that brings it run first (site.yml).")
        return text

    def _start(self) -> None:
        self.reached.add(self.name, self.known())
        if (state := self.reached.wait(self.name, 20)) != "RUNNING":
            said = self.reached.call("tailProcessStdoutLog", self.name, 0, 2000)[0].strip()
            raise Refused(f"The program {self.name} of supervisord does not stay up: it is {state}.\n{said}".strip())

    def let_go(self) -> None:
        """Stop it, for another manager runs it from now on, or nobody."""
        self.reached.remove(self.name)

    def take_back(self) -> None:
        """Run it again, because the other manager could not."""
        self._start()

    def recover(self, verb: str) -> None:
        """Run with what it had before."""
        if verb == "restart" or not self.active:
            self._start()


class Service:
    """A service with its manager; what the other manager has of it ends when this one takes over."""

    def __init__(self, name: str, manager: str | None, program: dict[str, Any] | None):
        self.name = name
        self.unit = Unit(name)
        self.program = Program(name.rpartition(".")[0], program) if manager else None
        self.own: Unit | Program = self.unit
        self.other: Unit | Program | None = self.program
        if self.program and manager == "supervisor":
            self.own, self.other = self.program, self.unit
        self.was_active = self.own.active
        self.was_converged = self.own.converged and not self._is_shared()
        self.takes_over = False

    def _is_shared(self) -> bool:
        return self.other is not None and self.other.present

    @property
    def owners(self) -> set[str | int]:
        """Units and process groups whose sockets are those of this service."""
        return self.own.owners | (self.other.owners if self.other else set())

    def entries(self) -> list[Entry]:
        """Return the files that the service itself brings."""
        wanted = self.program and self.own is self.program and self.program.supervisor and self.program.description
        return [self.program.entry] if self.program and wanted else []

    def absent(self) -> list[str]:
        """Return the files that would let the other manager start it at the next boot."""
        return [self.program.path] if self.program and self.other is self.program and self.program.path else []

    def apply(self, verb: str, drain: list[str], ready: list[str], seconds: int) -> str:
        """Let the service take up its configuration; return what was done."""
        if self.other and self._is_shared():
            if isinstance(self.own, Program):
                self.own.known()
            self.takes_over = True
            self.other.let_go()
        drained = [Unit(name) for name in drain] if verb == "restart" and self.was_active else []
        drained = [unit for unit in drained if unit.active]
        try:
            for unit in drained:
                unit.run("stop")
            done = self.own.apply(verb)
            if ready and done == "restarted":
                self._wait(ready, seconds)
        finally:
            for unit in drained:
                commands.run(["systemctl", "start", unit.name])
        return done

    def recover(self, verb: str) -> str:
        """Let the service run as before, under the manager that it had; return what is wrong with that."""
        try:
            if self.other and self.takes_over:
                self.own.let_go()
                self.other.take_back()
            elif self.was_active:
                self.own.recover(verb)
            elif self.own is self.program and self.program.path and not os.path.exists(self.program.path):
                self.own.let_go()
        except (Refused, SupervisorError) as error:
            return f"\nIt does not run as before either: {error}"
        return ""

    def _wait(self, ready: list[str], seconds: int) -> None:
        """Wait until a command succeeds."""
        end = time.monotonic() + seconds
        while (answer := commands.attempt(ready))[0]:
            if time.monotonic() > end:
                raise Refused(f"{' '.join(ready)} fails {seconds} s after the restart of {self.name}:\n{answer[1]}")
            time.sleep(0.5)
