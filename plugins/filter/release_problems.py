# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with the apps of a host after a deploy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: release_problems
short_description: List the apps of a host that are not healthy on the release they should have
description: One sentence for each; none when all is well.
positional: staged
options:
  _input:
    description: The result of the module P(baremetal.web.app_info#module), or its failure.
    type: dict
    required: true
  staged:
    description: The staged releases of the host, by app; the fact C(wsgi_staged).
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any


def release_problems(answer: Mapping[str, Any], staged: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each app that is not as it should be."""
    if "rows" not in answer:
        return [f"the host does not answer: {answer.get('msg', 'no reason given')}"]
    live = {row["app"]: row for row in answer["rows"]}
    return [sentence for app, wanted in staged.items() if (sentence := _problem(app, wanted["release"], live[app]))]


def _problem(app: str, wanted: str, row: Mapping[str, Any]) -> str:
    if row["release"] != wanted:
        return f"app {app}: release {row['release']} is live, and not {wanted}"
    return "" if row["health"] == "healthy" else f"app {app}: release {wanted} is live and not healthy: {row['health']}"


class FilterModule:
    """The filter C(release_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"release_problems": release_problems}
