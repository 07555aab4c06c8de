#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: conda, with an environment for each wanted Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: conda
short_description: Install conda, and Pythons with it
description:
  - Runs an installer (Miniforge, Miniconda or Anaconda for Linux) once, and makes an environment C(envs/pythonVERSION)
    for each wanted version. Everything belongs to root, and no profile of a shell is touched.
  - Another installer updates what the previous one brought (C(-u)). Environments stay as they are, so that releases
    made from them do.
  - The action of the same name reads O(path), O(url) and O(search) on the controller, and brings the installer to a
    host that lacks it.
options:
  path:
    description: The installer on the controller (action only).
    type: path
  url:
    description: Address that the controller fetches the installer from (action only).
    type: str
  search:
    description: Directory of the inventory, in which a relative path is looked up (action only).
    type: path
  checksum:
    description: C(sha256:) and the digest of the installer.
    type: str
    required: true
  installer:
    description: The installer on the host; set by the action.
    type: path
  prefix:
    description: Directory to install to.
    type: path
    default: /opt/conda
  versions:
    description: Versions of Python, for example V(["3.12"]).
    type: list
    elements: str
    default: []
  channels:
    description: Where conda takes packages from; none means what the installer says.
    type: list
    elements: str
    default: []
  proxy_url:
    description: Proxy through which conda reaches the channels, empty for none.
    type: str
    default: ""
  no_proxy:
    description: Names, addresses and networks that it reaches without the proxy.
    type: list
    elements: str
    default: []
  offline_enabled:
    description: Whether conda takes only what the installer brought.
    type: bool
    default: false
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Tells what would be installed.
    support: full
  diff_mode:
    description: Lists what would be installed.
    support: full
"""

EXAMPLES = r"""
- name: Provide Python 3.12 from Miniforge
  baremetal.web.conda:
    path: files/Miniforge3-Linux-x86_64.sh
    checksum: sha256:4a1ef9d2a9b3e4fe0f8d8f3ef6b1b7b7b1a7d0f6a1d0e6b0c7d7e1e7c9a3b5d1
    versions: ["3.12"]
"""

RETURN = r"""
pythons:
  description: The interpreters, by version.
  type: dict
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.conda import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
