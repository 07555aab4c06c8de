# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of an app and of its background programs: their rules, and the numbers that they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import whole_number
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.sizes import SIZE, in_bytes

_LEAST_MEMORY = 16 << 20


_MOST_OPEN_FILES = 1 << 20  # fs.nr_open


def limit_problems(app: Mapping[str, Any], open_files: Any) -> Iterator[str]:
    """Find limits that are out of range; ``open_files`` is what supervisord may open, where that is known."""
    open_files = whole_number(open_files) or _MOST_OPEN_FILES
    places = {
        "limits": app["limits"],
        **{f"programs: limits of {each['name']}": each["limits"] for each in app["programs"]},
    }
    for place, limits in places.items():
        memory, processes, files = (limits[key] or 0 for key in ("memory", "processes", "open_files"))
        if memory not in (0, "0") and not _is_memory(memory):
            yield f"{place}: memory is {memory!r}; it must be 16m or more, such as 512m or 2g"
        if processes < 0:
            yield f"{place}: processes is {processes}; it must be 1 or more, or 0 for no limit"
        if files and not 64 <= files <= open_files:
            yield (
                f"{place}: open_files is {files}; it must be from 64 to {open_files} (supervisor_open_files), or 0 for "
                "as many as that"
            )


def _is_memory(size: str) -> bool:
    return bool(re.fullmatch(SIZE, size)) and in_bytes(size) >= _LEAST_MEMORY


def limits_of(app: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of a program as numbers; what is none of its own is the app's."""
    limits = {**app["limits"], **{key: value for key, value in own.items() if value is not None}}
    return {**limits, "memory": in_bytes(limits["memory"] or "0")}
