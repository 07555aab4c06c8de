# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take away what this collection brought to a host, by what its ledger says."""

from __future__ import annotations

import fcntl
import glob
import os
import pwd
import re
import shutil
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils import ledger
from ansible_collections.baremetal.web.plugins.module_utils.files import put_back, write_file
from ansible_collections.baremetal.web.plugins.module_utils.releases import DATA, give
from ansible_collections.baremetal.web.plugins.module_utils.supervisor import Supervisor, SupervisorError

UNIT_DIRECTORY = "/etc/systemd/system"
AUDIT_LOG = "releases.log"
SYSUSERS = "/etc/sysusers.d/baremetal-*.conf"
CRONTABS = ("/var/spool/cron/crontabs", "/var/spool/cron")


class RemovalError(Exception):
    """Something cannot be removed; the text says why and what to do."""


class Removal:
    """What is, or in check mode would be, removed and kept."""

    def __init__(self, module: AnsibleModule, notes: ledger.Ledger, root: str, data_kept: bool):
        self.module = module
        self.notes = notes
        self.root = root
        self.data_kept = data_kept
        self.acts = not module.check_mode
        self.removed: list[str] = []
        self.kept: list[str] = []

    def names(self, kind: str) -> list[str]:
        return sorted(self.notes.notes.get(kind, {}))

    def run(self, *command: str) -> str:
        code, out, err = self.module.run_command(list(command))
        if code:
            raise RemovalError(f"{' '.join(command)} failed: {(err or out).strip()}")
        return out

    def apps(self) -> list[str]:
        """Return the names of the apps that have a home below the root, live or left behind."""
        homes = sorted(glob.glob(os.path.join(self.root, "*", "")))
        return [os.path.basename(home.rstrip("/")) for home in homes if home.rstrip("/") in self.names("tree")]

    def app(self, name: str) -> None:
        """Remove an app: its programs, releases, logs and account; its data only when told."""
        home = os.path.join(self.root, name)
        if home not in self.names("tree"):
            return
        user = self._user(home)
        self._refuse_during_a_release(home)
        self._programs(name)
        for log in glob.glob(f"/var/log/supervisord/{glob.escape(name)}.log*"):
            self._delete(log)
        for entry in sorted(os.listdir(home)) if os.path.isdir(home) else []:
            path = os.path.join(home, entry)
            if self.data_kept and (entry == AUDIT_LOG or (entry == DATA and os.listdir(path))):
                self.kept.append(path)
                if self.acts and entry == DATA:
                    give(path, 0, 0)  # the number of its former owner may be given to somebody else
            else:
                self._delete(path)
        if not self.kept or not any(path.startswith(f"{home}/") for path in self.kept):
            self._delete(home)
            self._forget("tree", home)
        elif self.acts:
            os.chown(home, 0, 0)
        others = [other for other in self.apps() if other != name]
        if user and not any(self._user(os.path.join(self.root, other)) == user for other in others):
            self.account(user)

    def account(self, name: str) -> None:
        """Remove an account of ours with its crontab; what it owns elsewhere stays."""
        if name not in self.names("account"):
            return
        self.removed.append(f"account {name}")
        for directory in CRONTABS:
            self._delete(os.path.join(directory, name))
        if not self.acts:
            return
        for path in glob.glob(SYSUSERS):  # which would bring it back at the next boot
            self._drop_lines(path, f"u {name} ")
        if self.module.run_command(["getent", "passwd", name])[0] == 0:
            self.run("userdel", name)
        if self.module.run_command(["getent", "group", name])[0] == 0:
            self.run("groupdel", name)
        self.notes.forget("account", name)

    def everything(self) -> None:
        """Remove all that is noted but packages, and put back what stood there before."""
        for name in self.apps():
            self.app(name)
        units = [path for path in self.names("file") if os.path.dirname(path) == UNIT_DIRECTORY]
        for unit in map(os.path.basename, units):
            self.removed.append(f"unit {unit}")
            if self.acts:
                self.run("systemctl", "disable", "--now", "--quiet", unit)
                self.notes.forget("unit", unit)
        for path in self.names("file"):
            before = ledger.thaw(self.notes.notes["file"][path])
            if os.path.lexists(path) or before:
                self.removed.append(path)
            if self.acts:
                put_back(path, before)
                self.notes.forget("file", path)
        for path in self.names("tree"):
            if not any(kept.startswith(f"{path}/") for kept in self.kept):
                self._delete(path)
                self._forget("tree", path)
        # The deepest first; one that somebody else uses stays.
        for path in reversed(self.names("directory")):
            if self.acts:
                put_back(path, None)
                if not os.path.isdir(path):
                    self.notes.forget("directory", path)
        for name in self.names("account"):
            self.account(name)
        if self.acts:
            self.run("systemctl", "daemon-reload")
            for unit in map(os.path.basename, units):
                self.module.run_command(["systemctl", "reset-failed", unit])

    def finish(self) -> None:
        """Let the services that were there before go on with their own files, and close the ledger."""
        for name, before in sorted(self.notes.notes.get("unit", {}).items()):
            if "LoadState=loaded" in self.run("systemctl", "show", "-p", "LoadState", name) and self.acts:
                if not before["enabled"]:
                    self.run("systemctl", "disable", "--quiet", name)
                self.run("systemctl", "reload-or-restart" if before["active"] else "stop", name)
            self._forget("unit", name)

    def _user(self, home: str) -> str:
        """Return the user of an app, who owns the directory of its sockets; empty when that cannot be told."""
        with suppress(OSError, KeyError):
            return pwd.getpwuid(os.stat(os.path.join(home, "run")).st_uid).pw_name
        return ""

    @staticmethod
    def _refuse_during_a_release(home: str) -> None:
        with suppress(FileNotFoundError), open(os.path.join(home, ".lock"), "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RemovalError(f"A release of {os.path.basename(home)} is under way; try again later.") from None

    def _programs(self, name: str) -> None:
        """Stop and remove the programs of an app's releases."""
        pattern = re.compile(re.escape(name) + r"-[0-9a-f]{12}")
        try:
            supervisor = Supervisor()
        except SupervisorError:
            return  # without supervisord there is no program
        for program in sorted(filter(pattern.fullmatch, supervisor.programs())):
            self.removed.append(f"program {program}")
            if self.acts:
                try:
                    supervisor.remove(program)
                except SupervisorError as error:
                    raise RemovalError(
                        f"The program {program} cannot be stopped: {error}. Start supervisord "
                        "(systemctl start supervisord-baremetal), then run this again."
                    ) from error

    @staticmethod
    def _drop_lines(path: str, start: str) -> None:
        with open(path, encoding="utf-8") as stream:
            lines = stream.readlines()
        write_file(path, "".join(line for line in lines if not line.startswith(start)).encode(), 0o644)

    def _delete(self, path: str) -> None:
        if not os.path.lexists(path):
            return
        self.removed.append(path)
        if not self.acts:
            return
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def _forget(self, kind: str, name: str) -> None:
        if self.acts:
            self.notes.forget(kind, name)
