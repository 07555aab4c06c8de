# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep, on the host, what this collection changed there and what was there before, so that removal can undo it.

Each thing is noted once, before it is first changed: a later change of the same thing does not alter the note.

    with ChangeRecord() as change_record:
        change_record.note("package", "nginx")   # nothing happens when it is noted already
        change_record.save()                     # before the change, so that a run that is cut off leaves its notes
        ...
        change_record.forget("package", "nginx")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.files import State, read_state, write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock

ROOT = "/var/lib/baremetal.web"
NAME = "changes.json"
# Its name before version 1.0; a host that has it keeps its notes.
FORMER_NAME = "ledger.json"


class ChangeRecord:
    """The notes of a host, by kind and name; open to one at a time, saved when the block ends, however it ends."""

    def __init__(self) -> None:
        self.path = os.path.join(ROOT, NAME)

    def __enter__(self) -> ChangeRecord:
        os.makedirs(ROOT, mode=0o700, exist_ok=True)
        self._lock = file_lock(os.path.join(ROOT, "lock"))
        self._lock.__enter__()
        self._take_over()
        self.notes = read()
        self._before = self._text()
        self._saved = self._before
        return self

    def __exit__(self, *error: object) -> None:
        self.save()
        self._lock.__exit__(None, None, None)

    def _take_over(self) -> None:
        """Add the notes of an earlier version; it may have written some after this one was here."""
        former = os.path.join(ROOT, FORMER_NAME)
        if not os.path.exists(former):
            return
        notes = _read(NAME) or {}
        for kind, names in (_read(FORMER_NAME) or {}).items():
            notes[kind] = {**names, **notes.get(kind, {})}
        write_file(self.path, json.dumps(notes, indent=1, sort_keys=True).encode(), 0o600)
        os.remove(former)

    def _text(self) -> str:
        return json.dumps(self.notes, indent=1, sort_keys=True)

    def save(self) -> None:
        """Write the notes, when there is something new."""
        text = self._text()
        if text != self._saved:
            write_file(self.path, text.encode(), 0o600)
            self._saved = text

    def close(self) -> None:
        """Remove the change record itself."""
        self.notes = {}
        self._saved = self._text()
        shutil.rmtree(ROOT)

    def revert(self) -> None:
        """Take back what was noted in this block, because nothing was changed after all."""
        self.notes = json.loads(self._before)

    def note(self, kind: str, name: str, before: Any = None) -> None:
        """Note a thing and what it was before (anything JSON holds; None when it was not there)."""
        self.notes.setdefault(kind, {}).setdefault(name, before)

    def note_file(self, path: str) -> None:
        """Note a file or link that is about to be written or removed."""
        if path not in self.notes.get("file", {}):
            self.note("file", path, freeze(read_state(path)))

    def note_directory(self, path: str, owned: bool = False) -> None:
        """Note a directory that is about to be made, and those above it; an owned one with all that will be in it."""
        if not os.path.isdir(path):
            self.note_directory(os.path.dirname(path))
            self.note("tree" if owned else "directory", path)

    def note_data(self, path: str, unit: str) -> None:
        """Note a directory of data that is about to be made, or comes back into use, and the unit that writes there."""
        if path in self.notes.get("data", {}) or not os.path.lexists(path):
            self.note_directory(os.path.dirname(path))
            self.notes.setdefault("data", {})[path] = {"unit": unit}

    def note_app(self, home: str, user: str) -> None:
        """Note the home of an app that is about to be made, and who runs it."""
        if home in self.notes.get("app", {}) or not os.path.lexists(home):
            self.notes.setdefault("app", {})[home] = {"user": user}

    def forget(self, kind: str, name: str) -> None:
        """Forget a thing, because it is as it was before."""
        self.notes.get(kind, {}).pop(name, None)


def read() -> dict[str, dict[str, Any]]:
    """Return all notes: kind, then name, then what was there before."""
    # A writer may give the file its new name in between.
    for name in (NAME, FORMER_NAME, NAME):
        if (notes := _read(name)) is not None:
            return notes
    return {}


def _read(name: str) -> dict[str, dict[str, Any]] | None:
    with suppress(FileNotFoundError), open(os.path.join(ROOT, name), encoding="utf-8") as stream:
        return json.load(stream)
    return None


def exists() -> bool:
    """Tell whether anything was ever noted on this host."""
    return any(os.path.exists(os.path.join(ROOT, name)) for name in (NAME, FORMER_NAME, NAME))


def freeze(state: State | None) -> dict[str, Any] | None:
    """Return the state of a path as JSON holds it."""
    if state is None:
        return None
    content = None if state.content is None else base64.b64encode(state.content).decode()
    return {**state._asdict(), "content": content}


def thaw(frozen: dict[str, Any] | None) -> State | None:
    """Return the state of a path from its note."""
    if frozen is None:
        return None
    return State(**{**frozen, "content": None if frozen["content"] is None else base64.b64decode(frozen["content"])})
