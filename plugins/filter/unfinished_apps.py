# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which apps a host has to take back because their last hook failed somewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unfinished_apps
short_description: Tell which apps of a host have to go back because their last hook for the whole fleet failed
description: Returns the reason for each app that this host has switched in this run.
positional: answers, host
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: >-
      The variables of the hosts, with the facts C(wsgi_staged) and C(wsgi_failed) of the role C(baremetal.web.wsgi).
    type: dict
    required: true
  host:
    description: Name of the host.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any


def unfinished_apps(hosts: list[str], answers: Mapping[str, Any], host: str) -> dict[str, str]:
    """Return the reasons by app."""
    switched = {app: staged for app, staged in answers[host].get("wsgi_staged", {}).items() if _has_switched(staged)}
    # An app that failed before its last hook is not among those that are staged any more.
    culprits = {
        app: one
        for one in reversed(hosts)
        for app in answers[one].get("wsgi_failed", {})
        if app in answers[one].get("wsgi_staged", {})
    }
    return {
        app: f"its hook after_activate for the whole fleet failed on {one}"
        for app, one in culprits.items()
        if app in switched
    }


def _has_switched(staged: Mapping[str, Any]) -> bool:
    return not staged["converged"] and staged["current"] != staged["release"]


class FilterModule:
    """The filter C(unfinished_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"unfinished_apps": unfinished_apps}
