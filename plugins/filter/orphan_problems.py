# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which apps of a host would be unpublished because nobody describes them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: orphan_problems
short_description: List the published apps of a host that wsgi_apps does not name
description: One sentence for each app; none when all is well.
positional: host, names, unpublished
options:
  _input:
    description: The result of the module M(baremetal.web.app_info) with C(described).
    type: dict
    required: true
  host:
    description: Name of the host.
    type: str
    required: true
  names:
    description: Names of the apps that C(wsgi_apps) names.
    type: list
    elements: str
    required: true
  unpublished:
    description: Names of the apps that may be unpublished.
    type: list
    elements: str
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Iterable, Mapping
from typing import Any


def orphan_problems(
    answer: Mapping[str, Any], host: str, names: list[str], unpublished: Iterable[str] | None = None
) -> list[str]:
    """Return one sentence for each app that is published and would not be any more."""
    said = ", ".join(sorted(names)) or "no app"
    return [
        f"app {row['app']} is published on {host}, and wsgi_apps of {host} names {said}. Its entry was deleted or "
        "renamed, it moved to another host or another wsgi_root, or a wsgi_apps of another group took its place. Of "
        f"several groups that define wsgi_apps, only one counts (ansible-inventory --host {host} shows it). It stays "
        "published. Give it an entry again. Or remove it: ansible-playbook "
        f"baremetal.web.remove --limit {host} -e remove={row['app']} -e confirm={row['app']}. Or let it run on "
        f"unpublished: -e unpublish={row['app']}."
        for row in answer["rows"]
        if not row["described"] and row["published"] and row["app"] not in (unpublished or ())
    ]


class FilterModule:
    """The filter C(orphan_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"orphan_problems": orphan_problems}
