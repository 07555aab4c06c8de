# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module firewall."""

from __future__ import annotations

from ansible_collections.baremetal.web.plugins.module_utils._host import commands
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.firewall import (
    Firewall,
    FirewallError,
    entry_name,
    installed,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "ports": {"type": "list", "elements": "int", "default": []},
    "exclusive": {"type": "bool", "default": True},
}


def change(firewall: Firewall, name: str, ports: set[int]) -> None:
    """Make the firewall as wanted, noted in the change record while there is anything to undo."""
    with ChangeRecord() as change_record:
        if ports:
            change_record.note("firewall", name)
            firewall.open(ports)
        else:
            firewall.close()
            change_record.forget("firewall", name)


def work(asked: Asked) -> dict:
    """Open and close ports."""
    name = asked.params["name"]
    wanted = set(asked.params["ports"]) if asked.params["state"] == "present" else set()
    try:
        firewalls = installed(commands.run, entry_name(name))
        # What was opened is closed even when the firewall was stopped since.
        firewall = next((one for one in firewalls if (one.running if wanted else one.saved())), None)
        if not firewall:
            return {"changed": False, "firewall": "", "ports": []}
        before = firewall.saved()
        wanted |= set() if asked.params["exclusive"] else before
        changed = not firewall.converged(wanted)
        if changed and not asked.check_mode:
            change(firewall, name, wanted)
    except FirewallError as error:
        raise WorkError(str(error)) from error
    lines = ["".join(f"{port}/tcp\n" for port in sorted(ports)) for ports in (before, wanted)]
    header = f"{firewall.program}: {firewall.name}"
    diff = {"before_header": header, "after_header": header, "before": lines[0], "after": lines[1]}
    found = {"firewall": firewall.program, "ports": sorted(wanted)}
    return {"changed": changed, **found, "diff": diff if changed else {}}
