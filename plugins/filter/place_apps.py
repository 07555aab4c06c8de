# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the sites of the apps, for the slots as they are on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: place_apps
short_description: Describe the sites of the apps as their slots are on the host
description:
  - An app whose O(wsgi_apps[].server.protocol) or O(wsgi_apps[].server.port) has changed has its previous endpoint
    in one slot, and the new one in the other.
  - An app that is not staged and was never live has no site.
positional: staged, rows
options:
  _input:
    description: The result of the filter P(baremetal.web.resolve_apps#filter).
    type: dict
    required: true
  staged:
    description: The result of the module M(baremetal.web.release_stage) for each app, by name.
    type: dict
    required: true
  rows:
    description: The result of the module M(baremetal.web.app_info) for apps that are not staged; none, where not given.
    type: list
    elements: dict
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sites import sites


def place_apps(
    resolved: dict[str, Any], staged: dict[str, Any], rows: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return the sites."""
    known = {**{row["app"]: row for row in rows or []}, **staged}
    published = [app for app in resolved["apps"] if known.get(app["name"], {}).get("release") != "none"]
    return sites(published, {name: found.get("slots") for name, found in known.items()})


class FilterModule:
    """The filter C(place_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"place_apps": place_apps}
