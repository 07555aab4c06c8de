# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take away what this collection brought to a host, by what its change record says."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, services
from ansible_collections.baremetal.web.plugins.module_utils._host.files import put_back, write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock
from ansible_collections.baremetal.web.plugins.module_utils._host.ownership import has_package
from ansible_collections.baremetal.web.plugins.module_utils._host.processes import processes_of
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.trees import chown_tree
from ansible_collections.baremetal.web.plugins.module_utils._host.web_server import WEB_SERVERS
from ansible_collections.baremetal.web.plugins.module_utils._release.home import AUDIT_LOG, BUILD_HOME, DATA, Home
from ansible_collections.baremetal.web.plugins.module_utils._release.programs import Programs
from ansible_collections.baremetal.web.plugins.module_utils._release.retirement import timer

# What package managers put beside a file that somebody changed.
LEFTOVERS = (".dpkg-dist", ".dpkg-new", ".dpkg-old", ".rpmnew", ".rpmorig", ".rpmsave")
LOGS = "/var/log/supervisord"
SYSUSERS = "/etc/sysusers.d/baremetal-*.conf"
CRONTABS = ("/var/spool/cron/crontabs", "/var/spool/cron")


class RemovalError(Exception):
    """Something cannot be removed; the text says why and what to do."""


class Removal:
    """The things that are, or in check mode would be, removed and kept."""

    def __init__(self, module: AnsibleModule, notes: change_record.ChangeRecord, data_kept: bool):
        self.module = module
        self.notes = notes
        self.data_kept = data_kept
        self.acts = not module.check_mode
        self.removed: list[str] = []
        self.kept: list[str] = []
        self.in_use: list[str] = []

    def names(self, kind: str) -> list[str]:
        return sorted(self.notes.notes.get(kind, {}))

    def run(self, *command: str) -> str:
        code, out, err = self.module.run_command(list(command))
        if code:
            raise RemovalError(f"{' '.join(command)} failed: {(err or out).strip()}")
        return out

    def app(self, name: str) -> None:
        """Remove an app, wherever its home is."""
        for home in self.names("app"):
            if os.path.basename(home) == name:
                self._home(home)

    def _home(self, home: str) -> None:
        """Remove the programs, releases, logs and account of an app; its data only when told."""
        name, user = os.path.basename(home), self.notes.notes["app"][home]["user"]
        alone = user in self.names("account") and not any(
            note["user"] == user for other, note in self.notes.notes["app"].items() if other != home
        )
        with self._no_release_meanwhile(home):
            self._programs(Home(name, os.path.dirname(home)))
            if alone:
                self._end_processes(user)
            for pattern in (f"{glob.escape(name)}.log*", f"{glob.escape(name)}.*.log*"):
                for log in glob.glob(os.path.join(LOGS, pattern)):
                    self._delete(log)
            for entry in sorted(os.listdir(home)) if os.path.isdir(home) else []:
                path = os.path.join(home, entry)
                if self.data_kept and (entry == AUDIT_LOG or (entry == DATA and os.listdir(path))):
                    self.kept.append(path)
                    if self.acts and entry == DATA:
                        chown_tree(path, 0, 0)  # the number of its owner may be given to another account
                else:
                    self._delete(path)
            self._delete(os.path.join(BUILD_HOME, name))
            self._delete(Home(name, os.path.dirname(home)).shm)
            if alone:
                self.account(user)
            if any(path.startswith(f"{home}/") for path in self.kept):
                if self.acts:
                    os.chown(home, 0, 0)
                    self.notes.notes["app"][home] = {"user": ""}
            else:
                self._delete(home)
                self._forget("app", home)

    def account(self, name: str) -> None:
        """Remove an account of ours with its crontab; what it owns elsewhere stays."""
        if name not in self.names("account"):
            return
        self.removed.append(f"account {name}")
        for path in (os.path.join(directory, name) for directory in CRONTABS):
            if os.path.isfile(path):
                self._delete(path)
        if not self.acts:
            return
        for path in glob.glob(SYSUSERS):  # which would bring it back at the next boot
            self._drop_lines(path, f"u {name} ")
        if self.module.run_command(["getent", "passwd", name])[0] == 0:
            self.run("userdel", name)
        if self.module.run_command(["getent", "group", name])[0] == 0:
            self.run("groupdel", name)
        self._forget("account", name)

    def everything(self) -> None:
        """Remove all that is noted but what other modules undo, and put back what was there before."""
        for home in self.names("app"):
            self._home(home)
        for path in self.names("data"):
            self._data(path)
        units = [path for path in self.names("file") if os.path.dirname(path) == services.UNIT_DIRECTORY]
        for path in units:
            unit = os.path.basename(path)
            self.removed.append(f"unit {unit}")
            if self.acts:
                if os.path.exists(path):
                    self.run("systemctl", "disable", "--now", "--quiet", unit)
                self._forget("unit", unit)
        for path in self.names("file"):
            before = change_record.thaw(self.notes.notes["file"][path])
            if os.path.lexists(path) or before:
                self.removed.append(path)
            if self.acts:
                put_back(path, before)
                self._forget("file", path)
        for path in self.names("removed"):
            if os.path.lexists(path):  # somebody has put another one there since
                self._forget("removed", path)
            else:
                self.removed.append(path)
                if self.acts:
                    put_back(path, change_record.thaw(self.notes.notes["removed"][path]))
                    self._forget("removed", path)
        for path in self.names("tree"):
            self._delete(path)
            self._forget("tree", path)
        # The deepest first; one that somebody else uses stays.
        for path in reversed(self.names("directory")):
            if self.acts:
                put_back(path, None)
                if not os.path.isdir(path):
                    self._forget("directory", path)
        for name in self.names("account"):
            self.account(name)
        self._keep_packages_in_use()
        if self.acts:
            self.run("systemctl", "daemon-reload")
            for unit in map(os.path.basename, units):
                self.module.run_command(["systemctl", "reset-failed", unit])

    def _data(self, path: str) -> None:
        """Stop the service that keeps its data in a directory; remove the data only when told."""
        unit = self.notes.notes["data"][path]["unit"]
        if unit and self.acts:
            self.module.run_command(["systemctl", "stop", unit])  # it may have been removed by hand
        if self.data_kept and os.path.isdir(path) and os.listdir(path):
            self.kept.append(path)
            if self.acts:
                chown_tree(path, 0, 0)  # the number of its owner may be given to another account
                self.notes.notes["data"][path] = {"unit": ""}
        else:
            self._delete(path)
            self._forget("data", path)

    def _keep_packages_in_use(self) -> None:
        """Keep a web server where somebody has put files of his own since: purging it would take them along."""
        for server in WEB_SERVERS:
            packages = [name for name in self.names("package") if name.startswith(server.packages)]
            theirs = self._foreign_files(server.directory) if packages else []
            if not theirs:
                continue
            self.in_use += packages
            self.kept.append(f"{', '.join(packages)} (in use by {', '.join(theirs)})")
            if self.acts:
                for name in packages:
                    self._forget("package", name)
                # It goes on, with their files alone.
                self.notes.notes.setdefault("unit", {})[server.unit] = {"active": True, "enabled": True}

    def _foreign_files(self, directory: str) -> list[str]:
        """Return the files that neither a package nor this collection has brought."""
        paths = (os.path.join(above, name) for above, _directories, names in os.walk(directory) for name in names)
        # In check mode those are still there; what was there before comes back.
        ours = {path for path, before in self.notes.notes.get("file", {}).items() if before is None}
        others = (path for path in paths if path not in ours and not path.endswith(LEFTOVERS))
        return sorted(path for path in others if not has_package(path))

    def finish(self) -> None:
        """Let the services that were there before go on with their own files, and close the change record."""
        for name, before in sorted(self.notes.notes.get("unit", {}).items()):
            shown = self.run("systemctl", "show", "-p", "LoadState,UnitFileState", name).split()
            if "LoadState=loaded" in shown and self.acts:
                if before["enabled"] != ("UnitFileState=enabled" in shown):
                    self.run("systemctl", "enable" if before["enabled"] else "disable", "--quiet", name)
                self.run("systemctl", "reload-or-restart" if before["active"] else "stop", name)
            self._forget("unit", name)

    @contextmanager
    def _no_release_meanwhile(self, home: str) -> Iterator[None]:
        """Hold the lock of an app's releases."""
        path, app = os.path.join(home, ".lock"), os.path.basename(home)
        if not os.path.exists(path):
            yield
            return
        under_way = RemovalError(f"A release of {app} is under way. It holds {path}. Try again when it has ended.")
        with file_lock(path, 0, under_way, create=False):
            yield

    def _end_processes(self, user: str) -> None:
        """End what an app has left running beside its program, which would keep its account."""
        try:
            number = pwd.getpwnam(user).pw_uid
        except KeyError:
            return
        end = time.monotonic() + 10
        while self.acts and (processes := processes_of(number)) and time.monotonic() < end:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    def _programs(self, home: Home) -> None:
        """Stop and remove the programs of an app's releases."""
        try:
            supervisor = Supervisor()
        except SupervisorError:
            return  # without supervisord there is no program
        if self.acts:
            self.module.run_command(["systemctl", "stop", timer(home)])
        programs = Programs(home, supervisor)
        for release in programs.releases():
            self.removed += [f"program {name}" for name in programs.of(release)]
            if self.acts:
                try:
                    programs.remove(release)
                except SupervisorError as error:
                    raise RemovalError(
                        f"The program {home.program(release)} cannot be stopped: {error}. Start supervisord "
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
        """Forget what is done at once, so that a removal that is cut off can be taken up."""
        if self.acts:
            self.notes.forget(kind, name)
            self.notes.save()
