# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module venv."""

from __future__ import annotations

import os
import re
import tempfile

from ansible_collections.baremetal.web.plugins.module_utils._host import wheels
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import (
    VenvError,
    find_interpreter,
    install,
    is_installed,
    record,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "name": {"type": "str", "default": "main"},
    "version": {"type": "str", "default": "auto"},
    "requirements": {"type": "str", "required": True},
    "source_builds_enabled": {"type": "bool", "default": False},
    "index_url": {"type": "str", "default": "", "no_log": True},
    "proxy_url": {"type": "str", "default": "", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
    "wheelhouse": {"type": "path"},
    "wheels": {"type": "dict"},
    "archive": {"type": "path"},
    "uv": {"type": "path", "default": "/opt/baremetal/bin/uv"},
}


def work(asked: Asked) -> dict:
    """Install the set of requirements, unless it is installed."""
    wanted = asked.params
    path, name, requirements = wanted["path"], wanted["name"], wanted["requirements"]
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise WorkError(f"name is {name!r}, which cannot be the name of a file (letters, digits, . _ -).")
    try:
        python = find_interpreter(wanted["version"])
        changed = not is_installed(path, name, requirements, python)
        if changed and not asked.check_mode:
            if wanted["archive"]:
                wheels.take(wanted["archive"], wanted["wheels"])
            elif lacking := wheels.lacking(wanted["wheels"] or {}):
                return {"changed": False, "python": python, "lacking": lacking}
            fill(wanted, python)
    except VenvError as error:
        if asked.check_mode:
            return {"changed": True, "python": ""}
        raise WorkError(str(error)) from error
    return {"changed": changed, "python": python}


def fill(wanted: dict, python: str) -> None:
    """Install into the environment, and record it."""
    path, name, requirements = wanted["path"], wanted["name"], wanted["requirements"]
    with ChangeRecord() as notes:
        notes.note_directory(path, owned=True)
    with tempfile.TemporaryDirectory() as directory:
        file, home = (os.path.join(directory, part) for part in (f"{name}.txt", "home"))
        os.mkdir(home)
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(requirements)
        install(
            path,
            python,
            [file],
            home=home,
            uv=wanted["uv"] if os.path.exists(wanted["uv"]) else "",
            index_url=wanted["index_url"],
            proxy_url=wanted["proxy_url"],
            no_proxy=wanted["no_proxy"],
            wheels="" if wanted["wheels"] is None else wheels.DIRECTORY,
            source_builds=wanted["source_builds_enabled"],
        )
    record(path, python, name, requirements)
