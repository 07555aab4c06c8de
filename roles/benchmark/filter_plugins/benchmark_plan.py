# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the plan of a benchmark."""

from __future__ import annotations

DOCUMENTATION = r"""
name: benchmark_plan
short_description: Plan a benchmark
description:
  - Says which apps are released for it, what is started and sent in which order, and how the report calls it.
positional: chosen, own
options:
  _input:
    description: The tables C(sets), C(loads) and C(workloads) of the role C(benchmark).
    type: dict
    required: true
  chosen:
    description: Names of the sets; a list, or text with commas between them.
    type: list
    elements: str
    required: true
  own:
    description: Subjects of the user's own, each with C(name), C(server) and what else a subject of the role has.
    type: list
    elements: dict
    required: true
  rounds:
    description: How often everything is measured.
    type: int
    required: true
  seconds:
    description: How long wrk runs each time.
    type: int
    required: true
  connections:
    description: How many connections wrk keeps busy.
    type: int
    required: true
  requests:
    description: How many requests ab sends each time.
    type: int
    required: true
  repetitions:
    description: How often each user of siege asks each time.
    type: int
    required: true
  port:
    description: >-
      The first port that the benchmark uses: of nginx, then of the nginx of the tutorials, then two for each app.
    type: int
    required: true
  address:
    description: Address by which the client reaches the target.
    type: str
    required: true
  source:
    description: Directory on the controller with the app that is measured.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.roles.benchmark.lib.plan import Plan, PlanError, Settings


def benchmark_plan(
    tables: dict[str, Any],
    chosen: list[str] | str,
    own: list[dict[str, Any]],
    *,
    rounds: int,
    seconds: int,
    connections: int,
    requests: int,
    repetitions: int,
    port: int,
    address: str,
    source: str,
) -> dict[str, Any]:
    """Return C(apps), C(groups), C(subjects) and C(tools); C(sets) and C(settings) in their types."""
    try:
        settings = Settings(rounds, seconds, connections, requests, repetitions, port, address, source)
        plan = Plan(tables, chosen, own, settings)
    except PlanError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        **{"apps": plan.apps(), "groups": plan.groups(), "subjects": plan.info(), "tools": plan.tools()},
        **{"sets": plan.chosen, "settings": {name: getattr(settings, name) for name in Settings.NUMBERS}},
    }


class FilterModule:
    """The filter C(benchmark_plan)."""

    def filters(self) -> dict[str, Any]:
        return {"benchmark_plan": benchmark_plan}
