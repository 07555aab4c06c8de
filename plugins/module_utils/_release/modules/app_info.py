# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module app_info."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, commands
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.web_server import configuration, in_front, names_file
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import Activation
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError, size
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock

ARGUMENTS = {
    "apps": {"type": "list", "elements": "str", "required": True},
    "described": {"type": "list", "elements": "str"},
    "root": {"type": "path", "default": "/srv/wsgi"},
    "timeout": {"type": "int", "default": 0, "aliases": ["patience"]},
}


def row(home: Home) -> dict[str, Any]:
    """Describe one app."""
    current = home.current
    found = {"app": home.name, "release": current or "none", "version": "", "commit": "", "since": "", "warm": ""}
    if not current:
        return {**found, "program": "ABSENT", "health": "no release is live"}
    manifest = home.manifest(current)
    found.update(version=manifest.get("version", ""), commit=manifest.get("commit", "")[:10], since=home.live_since())
    try:
        supervisor = Supervisor()
        program = supervisor.state(home.program(current))
        warm = home.standby and supervisor.state(home.program(home.standby)) == "RUNNING"
        health = Activation(home, supervisor, current).health_problem() or "healthy"
    except (SupervisorError, ReleaseError) as error:
        return {**found, "program": "UNKNOWN", "health": str(error)}
    return {**found, "program": program, "warm": home.standby if warm else "", "health": health}


def lock(home: Home) -> str:
    """Say who holds the lock of an app, and why; empty when nobody does."""
    holder = AppLock(home, run="", by="").shown()
    return ": ".join(filter(None, (holder["by"], holder["message"]))) if holder else ""


def nginx_state() -> str:
    """Tell how nginx is, whoever runs it, or the web server that is there instead."""
    if (server := in_front(change_record.read())).role != "nginx":
        return f"{server.role} {commands.run(['systemctl', 'is-active', server.unit]).out.strip()}"
    with suppress(SupervisorError):
        if (state := Supervisor().state("nginx")) != "ABSENT":
            return "active" if state == "RUNNING" else state.lower()
    return commands.run(["systemctl", "is-active", "nginx"]).out.strip()


def others(described: list[str], root: str) -> list[Home]:
    """Return the homes of the apps that the change record notes and nobody describes."""
    wanted = {Home(name, root).path for name in described}
    # One whose app was removed is there for its data alone, and has no user.
    noted = (path for path, note in change_record.read().get("app", {}).items() if note["user"] and path not in wanted)
    return [Home(os.path.basename(path), os.path.dirname(path)) for path in sorted(noted)]


def work(asked: Asked) -> dict[str, Any]:
    """Describe each app, once it is healthy or the time is up."""
    root, described = asked.params["root"], asked.params["described"]
    homes = [Home(name, root) for name in asked.params["apps"]]
    undescribed = [] if described is None else others(described, root)
    homes += undescribed
    end = time.monotonic() + asked.params["timeout"]
    rows = [row(home) for home in homes]
    while any(row["health"] != "healthy" for row in rows[: len(rows) - len(undescribed)]) and time.monotonic() < end:
        time.sleep(0.5)
        rows = [row(home) for home in homes]
    nginx = nginx_state() if homes else ""
    text = configuration(change_record.read()) if homes else ""
    more = [
        {
            "nginx": nginx,
            # Each of its locations asks for this marker.
            "published": names_file(text, home.marker),
            "described": home not in undescribed,
            "disk": size(home.releases),
            "lock": lock(home),
            "slots": home.endpoints(),
        }
        for home in homes
    ]
    databases = sorted({note["unit"] for note in change_record.read().get("data", {}).values()} - {""})
    found = {"databases": databases, "rows": [{**one, **rest} for one, rest in zip(rows, more)]}
    return {"changed": False, **found, **({} if described is None else {"described": described})}
