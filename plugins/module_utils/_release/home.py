# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The home of an app on a host: its paths, which release is live, and what happened before.

Of two slots one is live. nginx goes to the socket of slot ``b`` while the marker exists, else to that of slot ``a``.
So the whole switch is to make or remove one file. The links ``current`` and ``current.sock`` follow it.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.files import make_directory, write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.module_utils._host.trees import chown_tree, has_files
from ansible_collections.baremetal.web.plugins.module_utils._release import layout
from ansible_collections.baremetal.web.plugins.module_utils._release.layout import SLOTS

RELEASE = r"[0-9a-f]{12}(?:\.[0-9]+)?"
MANIFEST = "release.json"
AUDIT_LOG = "releases.log"
DATA = "data"
SHARED = "shared"
BUILD_HOME = "/var/cache/wsgi-build"
# The /dev/shm of each app is in here; the launcher makes it, for it is gone after a reboot.
SHM = "/dev/shm/baremetal-web"
# Releases before this layout listen in the directory "run", which their app can write.
SOCKETS_LAYOUT = 7
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# Keys of manifests that earlier versions of this collection wrote. The next change of a manifest writes the new ones.
RENAMED_KEYS = {"former_description": "replaced_description"}


class ReleaseError(Exception):
    """A release did not go live; the text says why. The live release is untouched."""

    def __init__(self, text: str):
        super().__init__(readable(text))


class UnfitHostError(ReleaseError):
    """The host cannot do what the app asks for, and no run changes that."""


class ForeignDataError(UnfitHostError):
    """The data of an app belongs to another account than the one that it is to run as."""


def utc(seconds: float | None = None) -> str:
    """Return a time, now by default, in UTC."""
    return time.strftime(TIME_FORMAT, time.gmtime(seconds))


def replace_symlink(link: str, target: str) -> None:
    """Let a symbolic link point to a target, in one rename."""
    temporary = f"{link}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)


def readlink_name(link: str) -> str:
    """Return the last part of a link's target; empty where there is no link."""
    with suppress(OSError):
        return os.path.basename(os.readlink(link))
    return ""


def size(path: str) -> int:
    """Return the bytes on disk of a tree, each file once."""
    seen, total = set(), 0
    for directory, directories, files in os.walk(path):
        for name in [*directories, *files]:
            with suppress(OSError):
                info = os.lstat(os.path.join(directory, name))
                if (info.st_dev, info.st_ino) not in seen:
                    seen.add((info.st_dev, info.st_ino))
                    total += info.st_blocks * 512
    return total


def _is_directory(path: str, mode: int, uid: int, gid: int) -> bool:
    """Tell whether a directory is there as it is to be."""
    with suppress(OSError):
        info = os.stat(path)
        return (info.st_mode, info.st_uid, info.st_gid) == (stat.S_IFDIR | mode, uid, gid)
    return False


def _look(path: str) -> str:
    """Describe a file or directory by its owner, mode and content; of a link only whether it leads somewhere."""
    try:
        info = os.stat(path)
        if os.path.islink(path):
            return "link"
        if stat.S_ISDIR(info.st_mode):
            return f"{info.st_mode:o} {info.st_uid} {info.st_gid}"
        with open(path, "rb") as stream:
            return f"{info.st_mode:o} {info.st_uid} {info.st_gid} {hashlib.sha256(stream.read()).hexdigest()}"
    except OSError:
        return "missing"


class Home:
    """The home of one app."""

    def __init__(self, name: str, root: str):
        self.name = name
        self.path = os.path.join(root, name)
        self.releases = os.path.join(self.path, "releases")
        self.run = os.path.join(self.path, "run")
        self.sockets = os.path.join(self.path, "sockets")
        self.slots = layout.slots_directory(self.path)
        self.data = os.path.join(self.path, DATA)
        # The launcher mounts these over /tmp, /var/tmp and /dev/shm.
        self.private = os.path.join(self.path, "private")
        self.shm = os.path.join(SHM, name)
        # All links are in root's directories, so the app cannot replace one.
        self.current_link = os.path.join(self.path, "current")
        self.current_socket = layout.live_socket(self.path)
        self.marker = layout.marker(self.path)
        self.endpoints_file = os.path.join(self.path, "endpoints.json")

    def create_directories(self, user: str, socket_group: str) -> None:
        """Create the directories of the app, each open to those only who need it."""
        self.refuse_data_of_another(user)
        with ChangeRecord() as notes:
            notes.note_directory(os.path.dirname(self.path))
            notes.note_app(self.path, user)
            notes.note_directory(BUILD_HOME, owned=True)
            notes.note("tree", SHM)
        for path, (mode, uid, gid) in self._directories(user, grp.getgrnam(socket_group).gr_gid).items():
            make_directory(path, mode, uid, gid)
        self.chown_data(user)

    def _directories(self, user: str, socket_gid: int) -> dict[str, tuple[int, int, int]]:
        """Return the mode, the user and the group of each directory but the data."""
        uid, gid = pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid
        return {
            os.path.dirname(self.path): (0o755, 0, 0),
            self.path: (0o751, 0, gid),
            self.releases: (0o755, 0, 0),
            self.slots: (0o755, 0, 0),
            self.run: (0o750, uid, socket_gid),
            # Root's, so no app can replace a socket. Each socket says who may connect: the app, this group.
            self.sockets: (0o711, 0, socket_gid),
        }

    def misplaced_directory(self, user: str) -> str:
        """Return a directory that is missing, or is not open to those alone who need it; empty for none."""
        try:
            account = pwd.getpwnam(user)
        except KeyError:  # nobody can have it
            return self.path
        socket_gid = os.stat(self.run).st_gid if os.path.isdir(self.run) else 0  # as it was told when it was made
        wanted = {**self._directories(user, socket_gid), self.data: (0o700, account.pw_uid, account.pw_gid)}
        return next((path for path, owned in wanted.items() if not _is_directory(path, *owned)), "")

    def chown_data(self, user: str) -> None:
        """Give the data to a user: new, kept since the app was removed, or another user's who has written nothing."""
        self.refuse_data_of_another(user)
        uid, gid = pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid
        if os.path.isdir(self.data) and (owner := os.stat(self.data).st_uid) != uid:
            chown_tree(self.data, uid, gid, owner)
        make_directory(self.data, 0o700, uid, gid)

    def refuse_data_of_another(self, user: str) -> None:
        """Refuse a user to whom the data does not belong, which a release that still runs may be writing."""
        try:
            uid = os.stat(self.data).st_uid
            owner = pwd.getpwuid(uid).pw_name
        except FileNotFoundError:
            return
        except KeyError:
            owner = f"the account {uid}, which is gone"
        if uid == 0 or owner == user or not has_files(self.data):
            return
        raise ForeignDataError(
            f"The app's user is {user}, and the files in {self.data} belong to {owner}. A release that runs as another "
            f"user cannot write them. Set user to {owner}. Or remove the app, which keeps its data, and run site.yml: "
            f"ansible-playbook baremetal.web.remove -e remove={self.name} -e confirm={self.name}. The app does not "
            "answer until then."
        )

    # Which release is where

    @property
    def slot(self) -> str:
        """The live slot."""
        return "b" if os.path.exists(self.marker) else "a"

    def other_slot(self) -> str:
        return "a" if self.slot == "b" else "b"

    def slot_link(self, slot: str) -> str:
        return layout.slot_link(self.path, slot)

    def occupant(self, slot: str) -> str:
        """Return the release whose socket a slot leads to; empty for none."""
        return readlink_name(self.slot_link(slot))[: -len(".sock")]

    @property
    def current(self) -> str:
        """The live release; empty for none."""
        if any(self.occupant(slot) for slot in SLOTS):
            return self.occupant(self.slot)
        return readlink_name(self.current_socket)[: -len(".sock")]  # as it was before there were slots

    @property
    def standby(self) -> str:
        """The release in the slot that is not live, warm or cold; empty for none."""
        other = self.occupant(self.other_slot())
        return other if other != self.current else ""

    def switch(self, release: str, slot: str) -> None:
        """Let clients go to a release, in its slot. The marker alone decides."""
        self.occupy(slot, release)
        if slot == "b":
            os.close(os.open(self.marker, os.O_WRONLY | os.O_CREAT, 0o644))
            os.chmod(self.marker, 0o644)
        else:
            with suppress(FileNotFoundError):
                os.unlink(self.marker)
        directory = os.open(self.slots, os.O_RDONLY)
        os.fsync(directory)  # after a loss of power, too, one is live
        os.close(directory)
        self.follow()

    def follow(self) -> None:
        """Let both links follow the live slot, also where an earlier switch was cut off before that."""
        if release := self.current:
            wanted = os.path.relpath(self.socket(release), self.path)
            if not os.path.islink(self.current_socket) or os.readlink(self.current_socket) != wanted:
                replace_symlink(self.current_socket, wanted)
            if readlink_name(self.current_link) != release:
                replace_symlink(self.current_link, os.path.join("releases", release))

    def occupy(self, slot: str, release: str) -> None:
        """Let a slot lead to a release."""
        if self.occupant(slot) != release:
            replace_symlink(self.slot_link(slot), os.path.relpath(self.socket(release), self.slots))

    def endpoints(self) -> dict[str, Any]:
        """Return the endpoint of each slot, by which a web server is to reach it; empty when that was never noted."""
        return {slot: endpoint for slot, endpoint in self._noted_endpoints().items() if slot in SLOTS}

    @property
    def proxy_synced(self) -> bool:
        """Whether the web server is configured for the noted endpoints."""
        noted = self._noted_endpoints()
        # Hosts of the first versions of this collection say "told" until it is noted again.
        return noted.get("proxy_synced", noted.get("told", True))

    def _noted_endpoints(self) -> dict[str, Any]:
        with suppress(FileNotFoundError, ValueError), open(self.endpoints_file, encoding="utf-8") as stream:
            return json.load(stream)
        return {}

    def note_endpoints(self, endpoints: dict[str, Any], proxy_synced: bool) -> None:
        """Note the endpoints before the web server is configured for them, and again when it is."""
        noted = {**endpoints, "proxy_synced": proxy_synced}
        if self._noted_endpoints() != noted:
            write_file(self.endpoints_file, json.dumps(noted).encode(), 0o644)

    def slot_of(self, release: str) -> str:
        """Return the slot that a release is or will be in; the live one where it is the first with a slot."""
        return self.slot if release == self.current or not self.occupant(self.slot) else self.other_slot()

    def deactivate(self) -> None:
        """Let no release be live."""
        for path in (self.marker, *map(self.slot_link, SLOTS), self.current_socket, self.current_link):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def vacate(self, slot: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.slot_link(slot))

    # Releases

    def release(self, release: str) -> str:
        return os.path.join(self.releases, release)

    def has_own_socket(self, release: str) -> bool:
        """Tell whether a release listens where root bound its socket."""
        return self.manifest(release).get("layout", 0) >= SOCKETS_LAYOUT

    def socket(self, release: str) -> str:
        directory = self.sockets if self.has_own_socket(release) else self.run
        return os.path.join(directory, f"{release}.sock")

    def program(self, release: str) -> str:
        return f"{self.name}-{release}"

    def manifest(self, release: str) -> dict[str, Any]:
        """Return what is remembered of a release; it is complete when C(staged) is among it."""
        path = os.path.join(self.release(release), MANIFEST)
        # One that cannot be read any more is of no complete release.
        with suppress(FileNotFoundError, NotADirectoryError, ValueError), open(path, encoding="utf-8") as stream:
            found = json.load(stream)
            if not isinstance(found, dict):
                raise ValueError(f"{path} holds no object")
            return {RENAMED_KEYS.get(key, key): value for key, value in found.items()}
        return {}

    def remember(self, name: str, **values: Any) -> None:
        """Add to what is remembered of a release; what is None is forgotten."""
        remembered = {key: value for key, value in {**self.manifest(name), **values}.items() if value is not None}
        text = json.dumps(remembered, indent=1)
        write_file(os.path.join(self.release(name), MANIFEST), text.encode(), 0o644)

    def staged(self) -> list[str]:
        """Return the complete releases, oldest first."""
        with suppress(FileNotFoundError):
            names = (name for name in os.listdir(self.releases) if re.fullmatch(RELEASE, name))
            found = {name: since for name in names if (since := self.manifest(name).get("staged"))}
            return sorted(found, key=lambda name: found[name])
        return []

    def same(self, release: str) -> list[str]:
        """Return the complete releases with the same content that are as they were written, oldest first."""
        same = (name for name in self.staged() if name.partition(".")[0] == release.partition(".")[0])
        return [name for name in same if not self.damage(name)]

    def written(self, release: str, names: Iterable[str]) -> dict[str, str]:
        """Describe files of a release by their owner, mode and content."""
        return {name: _look(os.path.join(self.release(release), name)) for name in names}

    def damage(self, release: str) -> str:
        """Return which file of a release is not as this collection wrote it; empty for none.

        Its code and packages are not compared: hooks may change the code, and there are many files.
        """
        noted = self.manifest(release).get("written", {})  # releases of earlier versions of this collection have none
        found = self.written(release, noted)
        return next((name for name in noted if noted[name] != found[name]), "")

    def drop(self, release: str) -> None:
        """Remove the files of a release."""
        # Its manifest before its files: what is removed in part is no release.
        for path in (self.socket(release), os.path.join(self.release(release), MANIFEST)):
            with suppress(FileNotFoundError):
                os.unlink(path)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.release(release))

    def prune(self, keep: int) -> list[str]:
        """Remove all releases but the newest, the live, the standby and the previous one; return what is removed."""
        kept = {self.current, self.standby, self.previous(), *self.staged()[-keep:]}
        gone = sorted(name for name in os.listdir(self.releases) if name not in kept)
        for name in gone:
            self.drop(name)
        return gone

    # What happened

    def log(self, action: str, result: str, **values: Any) -> None:
        """Add one line to the app's audit log."""
        line = json.dumps({"time": utc(), "action": action, "result": result, **values})
        descriptor = os.open(os.path.join(self.path, AUDIT_LOG), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        with os.fdopen(descriptor, "ab") as stream:
            end = os.fstat(descriptor).st_size
            # A full disk may have cut off the line before.
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                stream.write(b"\n")
            stream.write(f"{line}\n".encode())

    def history(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log, newest last."""
        rows = []
        with suppress(FileNotFoundError), open(os.path.join(self.path, AUDIT_LOG), "rb") as stream:
            for line in stream:
                with suppress(ValueError):  # of a line that was cut off
                    rows.append(json.loads(line))
        return rows

    def lives(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log that tell of a release that went live."""
        return [row for row in self.history() if row.get("result") == "live"]

    def previous(self) -> str:
        """Return the release that was live before the live one and was not withdrawn; empty for none."""
        others = (row["release"] for row in reversed(self.lives()) if row["release"] != self.current)
        return next((release for release in others if not self.manifest(release).get("withdrawn")), "")

    def live_since(self) -> str:
        """Return when the live release went live, in UTC."""
        return utc(os.lstat(self.current_link).st_mtime)
