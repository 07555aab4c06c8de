# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels on a host that asks no package index: those of the controller, each brought once."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file

DIRECTORY = "/var/cache/baremetal.web/wheelhouse"


def lacking(wheels: dict[str, str]) -> list[str]:
    """Return the names of wheels that are not there with the right SHA-256."""
    return sorted(name for name, digest in wheels.items() if _digest(name) != digest)


def _digest(name: str) -> str:
    whole = hashlib.sha256()
    with suppress(FileNotFoundError), open(os.path.join(DIRECTORY, name), "rb") as stream:
        while chunk := stream.read(1 << 20):
            whole.update(chunk)
        return whole.hexdigest()
    return ""


def take(archive: str, wheels: dict[str, str]) -> None:
    """Take the wanted wheels out of an archive of the controller; all users may read them."""
    import tarfile  # slow, and seldom needed

    with ChangeRecord() as notes:
        notes.note_directory(DIRECTORY, owned=True)
    os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
    with tarfile.open(archive) as tar:
        for name in wheels:
            # By name, so that nothing else of an archive is unpacked.
            with suppress(KeyError):
                write_file(os.path.join(DIRECTORY, name), tar.extractfile(name).read(), 0o644)
