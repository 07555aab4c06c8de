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

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.firewall import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
