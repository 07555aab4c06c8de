# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: how a deploy or a rollback of the fleet ended, as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: deploy_summary
short_description: Make a table of how a deploy or a rollback of the fleet ended
description:
  - Returns what the module M(baremetal.web.table) takes.
  - One row for each app of each host, which says where it came from, where it should go, and what is live now.
  - In check mode it is the plan, and says what would start anew.
positional: answers, plan
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: >-
      The variables of the hosts. C(wsgi_selected), C(wsgi_staged) and C(wsgi_activated) are those of the role
      C(baremetal.web.wsgi). C(deploy_found) and C(deploy_seen) are results of the module
      P(baremetal.web.app_info#module). C(deploy_programs) has the names of the background programs of each app.
    type: dict
    required: true
  plan:
    description: Whether nothing was done, and what would be is to be shown.
    type: bool
    default: false
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Iterator, Mapping
from typing import Any

DONE = ("host", "app", "from", "to", "live now", "result", "seconds")
# What was live before something was put right, if anything was, and what is live at the end.
SEEN = ("deploy_found", "deploy_seen")
PLAN = ("host", "app", "from", "to", "starts anew")


def deploy_summary(hosts: list[str], answers: Mapping[str, Any], plan: bool = False) -> dict[str, Any]:
    """Return the table."""
    rows = [row for host in hosts for row in _rows(host, answers[host])]
    return {"columns": list(PLAN if plan else DONE), "rows": rows}


def _rows(host: str, answers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found, live = ({row["app"]: row for row in answers.get(name, {}).get("rows", [])} for name in SEEN)
    activated = answers.get("wsgi_activated", {})
    for app in answers.get("wsgi_selected", []):
        staged, seen = answers.get("wsgi_staged", {}).get(app, {}), live.get(app, {})
        before = found.get(app, {}).get("release", "")
        programs = answers.get("deploy_programs", {}).get(app, [])
        yield {
            "host": host,
            "app": app,
            "from": staged.get("current", before),
            "to": _named(staged.get("release", ""), staged.get("version", "")),
            "live now": _named(seen.get("release", "unknown"), seen.get("version", "")),
            "result": _result(staged, seen, before),
            "seconds": activated.get(app, {}).get("seconds", {}).get("total", ""),
            "starts anew": "nothing"
            if staged.get("converged")
            else ", ".join(["server", *programs])
            if staged
            else "unknown",
        }


def _named(release: str, version: str) -> str:
    return f"{release} ({version})" if version else release


def _result(staged: Mapping[str, Any], seen: Mapping[str, Any], before: str) -> str:
    """Say in a few words what became of an app on a host."""
    if not seen:
        return "the host did not answer"
    if seen["health"] != "healthy":
        return f"NOT HEALTHY: {seen['health']}"
    if staged.get("converged"):
        return "was live already"
    if not staged or seen["release"] != staged["release"]:
        return "switched back" if staged and before == staged["release"] else "not switched"
    return "live"


class FilterModule:
    """The filter C(deploy_summary)."""

    def filters(self) -> dict[str, Any]:
        return {"deploy_summary": deploy_summary}
