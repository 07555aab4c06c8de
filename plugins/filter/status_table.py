# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the answers of the hosts as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Make a table of the answers of the hosts
description:
  - One row for each app of each host; a host that did not answer has a row that says so.
  - Returns what the module M(baremetal.web.table) takes.
positional: answers
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: >-
      The variables of the hosts, in which C(status_answer) is what P(baremetal.web.app_info#module) returned.
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

COLUMNS = ("host", "app", "release", "version", "commit", "since", "program", "warm", "disk", "lock", "nginx", "health")
SILENT = {"rows": [{"health": "the host did not answer"}]}


def status_table(hosts: list[str], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table."""
    found = {host: answers[host].get("status_answer", {}) for host in hosts}
    rows = [
        {"host": host, **row}
        for host, answer in found.items()
        for row in (answer if "rows" in answer else SILENT)["rows"]
    ]
    shown = [{**row, "disk": megabytes(row), "nginx": front(row), "health": health(row)} for row in rows]
    return {"columns": list(COLUMNS), "rows": rows, "shown": shown}


def megabytes(row: Mapping[str, Any]) -> str:
    """Return the size of an app's releases in words."""
    return f"{row['disk'] / 1e6:.0f} MB" if "disk" in row else ""


def front(row: Mapping[str, Any]) -> str:
    """Return how the web server is, and whether it leads to the app."""
    hidden = row.get("release", "none") != "none" and not row.get("published", True)
    return f"{row['nginx']}, not published" if hidden else row.get("nginx", "")


def health(row: Mapping[str, Any]) -> str:
    """Return how the app is, and whether anybody describes it."""
    return row["health"] if row.get("described", True) else f"no entry in wsgi_apps, {row['health']}"


class FilterModule:
    """The filter C(status_table)."""

    def filters(self) -> dict[str, Any]:
        return {"status_table": status_table}
