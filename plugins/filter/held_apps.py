# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which apps every host of a run excludes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: held_apps
short_description: Tell which apps every host of a run excludes, and why
description:
  - Every host excludes an app in two cases. Its release failed on one host before the first switch, or the host that
    has its hooks for the whole fleet is gone.
  - Returns a sentence for each app.
positional: answers, present
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: >-
      The variables of the hosts, with the facts C(wsgi_staged) and C(wsgi_failed) of the role C(baremetal.web.wsgi).
    type: dict
    required: true
  present:
    description: The hosts that are still in the run.
    type: list
    elements: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.filter.hook_rounds import hook_rounds
from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import BEFORE_SWITCH


def held_apps(hosts: list[str], answers: Mapping[str, Any], present: list[str]) -> dict[str, str]:
    """Return why each app is excluded; none when nothing failed."""
    held: dict[str, str] = {}
    for one in hook_rounds(hosts, answers, BEFORE_SWITCH):
        for app, (host, *_others) in one["hosts"].items():
            if one["run_once"] and host not in present:
                held[app] = (
                    f"app {app}: its release does not go live. {host}, which runs its hooks for the whole fleet, is "
                    "gone. Run it again when that host is back."
                )
    failed = {app: host for host in reversed(hosts) for app in answers[host].get("wsgi_failed", {})}
    elsewhere = "its release does not go live. It failed on {}. Correct the cause there, then run it again."
    return {**held, **{app: f"app {app}: {elsewhere.format(host)}" for app, host in failed.items()}}


class FilterModule:
    """The filter C(held_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"held_apps": held_apps}
