#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: TCP ports in the firewall that runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Open TCP ports where a firewall runs
description:
  - Where firewalld runs, the ports are one service of its own in the default zone, now and after a restart. Where ufw
    is active, they are one application profile of its own.
  - Where no firewall runs, nothing is opened and nothing is written. Ports that the host's administrators opened are
    neither changed nor closed.
options:
  name:
    description: Whose ports these are; in the firewall the entry is called C(baremetal-web-NAME).
    type: str
    required: true
  state:
    description: Whether the ports are open.
    type: str
    choices: [present, absent]
    default: present
  ports:
    description: The ports, all of them; none means O(state=absent).
    type: list
    elements: int
    default: []
  exclusive:
    description: Whether ports that are open by this entry, and not among O(ports), are closed.
    type: bool
    default: true
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows which ports would be opened and closed.
    support: full
  diff_mode:
    description: Shows the ports before and after.
    support: full
"""

EXAMPLES = r"""
- name: Open the ports of a shop
  baremetal.web.firewall:
    name: shop
    ports: [80, 443]
"""

RETURN = r"""
firewall:
  description: The firewall, C(firewall-cmd) or C(ufw); empty where there was nothing to do for one.
  type: str
  returned: always
ports:
  description: The ports that are open by this entry.
  type: list
  elements: int
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.files import PLAIN
from ansible_collections.baremetal.web.plugins.module_utils._host.firewall import (
    Firewall,
    FirewallError,
    entry_name,
    installed,
)


def change(firewall: Firewall, name: str, ports: set[int]) -> None:
    """Make the firewall as wanted, noted in the change record while there is anything to undo."""
    with ChangeRecord() as change_record:
        if ports:
            change_record.note("firewall", name)
            firewall.open(ports)
        else:
            firewall.close()
            change_record.forget("firewall", name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "exclusive": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = PLAIN
    name = module.params["name"]
    wanted = set(module.params["ports"]) if module.params["state"] == "present" else set()
    try:
        firewalls = installed(module.run_command, entry_name(name))
        # What was opened is closed even when the firewall was stopped since.
        firewall = next((one for one in firewalls if (one.running if wanted else one.saved())), None)
        if not firewall:
            module.exit_json(changed=False, firewall="", ports=[])
        before = firewall.saved()
        wanted |= set() if module.params["exclusive"] else before
        changed = not firewall.converged(wanted)
        if changed and not module.check_mode:
            change(firewall, name, wanted)
    except FirewallError as error:
        module.fail_json(msg=str(error))
    lines = ["".join(f"{port}/tcp\n" for port in sorted(ports)) for ports in (before, wanted)]
    header = f"{firewall.program}: {firewall.name}"
    diff = {"before_header": header, "after_header": header, "before": lines[0], "after": lines[1]}
    module.exit_json(changed=changed, firewall=firewall.program, ports=sorted(wanted), diff=diff if changed else {})


if __name__ == "__main__":
    main()
