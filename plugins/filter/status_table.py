# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the answers of the hosts as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Show the answers of the hosts as a table
description: One line for each app of each host; a host that did not answer has a line that says so.
positional: answers
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  answers:
    description: >-
      The variables of the hosts, in which C(status_answer) is what the module P(baremetal.web.status#module) returned.
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

COLUMNS = ("host", "app", "release", "version", "since", "program", "nginx", "health")


def status_table(hosts: list[str], answers: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table, its head first."""
    lines = [COLUMNS]
    for host in hosts:
        answer = answers[host].get("status_answer", {})
        rows = answer.get("rows", [{"health": "the host did not answer"}])
        lines += [tuple(str({**row, "host": host}.get(column, "")) for column in COLUMNS) for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


class FilterModule:
    """The filter C(status_table)."""

    def filters(self) -> dict[str, Any]:
        return {"status_table": status_table}
