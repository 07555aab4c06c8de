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

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts.system.distribution import DistributionFactCollector
from ansible.module_utils.facts.system.pkg_mgr import PkgMgrFactCollector
from ansible.module_utils.facts.system.platform import PlatformFactCollector
from ansible.module_utils.facts.system.selinux import SelinuxFactCollector

# In this order, as each sees what those before have found.
COLLECTORS = (PlatformFactCollector, DistributionFactCollector, PkgMgrFactCollector, SelinuxFactCollector)


def machine() -> dict:
    """Tell what the host computes with."""
    with open("/proc/meminfo", encoding="ascii") as stream:
        memory = next(line.split()[1] for line in stream if line.startswith("MemTotal:"))
    return {"processor_nproc": len(os.sched_getaffinity(0)), "memtotal_mb": int(memory) // 1024}


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    found = {}
    for collector in COLLECTORS:
        known = {f"ansible_{name}": value for name, value in found.items()}
        found.update(collector().collect(module, {**known, **found}))
    facts = {**found, **machine()}
    module.exit_json(ansible_facts={f"ansible_{name}": value for name, value in facts.items()})


if __name__ == "__main__":
    main()
