# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which hooks the hosts of a run have to run together, and where."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hook_rounds
short_description: Tell which hooks run in a step of the whole run, and on which hosts
description:
  - Returns one dictionary for each kind of hooks that an app has, in the order in which they run. Its keys are
    C(kind), C(run_once) and C(hosts), the hosts of each app.
  - A hook for the whole fleet has one host, the first one that gets the release. Hosts on which the release is live
    already have none.
positional: answers, step
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: The variables of the hosts, with the fact C(wsgi_staged) of the role C(baremetal.web.wsgi).
    type: dict
    required: true
  step:
    description: The step.
    type: str
    choices: [before_switch, after_switch]
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import MOMENTS, Moment


def hook_rounds(hosts: list[str], answers: Mapping[str, Any], step: str) -> list[dict[str, Any]]:
    """Return the rounds in which any host has a hook to run."""
    rounds = [
        {"kind": moment.kind, "run_once": moment.run_once, "hosts": _hosts(moment, hosts, answers)}
        for moment in MOMENTS
        if moment.step == step
    ]
    return [one for one in rounds if one["hosts"]]


def _hosts(moment: Moment, hosts: list[str], answers: Mapping[str, Any]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for host in hosts:
        for app, staged in answers[host].get("wsgi_staged", {}).items():
            has_one = moment.run_once in staged["hooks"][moment.kind]
            if has_one and staged["current"] != staged["release"] and not (moment.run_once and app in chosen):
                chosen.setdefault(app, []).append(host)
    return chosen


class FilterModule:
    """The filter C(hook_rounds)."""

    def filters(self) -> dict[str, Any]:
        return {"hook_rounds": hook_rounds}
