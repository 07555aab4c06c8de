# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change several files of a host as one: all of them, or none."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from ansible_collections.baremetal.web.plugins.module_utils._host.trees import chown_tree

# What other programs print is read, so they speak English, whatever language the host has.
PLAIN = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}


class Entry(NamedTuple):
    """The wanted state of a path; ``content`` is None for a directory."""

    path: str
    content: bytes | None
    mode: int
    owner: str
    group: str
    secret: bool = False
    owned: bool = False
    data_of: str = ""

    @classmethod
    def file(cls, options: dict[str, Any], secret: bool = False) -> Entry:
        mode = int(options["mode"] or ("0600" if secret else "0644"), 8)
        return cls(options["path"], options["content"].encode(), mode, options["owner"], options["group"], secret)

    @classmethod
    def directory(cls, options: dict[str, Any]) -> Entry:
        mode = int(options["mode"], 8)
        kept = {"owned": options["owned"], "data_of": options["data_of"]}
        return cls(options["path"], None, mode, options["owner"], options["group"], **kept)


class State(NamedTuple):
    """The present state of a path."""

    content: bytes | None
    mode: int
    uid: int
    gid: int
    link: str | None = None


def read_state(path: str) -> State | None:
    """Return the state of a file, link or directory; None where there is none."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else None
    content = None
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as stream:
            content = stream.read()
    return State(content, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, link)


def user_id(name: str) -> int | None:
    """Return the uid of a user; None for one that does not exist yet."""
    with suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return None


def group_id(name: str) -> int | None:
    """Return the gid of a group; None for one that does not exist yet."""
    with suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    return None


def write_file(path: str, content: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Write a file atomically; it never exists with a wider mode or a part of its content."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix="~", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def make_directory(path: str, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Make a directory, or correct one."""
    with suppress(FileExistsError):
        os.makedirs(path, mode=0o755)
    # An account that may write to the directory above could have put a link there; a link of root's own is meant.
    link = os.path.islink(path) and os.lstat(path).st_uid in (0, os.geteuid())
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | (0 if link else os.O_NOFOLLOW))
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def put_back(path: str, state: State | None) -> None:
    """Make a path what it was; a directory that was not there stays while something is in it."""
    if state is None:
        with suppress(OSError):
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    elif state.link is not None:
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.symlink(state.link, path)
    elif state.content is not None:
        write_file(path, state.content, state.mode, state.uid, state.gid)
    else:
        make_directory(path, state.mode, state.uid, state.gid)


class Transaction:
    """The wanted files, beside what stood there before; ``written`` is told of each before the next one is written."""

    def __init__(self, entries: list[Entry], absent: list[str], written: Callable[[str], None] = lambda _path: None):
        self.written = written
        self.entries = entries
        self.absent = absent
        self.made: list[str] = []
        self.before = {path: read_state(path) for path in [*(entry.path for entry in entries), *absent]}
        self.changed = [entry.path for entry in entries if self._differs(entry)]
        self.changed += [path for path in absent if self.before[path] is not None]

    def _differs(self, entry: Entry) -> bool:
        before = self.before[entry.path]
        wanted = (entry.content, entry.mode, user_id(entry.owner), group_id(entry.group), None)
        return before is None or tuple(before) != wanted

    def diff(self) -> list[dict[str, str]]:
        """Return Ansible's diff; of a secret file, and of one that goes and others cannot read, no content is shown."""
        shown = []
        wanted = {entry.path: entry for entry in self.entries}
        for path in self.changed:
            before, entry = self.before[path], wanted.get(path)
            texts = []
            closed = entry is None and before is not None and not before.mode & stat.S_IROTH
            for content, mode in (
                (before and before.content, before.mode if before else None),
                (entry and entry.content, entry.mode if entry else None),
            ):
                secret = closed or (entry is not None and entry.secret)
                text = "(secret)\n" if secret and content else (content or b"").decode(errors="replace")
                texts.append(text if mode is None else f"{text}# mode {mode:04o}\n")
            shown.append({"before_header": path, "after_header": path, "before": texts[0], "after": texts[1]})
        return shown

    def write(self) -> None:
        """Make the host as wanted."""
        for entry in self.entries:
            if entry.path not in self.changed:
                continue
            uid, gid = user_id(entry.owner), group_id(entry.group)
            if uid is None or gid is None:
                missing = f"user {entry.owner}" if uid is None else f"group {entry.group}"
                raise LookupError(f"There is no {missing}, which {entry.path} is to belong to.")
            self._make_parents(entry.path)
            if entry.content is None:
                before = self.before[entry.path]
                if entry.data_of and before and before.uid == 0:  # kept since its service was removed
                    chown_tree(entry.path, uid, gid, owner=0)
                make_directory(entry.path, entry.mode, uid, gid)
            else:
                write_file(entry.path, entry.content, entry.mode, uid, gid)
            self.written(entry.path)
        for path in self.absent:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _make_parents(self, path: str) -> None:
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            self._make_parents(parent)
            os.mkdir(parent, 0o755)
            self.made.append(parent)

    def undo(self) -> None:
        """Put everything back as it was; directories made on the way stay while something is in them."""
        for path in sorted([*self.changed, *self.made], reverse=True):  # what is in a directory before itself
            put_back(path, self.before.get(path))
