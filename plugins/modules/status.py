#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: how the apps of a host are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Tell how the apps of a host are
description: Reads the live release, its program and its health, and whether nginx runs. Changes nothing.
options:
  apps:
    description: Apps as the filter P(baremetal.web.resolve_apps#filter) gives them.
    type: list
    elements: dict
    required: true
  patience:
    description: Seconds to wait for apps that are not healthy yet.
    type: int
    default: 0
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same.
    support: full
"""

EXAMPLES = r"""
- name: Ask
  baremetal.web.status:
    apps: "{{ apps }}"
"""

RETURN = r"""
rows:
  description: One row for each app, with C(app), C(release), C(version), C(since), C(program), C(nginx), C(health).
  type: list
  elements: dict
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils.releases import Releases
from ansible_collections.baremetal.web.plugins.module_utils.supervisor import Supervisor, SupervisorError


def row(app: dict, supervisor: Supervisor) -> dict[str, str]:
    """Describe one app."""
    releases = Releases(app, supervisor)
    current = releases.current
    if not current:
        return {"release": "none", "version": "", "since": "", "program": "ABSENT", "health": "no release is live"}
    manifest = releases.manifest(current)
    return {
        "release": current,
        "version": manifest.get("version", ""),
        "since": releases.live_since(),
        "program": supervisor.state(releases.program_name(current)),
        "health": releases.health(current) or "healthy",
    }


def ask(app: dict) -> dict[str, str]:
    """Describe one app, also where supervisord cannot be asked."""
    try:
        return {"app": app["name"], **row(app, Supervisor())}
    except SupervisorError as error:
        unknown = {"release": "unknown", "version": "", "since": "", "program": "UNKNOWN", "health": str(error)}
        return {"app": app["name"], **unknown}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "patience": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    apps, end = module.params["apps"], time.monotonic() + module.params["patience"]
    rows = [ask(app) for app in apps]
    while any(row["health"] != "healthy" for row in rows) and time.monotonic() < end:
        time.sleep(0.5)
        rows = [ask(app) for app in apps]
    nginx = module.run_command(["systemctl", "is-active", "nginx"])[1].strip()
    module.exit_json(changed=False, rows=[{**row, "nginx": nginx} for row in rows])


if __name__ == "__main__":
    main()
