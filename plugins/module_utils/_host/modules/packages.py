# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module packages."""

from __future__ import annotations

import os
import re
import urllib.parse

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Transaction, put_back
from ansible_collections.baremetal.web.plugins.module_utils._host.packages import (
    Apt,
    Changes,
    Dnf,
    Manager,
    Missing,
    PackagesError,
    choose_manager,
    difference,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError

MANAGERS = {"apt": Apt, "dnf": Dnf}
_TEXTS = {"type": "list", "elements": "str", "default": []}
ARGUMENTS = {
    "names": _TEXTS,
    "state": {"type": "str", "choices": ["present", "latest", "absent"], "default": "present"},
    "repositories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "suites": _TEXTS,
            "components": _TEXTS,
            "key": {"type": "str", "no_log": False},
            "signature": {"type": "str", "choices": ["packages", "index"], "default": "packages"},
            "preferred": {"type": "bool", "default": False},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
        },
    },
    "exclusive": {"type": "bool", "default": False},
    "refused_with": _TEXTS,
    "streams": _TEXTS,
    "cache_seconds": {"type": "int", "default": 86400},
}


def refuse(wanted: dict) -> None:
    """Refuse what cannot work, before anything is touched."""
    if wanted["exclusive"] and not wanted["repositories"]:
        raise PackagesError(
            "Packages are to come from the given repositories alone, and none is given for this host. Give one in "
            "packages_repositories, or set packages_exclusive_enabled to false."
        )
    for repository in wanted["repositories"]:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", repository["name"]):
            raise PackagesError(f"A repository has the name {repository['name']!r}; take a-z, 0-9, dots and dashes.")
        if "@" in urllib.parse.urlsplit(repository["url"]).netloc:
            raise PackagesError(
                f"The address of the repository {repository['name']} holds a login, which everybody on the host could "
                "read. Take it out and give it as username and password."
            )


def install(manager: Manager, wanted: dict, check_mode: bool) -> dict:
    """Add repositories, streams and packages; return the result."""
    transaction = Transaction(manager.files(), [])
    known = set(change_record.read().get("file", {}))
    before = manager.installed()
    if found := [name for name in wanted["refused_with"] if name in before]:
        raise PackagesError(
            f"{', '.join(found)} is installed on this host already, and {', '.join(wanted['names'])} from another "
            "repository would replace it. Stay with what is there, or remove it first. Nothing was changed."
        )
    latest = wanted["state"] == "latest"
    names = [name for name in wanted["names"] if name not in before]
    if latest:
        names = manager.with_parts(wanted["names"], set(change_record.read().get("package", {})))
    streams = manager.enable_streams(wanted["streams"], simulate=True)
    changes = Changes({}, {}, {})
    try:
        if check_mode:
            if transaction.changed or streams:
                changes.installed.update({name: "?" for name in names if name not in before})
            elif names:
                changes = simulate(manager, names, latest)
        else:
            changes = apply(manager, transaction, names, streams, latest, before)
    except PackagesError:
        if not check_mode:
            transaction.undo()
            with change_record.ChangeRecord() as notes:
                for path in set(transaction.changed) - known:
                    notes.forget("file", path)
        raise
    diff = transaction.diff() + ([changes.diff()] if changes else [])
    return {"changed": bool(transaction.changed or streams or changes), **changes.result(), "diff": diff}


def simulate(manager: Manager, names: list[str], latest: bool) -> Changes:
    """Say what would change as far as the index at hand tells."""
    try:
        return manager.install(names, latest, simulate=True)
    except Missing:
        # The real run refreshes the index, and refuses what it does not have then.
        return Changes(dict.fromkeys(names, "?"), {}, {})


def apply(
    manager: Manager, transaction: Transaction, names: list[str], streams: list[str], latest: bool, before: dict
) -> Changes:
    """Write, enable and install, and note what is new."""
    if transaction.changed:
        with change_record.ChangeRecord() as notes:
            for path in transaction.changed:
                notes.note_directory(path.rpartition("/")[0])
                notes.note_file(path)
        for path in {path.rpartition("/")[0] for path in transaction.changed}:
            os.makedirs(path, mode=0o755, exist_ok=True)
        transaction.write()
    fresh = bool(transaction.changed) or latest
    if names or streams:
        manager.refresh(forced=fresh)
    if streams:
        manager.enable_streams(streams, simulate=False)
        with change_record.ChangeRecord() as notes:
            for stream in streams:
                notes.note("stream", stream.partition(":")[0])
    if not names:
        return Changes({}, {}, {})
    with change_record.ChangeRecord() as notes:
        for name in set(names) - set(before):
            notes.note("package", name)
    try:
        try:
            manager.install(names, latest, simulate=False)
        except PackagesError:
            if fresh:
                raise
            manager.refresh(forced=True)  # what the index promised may be gone
            manager.install(names, latest, simulate=False)
    finally:
        changes = difference(before, manager.installed())
        with change_record.ChangeRecord() as notes:
            for name in changes.installed:
                notes.note("package", name)
            for name in set(names) - set(before) - set(changes.installed):
                notes.forget("package", name)
    return changes


def remove(manager: Manager, wanted: dict, check_mode: bool) -> dict:
    """Remove what the change record says is ours; return the result."""
    notes = change_record.read()
    before = manager.installed()
    present = [name for name in wanted["names"] if name in before]
    going = manager.removable(present)
    kept = sorted(set(present) - set(going))
    paths = [entry.path for entry in manager.files() if entry.path in notes.get("file", {})]
    streams = sorted({stream.partition(":")[0] for stream in wanted["streams"]} & set(notes.get("stream", {})))
    changes = Changes({}, {name: before[name] for name in going}, {})
    if not check_mode and (going or paths or streams or set(wanted["names"]) & set(notes.get("package", {}))):
        if going:
            manager.remove(going, simulate=False)
        if streams:
            manager.reset_streams(streams)
        with change_record.ChangeRecord() as book:
            for path in paths:
                put_back(path, change_record.thaw(notes["file"][path]))
                book.forget("file", path)
            for name in wanted["names"]:
                if name not in kept:
                    book.forget("package", name)
            for stream in streams:
                book.forget("stream", stream)
    diff = [changes.diff()] if changes else []
    return {"changed": bool(going or paths or streams), **changes.result(), "kept": kept, "diff": diff}


def work(asked: Asked) -> dict:
    """Bring repositories and packages to the wanted state."""
    wanted = asked.params
    try:
        refuse(wanted)
        manager = MANAGERS[choose_manager()](wanted["repositories"], wanted["exclusive"], wanted["cache_seconds"])
        change = remove if wanted["state"] == "absent" else install
        result = {"kept": [], **change(manager, wanted, asked.check_mode)}
    except PackagesError as error:
        raise WorkError(str(error)) from error
    asked.warnings += manager.warnings
    return result
