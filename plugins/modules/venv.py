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

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.venv import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
