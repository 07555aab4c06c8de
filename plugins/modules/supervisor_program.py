#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one program of supervisord."""

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor_program
short_description: Add, change or remove one program of supervisord
description:
  - Writes the program's file (mode 0600, for its environment may hold secrets) and lets supervisord take up this
    program
    alone. No other program is touched.
  - The keys and defaults of O(program) are those of the C(program) entry point of the role C(baremetal.web.supervisor).
options:
  program:
    description: The program, with every key of the entry point but its environment.
    type: dict
    required: true
  environment:
    description: >-
      Environment variables, as base64 of JSON, so that censoring a short value does not censor every message.
    type: str
    default: e30=
  config:
    description: Configuration of the supervisord to speak to.
    type: path
    default: /etc/supervisord/supervisord.conf
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows what would be done.
    support: full
  diff_mode:
    description: Shows the program's file without its environment.
    support: full
"""

EXAMPLES = r"""
- name: Run a worker
  ansible.builtin.include_role:
    name: baremetal.web.supervisor
    tasks_from: program
  vars:
    supervisor_program:
      name: worker
      command: /usr/local/bin/worker
      user: worker
"""

RETURN = r"""
state:
  description: The state that supervisord gives.
  type: str
  returned: always
"""

import base64
import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    CONFIG,
    Supervisor,
    SupervisorError,
    render_program,
)


def shown(text: str | None) -> str:
    """Return a program's file without its environment."""
    lines = (text or "").splitlines(keepends=True)
    return "".join("environment = (secret)\n" if line.startswith("environment =") else line for line in lines)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "dict", "required": True},
            "environment": {"type": "str", "default": "e30=", "no_log": True},
            "config": {"type": "path", "default": CONFIG},
        },
        supports_check_mode=True,
    )
    environment = json.loads(base64.b64decode(module.params["environment"]))
    program = {**module.params["program"], "environment": environment}
    name = program["name"]
    present = program["state"] == "present"
    try:
        supervisor = Supervisor(module.params["config"])
        before = supervisor.current_text(name)
        after = render_program(program, supervisor.log_directory) if present else None
        state = supervisor.state(name)
        changed = before != after or (state == "ABSENT") == present
        diff = {"before_header": name, "after_header": name, "before": shown(before), "after": shown(after)}
        if changed and not module.check_mode:
            if present:
                supervisor.add(name, after)
                state = supervisor.wait(name, program["startsecs"] + 10)
            else:
                supervisor.remove(name)
                state = "ABSENT"
    except SupervisorError as error:
        if module.check_mode:
            module.exit_json(changed=True, state="UNKNOWN", msg=str(error))
        module.fail_json(msg=str(error))
    if changed and not module.check_mode and present and program["autostart"] and state != "RUNNING":
        module.fail_json(
            msg=f"The program {name} does not stay up: it is {state}. Its log is {supervisor.log(program)}.",
            state=state,
        )
    module.exit_json(changed=changed, state=state, diff=diff)


if __name__ == "__main__":
    main()
