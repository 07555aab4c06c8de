#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: remove an app, or everything that this collection brought to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: removal
short_description: Remove an app, or all that this collection brought to a host
description:
  - Goes by the host's change record. Only what this collection brought is removed, and what it replaced is put back.
  - Sites, packages, firewall and SELinux have modules of their own; the playbook C(baremetal.web.remove) calls all in
    the right order.
options:
  phase:
    description:
      - V(app) removes O(app) alone.
      - V(everything) removes all but what other modules have to undo, and tells what that is.
      - V(finish) lets services that were there before go on with their own files, and closes the change record.
    type: str
    choices: [app, everything, finish]
    required: true
  app:
    description: Name of the app.
    type: str
    default: ""
  data_kept:
    description: >-
      Whether what an app wrote into its directory C(data), its C(releases.log), and the data of a database stay. They
      are root's from then on, and an app or a database that comes back gets its data again.
    type: bool
    default: true
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Tells what would be removed and kept.
    support: full
  diff_mode:
    description: Lists what is removed.
    support: full
"""

EXAMPLES = r"""
- name: Remove the app shop and keep its data
  baremetal.web.removal:
    phase: app
    app: shop
"""

RETURN = r"""
removed:
  description: Paths, programs, units and accounts that were, or would be, removed or put back.
  type: list
  elements: str
  returned: always
kept:
  description: The things that stay because of O(data_kept), or because another user or program uses them.
  type: list
  elements: str
  returned: always
noted:
  description: >-
    The notes of the change record that other modules still have to undo, by kind. C(package), C(stream), C(firewall)
    and C(selinux) are always there.
  type: dict
  returned: always
proxy:
  description: The role of the web server that was in front of the apps, V(nginx) or V(apache).
  type: str
  returned: always
"""

import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, pending_marker
from ansible_collections.baremetal.web.plugins.module_utils._host.files import PLAIN
from ansible_collections.baremetal.web.plugins.module_utils._host.web_server import in_front
from ansible_collections.baremetal.web.plugins.module_utils._release.removal import Removal, RemovalError

OTHERS = ("package", "stream", "firewall", "selinux")


def close(removal: Removal) -> None:
    """Remove the change record, unless it still has to know of something."""
    left = {kind: names for kind, names in removal.notes.notes.items() if names and kind != "directory"}
    if removal.acts and not left:
        removal.notes.close()
        shutil.rmtree(pending_marker.DIRECTORY, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "choices": ["app", "everything", "finish"], "required": True},
            "app": {"type": "str", "default": ""},
            "data_kept": {"type": "bool", "default": True},
        },
        required_if=[("phase", "app", ["app"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = PLAIN
    wanted = module.params
    if not change_record.exists():
        module.exit_json(changed=False, removed=[], kept=[], noted={key: [] for key in OTHERS}, proxy="nginx")
    with change_record.ChangeRecord() as notes:
        proxy = in_front(notes.notes).role
        removal = Removal(module, notes, wanted["data_kept"])
        try:
            if wanted["phase"] == "app":
                removal.app(wanted["app"])
            elif wanted["phase"] == "everything":
                removal.everything()
            else:
                removal.finish()
        except (RemovalError, OSError) as error:
            module.fail_json(msg=f"{error} What was removed before: {', '.join(removal.removed) or 'nothing'}.")
        noted = {kind: [name for name in removal.names(kind) if name not in removal.in_use] for kind in OTHERS}
        if wanted["phase"] == "finish":
            close(removal)
    removed = list(dict.fromkeys(removal.removed))  # in check mode what goes with an app is still there afterwards
    listed = "".join(f"{name}\n" for name in removed)
    module.exit_json(
        changed=bool(removed),
        removed=removed,
        kept=removal.kept,
        noted=noted,
        proxy=proxy,
        diff={"before_header": "on the host", "after_header": "on the host", "before": listed, "after": ""},
    )


if __name__ == "__main__":
    main()
