#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of the same name, which does all its work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheelhouse
short_description: Fill a directory of the controller with the wheels that hosts need
description:
  - Fetches, for each Python version on each kind of machine, the wheels of locked requirements that are not there yet.
    Nothing is removed, and no host is asked.
  - Every package must have one version and its hashes; a wheel is fetched only when its hash is among them.
options:
  path:
    description: The directory; made when missing.
    type: path
    required: true
  versions:
    description: Python versions of the hosts, for example V("3.12").
    type: list
    elements: str
    required: true
  machines:
    description: Kinds of machines, for example V(x86_64) or V(aarch64).
    type: list
    elements: str
    required: true
  requirements:
    description: Requirements files.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the file in messages.
        type: str
        required: true
      text:
        description: Its text.
        type: str
        required: true
      version:
        description: The one Python version that it is for; V(auto) means each of O(versions).
        type: str
        default: auto
  index_url:
    description: Package index to use instead of pip's own default.
    type: str
    default: ""
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Lists the packages that would be fetched.
    support: full
"""

EXAMPLES = r"""
- name: Fill the wheelhouse
  baremetal.web.wheelhouse:
    path: "{{ inventory_dir }}/wheelhouse"
    versions: ["3.12", "3.13"]
    machines: [x86_64]
    requirements:
      - name: requirements.txt
        text: "{{ lookup('ansible.builtin.file', 'requirements.txt') }}"
"""

RETURN = r"""
wheels:
  description: Names of the wheels that were fetched.
  type: list
  elements: str
  returned: always
"""
