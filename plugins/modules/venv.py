#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a virtual environment with a set of requirements."""

from __future__ import annotations

DOCUMENTATION = r"""
module: venv
short_description: Provide a virtual environment with the wanted packages
description:
  - Creates the environment when it is missing and installs a set of requirements into it. The
    environment records what was installed, so that a second run asks no index and changes nothing.
  - Installs with uv when O(uv) exists, else with the interpreter's own venv and pip.
options:
  path:
    description: Where the environment is.
    type: path
    required: true
  name:
    description: The name of this set of requirements; an environment may hold several.
    type: str
    default: main
  version:
    description: Python version, or V(auto) for the platform's own when new enough, else the newest installed.
    type: str
    default: auto
  requirements:
    description: Text of a requirements file. When it has hashes, every package must have one and is checked.
    type: str
    required: true
  source_builds_enabled:
    description: Whether packages without a wheel may be built. Building runs code of the package as root.
    type: bool
    default: false
  index_url:
    description: Package index to use instead of the tool's own default.
    type: str
    default: ""
  proxy_url:
    description: Proxy through which pip and uv reach the index, empty for none.
    type: str
    default: ""
  no_proxy:
    description: Names, addresses and networks that they reach without the proxy.
    type: list
    elements: str
    default: []
  wheelhouse:
    description: >-
      Directory of the controller with wheels (action only). When it is set, they are brought to the host and no index
      is asked.
    type: path
  wheels:
    description: SHA-256 of the wheels that may be needed, by name; set by the action.
    type: dict
  archive:
    description: Archive of wheels on the host; set by the action.
    type: path
  uv:
    description: Path of uv.
    type: path
    default: /opt/baremetal/bin/uv
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Tells whether something would be installed.
    support: full
"""

EXAMPLES = r"""
- name: Provide httpie to everybody
  baremetal.web.venv:
    path: /opt/httpie
    requirements: httpie==3.2.4
"""

RETURN = r"""
python:
  description: The interpreter that the environment is made from; empty when it is not installed yet (check mode).
  type: str
  returned: always
"""

import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import wheels
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import (
    VenvError,
    find_interpreter,
    install,
    is_installed,
    record,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "name": {"type": "str", "default": "main"},
            "version": {"type": "str", "default": "auto"},
            "requirements": {"type": "str", "required": True},
            "source_builds_enabled": {"type": "bool", "default": False},
            "index_url": {"type": "str", "default": "", "no_log": True},
            "proxy_url": {"type": "str", "default": "", "no_log": True},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "wheelhouse": {"type": "path"},
            "wheels": {"type": "dict"},
            "archive": {"type": "path"},
            "uv": {"type": "path", "default": "/opt/baremetal/bin/uv"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    path, name, requirements = wanted["path"], wanted["name"], wanted["requirements"]
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        module.fail_json(msg=f"name is {name!r}, which cannot be the name of a file (letters, digits, . _ -).")
    try:
        python = find_interpreter(wanted["version"])
        changed = not is_installed(path, name, requirements, python)
        if changed and not module.check_mode:
            if wanted["archive"]:
                wheels.take(wanted["archive"], wanted["wheels"])
            elif lacking := wheels.lacking(wanted["wheels"] or {}):
                module.exit_json(changed=False, python=python, lacking=lacking)
            with ChangeRecord() as notes:
                notes.note_directory(path, owned=True)
            with tempfile.TemporaryDirectory() as directory:
                file, home = (os.path.join(directory, part) for part in (f"{name}.txt", "home"))
                os.mkdir(home)
                with open(file, "w", encoding="utf-8") as stream:
                    stream.write(requirements)
                install(
                    path,
                    python,
                    [file],
                    home=home,
                    uv=wanted["uv"] if os.path.exists(wanted["uv"]) else "",
                    index_url=wanted["index_url"],
                    proxy_url=wanted["proxy_url"],
                    no_proxy=wanted["no_proxy"],
                    wheels="" if wanted["wheels"] is None else wheels.DIRECTORY,
                    source_builds=wanted["source_builds_enabled"],
                )
            record(path, python, name, requirements)
    except VenvError as error:
        if module.check_mode:
            module.exit_json(changed=True, python="")
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, python=python)


if __name__ == "__main__":
    main()
