# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which apps of a host are not as they should be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_problems
short_description: List the apps of a host that are not as they should be
description: One sentence for each problem; none when all is well.
positional: host
options:
  _input:
    description: The C(rows) that the module M(baremetal.web.app_info) returned.
    type: list
    elements: dict
    required: true
  host:
    description: Name of the host.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Iterator, Mapping
from typing import Any


def status_problems(rows: list[Mapping[str, Any]], host: str) -> list[str]:
    """Return the sentences."""
    return [f"{row['app']} on {host}: {problem}" for row in rows for problem in _problems(row, host)]


def _problems(row: Mapping[str, Any], host: str) -> Iterator[str]:
    if not row["described"]:
        yield (
            f"wsgi_apps of {host} does not name it, and it is there "
            f"({'published' if row['published'] else 'not published'}, its program is {row['program']}). Give it an "
            f"entry, or remove it with baremetal.web.remove."
        )
        return
    if row["health"] != "healthy":
        yield f"{row['health']}."
    if row["release"] != "none" and not row["published"]:
        yield "the web server's configuration does not lead to it. Run site.yml, which publishes it."


class FilterModule:
    """The filter C(status_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"status_problems": status_problems}
