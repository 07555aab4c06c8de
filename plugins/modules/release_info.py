#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: gather what happened to the releases of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Gather the audit log and the lock of an app
description:
  - Reads who released, rolled back or locked the app on the host, when, and how it went. Changes nothing.
extends_documentation_fragment: [baremetal.web.release]
options:
  lines:
    description: How many lines of the audit log to return; 0 for all.
    type: int
    default: 20
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask for what happened
  baremetal.web.release_info:
    name: shop
    lines: 50
"""

RETURN = r"""
rows:
  description: Lines of the audit log, newest last.
  type: list
  elements: dict
  returned: always
lock:
  description: The holder of the lock (C(by), C(since), C(message), C(expires)); empty for nobody.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import APP_OPTIONS


def main() -> None:
    module = AnsibleModule(
        argument_spec={**APP_OPTIONS, "lines": {"type": "int", "default": 20}}, supports_check_mode=True
    )
    home = Home(module.params["name"], module.params["root"])
    rows = home.history()[-module.params["lines"] :]
    module.exit_json(changed=False, rows=rows, lock=AppLock(home, run="", by="").shown())


if __name__ == "__main__":
    main()
