#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: how the apps of a host are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_info
short_description: Gather how the apps of a host are
description:
  - Reads the live release, its programs and their health, who holds the lock, whether nginx runs, and whether it
    publishes the app. Changes nothing.
  - Goes by what is on the host alone, so it needs no description of an app.
options:
  apps:
    description: Names of the apps.
    type: list
    elements: str
    required: true
  described:
    description: >-
      Names of all apps that the host is to have. An app that the host has and that is not among them gets a row after
      those of O(apps). Without it there are no such rows.
    type: list
    elements: str
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  timeout:
    description: Seconds to wait for apps that are not healthy yet.
    type: int
    default: 0
    aliases: [patience]
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same.
    support: full
"""

EXAMPLES = r"""
- name: Ask
  baremetal.web.app_info:
    apps: [shop]

- name: Ask for apps that are no longer described
  baremetal.web.app_info:
    apps: []
    described: [shop]
"""

RETURN = r"""
rows:
  description: >-
    One row for each app, with C(app), C(release), C(version), C(commit), C(since), C(program), C(nginx) and C(health).
    C(warm) is the standby release while it runs, C(disk) the bytes that all releases use, and C(lock) the holder of the
    lock and the reason. C(slots) says how the web server was told to reach each slot, and C(published) whether it leads
    to the app. C(described) says whether the app is among O(described).
  type: list
  elements: dict
  returned: always
described:
  description: O(described) itself, by which an answer can be kept for one description.
  type: list
  elements: str
  returned: when O(described) is given
databases:
  description: Units of the databases that this collection has brought to the host.
  type: list
  elements: str
  returned: always
"""

import os
import time
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.web_server import configuration, in_front, names_file
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import Activation
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError, size
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock


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


def nginx_state(module: AnsibleModule) -> str:
    """Tell how nginx is, whoever runs it, or the web server that is there instead."""
    if (server := in_front(change_record.read())).role != "nginx":
        return f"{server.role} {module.run_command(['systemctl', 'is-active', server.unit])[1].strip()}"
    with suppress(SupervisorError):
        if (state := Supervisor().state("nginx")) != "ABSENT":
            return "active" if state == "RUNNING" else state.lower()
    return module.run_command(["systemctl", "is-active", "nginx"])[1].strip()


def others(described: list[str], root: str) -> list[Home]:
    """Return the homes of the apps that the change record notes and nobody describes."""
    wanted = {Home(name, root).path for name in described}
    # One whose app was removed is there for its data alone, and has no user.
    noted = (path for path, note in change_record.read().get("app", {}).items() if note["user"] and path not in wanted)
    return [Home(os.path.basename(path), os.path.dirname(path)) for path in sorted(noted)]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "str", "required": True},
            "described": {"type": "list", "elements": "str"},
            "root": {"type": "path", "default": "/srv/wsgi"},
            "timeout": {"type": "int", "default": 0, "aliases": ["patience"]},
        },
        supports_check_mode=True,
    )
    root, described = module.params["root"], module.params["described"]
    homes = [Home(name, root) for name in module.params["apps"]]
    undescribed = [] if described is None else others(described, root)
    homes += undescribed
    end = time.monotonic() + module.params["timeout"]
    rows = [row(home) for home in homes]
    while any(row["health"] != "healthy" for row in rows[: len(rows) - len(undescribed)]) and time.monotonic() < end:
        time.sleep(0.5)
        rows = [row(home) for home in homes]
    nginx = nginx_state(module) if homes else ""
    text = configuration(module, change_record.read()) if homes else ""
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
    module.exit_json(changed=False, **found, **({} if described is None else {"described": described}))


if __name__ == "__main__":
    main()
