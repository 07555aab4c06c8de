#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the few facts that the roles use."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Gather the facts that the roles use, and no others
description:
  - Platform, package manager, SELinux, number of processors and memory, under the names and with the values that
    M(ansible.builtin.setup) gives them.
  - That module looks at every disk and mount to tell the number of processors; this one takes half its time.
options: {}
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Gather the facts that the roles use
  baremetal.web.host_facts: {}
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  type: dict
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.host_facts import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
