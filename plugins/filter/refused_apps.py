# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which apps a failed task leaves as they were."""

from __future__ import annotations

DOCUMENTATION = r"""
name: refused_apps
short_description: Tell which apps a failed task leaves as they were, and why
description:
  - Returns a sentence for each app. Apps that failed for the same reason share one.
  - Of a loop that failed, the apps of the items that failed. Otherwise all apps.
positional: apps, sites
options:
  _input:
    description: The result of the failed task.
    type: dict
    required: true
  apps:
    description: Names of the apps, which are the items of a loop.
    type: list
    elements: str
  sites:
    description: >-
      Sites, as the filter P(baremetal.web.place_apps#filter) returns them; the items of a loop have their names.
    type: list
    elements: dict
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any


def refused_apps(
    failed: Mapping[str, Any], apps: list[str] | None = None, sites: list[dict[str, Any]] | None = None
) -> dict[str, str]:
    """Return the sentences by app."""
    places = {**{app: [app] for app in apps or []}, **{site["name"]: _apps(site) for site in sites or []}}
    culprits = [result for result in failed.get("results", []) if result.get("failed")]
    concerned: dict[str, dict[str, None]] = {}
    for result in culprits or [failed]:
        known = concerned.setdefault(str(result.get("msg", "it failed without a reason")), {})
        for name in [_name(result["item"])] if culprits else places:
            known.update(dict.fromkeys(places[name]))
    return {app: _sentence([*apps], reason) for reason, apps in concerned.items() for app in apps}


def _apps(site: Mapping[str, Any]) -> list[str]:
    return [location["name"].removeprefix("wsgi-").removesuffix(".bind") for location in site["locations"]]


def _name(item: Any) -> str:
    return str(item["name"]) if isinstance(item, Mapping) else str(item)


def _sentence(apps: list[str], reason: str) -> str:
    return f"{'app' if len(apps) == 1 else 'apps'} {', '.join(apps)}: publish: {reason}"


class FilterModule:
    """The filter C(refused_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"refused_apps": refused_apps}
