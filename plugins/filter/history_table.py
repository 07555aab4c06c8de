# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what happened to the apps of the fleet, as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: history_table
short_description: Make a table of what happened to the apps of the fleet
description:
  - One row for each entry of the audit logs of all hosts, newest last.
  - Returns what the module M(baremetal.web.table) takes.
positional: answers, lines
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: >-
      The variables of the hosts, in which C(history_answer) is what P(baremetal.web.release_info#module) returned for
      each app.
    type: dict
    required: true
  lines:
    description: How many entries to show at most.
    type: int
    default: 20
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

COLUMNS = ("time", "host", "app", "action", "result", "release", "previous", "version", "seconds", "by", "message")


def history_table(hosts: list[str], answers: Mapping[str, Any], lines: int = 20) -> dict[str, Any]:
    """Return the table."""
    rows = [
        {"host": host, "app": result["item"], **row}
        for host in hosts
        for result in answers[host].get("history_answer", {}).get("results", [])
        for row in result.get("rows", [])
    ]
    rows = sorted(rows, key=lambda row: row["time"])[-lines:]
    shown = [{**row, "seconds": total(row.get("seconds", ""))} for row in rows]
    return {"columns": list(COLUMNS), "rows": rows, "shown": shown}


def total(seconds: Any) -> Any:
    """Return how long all steps took together."""
    return seconds.get("total", "") if isinstance(seconds, Mapping) else seconds


class FilterModule:
    """The filter C(history_table)."""

    def filters(self) -> dict[str, Any]:
        return {"history_table": history_table}
