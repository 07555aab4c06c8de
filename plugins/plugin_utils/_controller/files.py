# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look up files of the controller that a description names."""

from __future__ import annotations

import os

from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT

# What is kept from run to run.
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "baremetal.web")


def search_path(inventory_directory: str | None) -> list[str]:
    """Return where relative paths of the controller are looked up before the collection itself."""
    return [os.getcwd(), *([inventory_directory] if inventory_directory else [])]


def find_path(path: str, search: list[str]) -> str | None:
    """Return the first existing place of a path of the controller."""
    for base in [*search, COLLECTION_ROOT]:
        candidate = os.path.normpath(os.path.join(base, os.path.expanduser(path)))
        if os.path.exists(candidate):
            return candidate
    return None


def looked_in(search: list[str]) -> str:
    """Say where a file was looked up."""
    return f"(looked in {', '.join([*search, COLLECTION_ROOT])})"


def found_file(path: str, search: list[str]) -> str:
    """Return the place of a file; raise AnsibleError where there is none."""
    found = find_path(path, search)
    if found is None:
        raise AnsibleError(f"{path} is not on the controller (looked in {', '.join(search)} and the collection).")
    return found
