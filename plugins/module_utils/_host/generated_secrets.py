# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that a host makes once, keeps in a file, and never sends anywhere."""

from __future__ import annotations

import hashlib
import secrets
import string
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.files import Entry, read_state

LEAST_LENGTH = 16
HASHES = ("sha1", "sha256")
CHARACTERS = string.ascii_letters + string.digits


class SecretError(Exception):
    """The secret cannot be made; the text says why."""


def generated_secret(options: dict[str, Any]) -> Entry:
    """Return the file of a secret, with the secret that it holds already or a new one."""
    path, length, group = (options[name] for name in ("path", "length", "group"))
    if length < LEAST_LENGTH:
        raise SecretError(f"length of {path} is {length}; fewer than {LEAST_LENGTH} characters can be guessed.")
    state = read_state(path)
    content = state.content if state else None
    if not (content or b"").strip():
        content = ("".join(map(secrets.choice, [CHARACTERS] * length)) + "\n").encode()
    return Entry(path, content, 0o600 if group == "root" else 0o640, options["owner"], group, secret=True)


def substitute(content: str, hashes: dict[str, Entry]) -> str:
    """Return a text with V(@NAME.sha256@) and the like replaced by the hash of the secret of that name."""
    for name, entry in hashes.items():
        secret = (entry.content or b"").strip()
        for algorithm in HASHES:
            content = content.replace(f"@{name}.{algorithm}@", hashlib.new(algorithm, secret).hexdigest())
    return content
