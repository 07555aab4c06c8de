# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module host_facts."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress

from ansible_collections.baremetal.web.plugins.module_utils._host import commands
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked

ARGUMENTS: dict = {}


class Host:
    """The part of a module that Ansible's collectors use."""

    @staticmethod
    def get_bin_path(name: str) -> str | None:
        from ansible.module_utils.common.process import get_bin_path

        with suppress(ValueError):
            return get_bin_path(name)
        return None

    @staticmethod
    def run_command(command: str) -> tuple[int, str, str]:
        return commands.run(shlex.split(command))

    @staticmethod
    def debug(text: str) -> None:
        """Leave it out."""


def machine() -> dict:
    """Tell what the host computes with."""
    with open("/proc/meminfo", encoding="ascii") as stream:
        memory = next(line.split()[1] for line in stream if line.startswith("MemTotal:"))
    return {"processor_nproc": len(os.sched_getaffinity(0)), "memtotal_mb": int(memory) // 1024}


def work(asked: Asked) -> dict:
    """Gather the facts."""
    from ansible.module_utils.facts.system.distribution import DistributionFactCollector
    from ansible.module_utils.facts.system.pkg_mgr import PkgMgrFactCollector
    from ansible.module_utils.facts.system.platform import PlatformFactCollector
    from ansible.module_utils.facts.system.selinux import SelinuxFactCollector

    found: dict = {}
    # In this order, as each sees what those before have found.
    for collector in (PlatformFactCollector, DistributionFactCollector, PkgMgrFactCollector, SelinuxFactCollector):
        known = {f"ansible_{name}": value for name, value in found.items()}
        found.update(collector().collect(Host, {**known, **found}))
    facts = {**found, **machine()}
    return {"changed": False, "ansible_facts": {f"ansible_{name}": value for name, value in facts.items()}}
