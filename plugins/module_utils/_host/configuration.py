# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a service and its configuration to a wanted state: plan it, refuse it, or apply it, and undo what fails."""

from __future__ import annotations

import grp
import os
import pwd
import re
import time
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, commands, firewall, services
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Transaction
from ansible_collections.baremetal.web.plugins.module_utils._host.pending_marker import PendingMarker
from ansible_collections.baremetal.web.plugins.module_utils._host.services import Refused, Service
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import own_obstacle, port_holders
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.wanted_files import WantedFiles
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked


def is_known(name: str) -> bool:
    """Tell whether there is a user or a group of a name."""
    for look in (pwd.getpwnam, grp.getgrnam):
        with suppress(KeyError):
            return bool(look(name))
    return False


class Configuration:
    """The plan for a service and its files: what the options want, beside what the host has."""

    def __init__(self, asked: Asked):
        self.asked = asked
        self.wanted: dict[str, Any] = asked.params
        name, manager, program = (self.wanted[option] for option in ("name", "manager", "program"))
        self.service = Service(name, manager, program) if name else None
        self.files = WantedFiles(asked)
        self.transaction = Transaction(
            [*self.files.entries(), *(self.service.entries() if self.service else [])],
            [*self.files.absent, *(self.service.absent() if self.service else [])],
            self._make_accounts,
        )
        self.marker = PendingMarker(entry.path for entry in self.transaction.entries)
        self.cut_off = self.marker.is_set
        self.converged = not self.service or self.service.was_converged
        self.outdated = self._is_outdated()
        self.unread = self._is_unread()
        self.accounts = [name for name in self.wanted["accounts"] if not is_known(name)]
        self.changed = bool(self.transaction.changed or self.accounts or not self.converged) or self._is_late
        self.applied_verb = ""

    @property
    def _is_late(self) -> bool:
        """Whether the service does not run with files that are as wanted."""
        return self.cut_off or self.outdated or self.unread

    def _is_outdated(self) -> bool:
        """Tell whether the service runs since before one of its files was put there."""
        if not self.service or not self.converged:
            return False
        # Packages bring the times of their files along, but not this one.
        changes = [os.stat(path).st_ctime for path in self.wanted["restart_if_newer"] if os.path.exists(path)]
        return any(self.service.own.started < change < time.time() for change in changes)

    def _is_unread(self) -> bool:
        """Tell whether the service has read its configuration before one of its files was put there."""
        if not self.service or not self.converged or not (read := self.service.own.configured):
            return False
        paths = [entry.path for entry in self.transaction.entries if entry.path.endswith(".conf")]
        files = [path for path in paths if not path.startswith(services.UNIT_DIRECTORY) and os.path.exists(path)]
        return any(read < os.lstat(path).st_ctime < time.time() for path in files)

    def result(self) -> dict[str, Any]:
        """Return what the module tells of the plan."""
        return {
            "changed": self.changed,
            "files": self.transaction.changed,
            "kept": self.files.kept,
            "firewalls": [found.program for found in firewall.installed(commands.run, "any")],
            "action": "none",
            "diff": self.transaction.diff(),
        }

    def refuse(self) -> None:
        """Refuse what cannot go well, before anything is written."""
        if found := self.files.conflict(self.transaction.changed):
            raise Refused(found)
        for port in self.wanted["ports"] if self.service else []:
            self._refuse_port(port, self.service)

    def _refuse_port(self, port: str, service: Service) -> None:
        what = f"{'Address' if ':' in port else 'Port'} {port}"
        if holders := port_holders(port, service.owners):
            raise Refused(
                f"{what} is held by {', '.join(sorted(holders))}, so {service.name} cannot listen on it. "
                "Stop that program, or choose another port."
            )
        if self.wanted["on_change"] != "reload":
            return
        if obstacle := own_obstacle(port, self.wanted["ports"], service.owners):
            raise Refused(
                f"{what} cannot be had while {service.name} listens on {obstacle} with the same port. Choose "
                "another port, or give that one up in a run before."
            )

    def apply(self) -> str:
        """Write the files and let the service take them up; undo all of it where one step fails."""
        units = [path for path in self.transaction.changed if path.startswith(services.UNIT_DIRECTORY)]
        drop_ins = self._drop_ins()
        verb = self._verb(drop_ins)  # before the drop-ins are there
        self.marker.set()
        with change_record.ChangeRecord() as notes:
            try:
                self._record_changes(notes)
                self._write()
                self._validate()
                if units or (self.service and self.cut_off):
                    commands.run(["systemctl", "daemon-reload"], checked=True)
                action = self._take_up(verb)
            except (Refused, SupervisorError, OSError, LookupError) as error:
                worse = self._undo(notes, units)
                self.marker.clear()
                refused = "The new configuration was refused and every file is as it was before. "
                raise Refused(f"{refused if self.transaction.changed else ''}{error}{worse}") from error
            for path in self.transaction.absent:
                if notes.notes.get("file", {}).get(path, path) is None:
                    notes.forget("file", path)
        self.marker.clear()
        if drop_ins and action == "reloaded":
            self.asked.warnings.append(
                f"{', '.join(sorted(drop_ins))} has changed, and {self.wanted['name']} was only reloaded, because a "
                f"restart breaks connections. To let it take effect: systemctl restart {self.wanted['name']}"
            )
        return action

    @property
    def _unit_file(self) -> str:
        return os.path.join(services.UNIT_DIRECTORY, self.wanted["name"] or "")

    def _drop_ins(self) -> set[str]:
        return {path for path in self.transaction.changed if path.startswith(f"{self._unit_file}.d/")}

    def _verb(self, drop_ins: set[str]) -> str:
        """Return what a running service needs to take up the change."""
        if not self.transaction.changed and not self._is_late and self.service and self.service.was_active:
            return "start"  # it runs as wanted, and only has to start with the host
        described = {self._unit_file, *(entry.path for entry in (self.service.entries() if self.service else []))}
        # Only a start takes up a drop-in. A service that came with this collection loses nothing before its first.
        fresh = any(not os.path.exists(path) for path in drop_ins) and self._is_ours()
        restarts = self.outdated or fresh or described & {*self.transaction.changed}
        return "restart" if restarts else self.wanted["on_change"]

    def _is_ours(self) -> bool:
        """Tell whether the package of the unit came to the host with this collection."""
        return self.wanted["name"].rpartition(".")[0] in change_record.read().get("package", {})

    def _record_changes(self, notes: change_record.ChangeRecord) -> None:
        """Note what is about to change."""
        changed = self.transaction.changed
        directories = [entry for entry in self.transaction.entries if entry.content is None]
        for name in self.accounts:
            notes.note("account", name)
        for entry in directories:
            if entry.path in changed and entry.data_of:
                notes.note_data(entry.path, entry.data_of)
            elif entry.path in changed:
                notes.note_directory(entry.path, entry.owned)
        for path in changed:
            if path in self.transaction.absent and path not in notes.notes.get("file", {}):
                notes.note("removed", path, change_record.freeze(self.transaction.before[path]))
            elif path not in {entry.path for entry in directories}:
                notes.note_directory(os.path.dirname(path))
                notes.note_file(path)
        if self.service:
            self.service.unit.note(notes)
        notes.save()

    def _write(self) -> None:
        for path in self.files.account_paths - {*self.transaction.changed}:
            self._make_accounts(path)
        self.transaction.write()

    def _make_accounts(self, path: str) -> None:
        """Let systemd make the accounts that a file describes."""
        if path in self.files.account_paths:
            code, out, err = commands.run(["systemd-sysusers", path])
            if code:
                raise Refused(f"systemd-sysusers {path} says: {(err or out).strip()}")

    def _validate(self) -> None:
        """Let the service's own checker validate what is written."""
        check = self.wanted["check"]
        if not check:
            return
        code, out, err = commands.attempt(check)
        missing = [text for text in self.wanted["check_expects"] if text not in out + err]
        if code or any(re.search(regex, out + err) for regex in self.wanted["check_forbids"]):
            raise Refused(f"{' '.join(check)} says: {(err or out).strip()}")
        if missing:
            raise Refused(f"{' '.join(check)} does not mention {', '.join(missing)}, so it is not taken up.")

    def _take_up(self, verb: str) -> str:
        """Let the service take up the change; return what was done to it."""
        # A service has nothing to take up where only an account was missing, or a secret was open to others: a new
        # one changes the file that has its hash.
        unread = self.files.account_paths | {entry.path for entry in self.files.secrets.values()}
        if not self.service or not ({*self.transaction.changed} - unread or not self.converged or self._is_late):
            return "none"
        self.applied_verb = verb
        return self.service.apply(verb, self.wanted["drain"], self.wanted["ready"], self.wanted["ready_timeout"])

    def _undo(self, notes: change_record.ChangeRecord, units: list[str]) -> str:
        """Make the host what it was; return what is wrong with that."""
        self.transaction.undo()
        notes.revert()
        # An account that was made is there still.
        for name in filter(is_known, self.accounts):
            notes.note("account", name)
        if units:
            commands.run(["systemctl", "daemon-reload"])
        # Where no file has changed there is nothing to go back to.
        return self.service.recover(self.applied_verb if self.transaction.changed else "") if self.service else ""
