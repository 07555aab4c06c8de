#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what a confined program needs of SELinux."""

from __future__ import annotations

DOCUMENTATION = r"""
module: selinux
short_description: Let a confined program do what it has to, and nothing else
description:
  - Asks the kernel what a domain may do, and puts what it lacks into one small policy module of its own. Nothing else
    of the policy changes, neither booleans nor other services' ports, so removing that module undoes everything.
  - Where nothing is lacking, there is no module. Where SELinux is off, nothing happens.
  - Files below O(restore) get the labels that the policy wants, at each run.
  - Needs C(semodule) and C(restorecon), which every host with SELinux has.
options:
  name:
    description: The purpose of the policy module; on the host it is called C(baremetal-web-NAME).
    type: str
    required: true
  state:
    description: Whether the policy module exists.
    type: str
    choices: [present, absent]
    default: present
  domain:
    description: The type that the program runs in, V(httpd_t) for nginx; nothing happens where the policy has no such.
    type: str
    default: httpd_t
  contexts:
    description: Labels of files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Regular expression of paths, as in a policy's file contexts.
        type: str
        required: true
      type:
        description: Their type.
        type: str
        required: true
  peers:
    description: >-
      Domains that listen on unix sockets to which the program connects; those that the policy does not have are left
      out.
    type: list
    elements: str
    default: []
  connect:
    description: TCP ports, here or elsewhere, to which the program connects.
    type: list
    elements: int
    default: []
  listen:
    description: >-
      TCP ports on which the program listens. One that no service claims gets O(port_type); one of another service is
      refused.
    type: list
    elements: int
    default: []
  port_type:
    description: Type for ports that no service claims.
    type: str
    default: http_port_t
  port_types:
    description: Types of other services' ports on which the program may listen all the same; they keep their type.
    type: list
    elements: str
    default: []
  restore:
    description: Files and directories, or patterns of them, whose labels are put right with all that is below.
    type: list
    elements: str
    default: []
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows what would be allowed and labelled; labels that need a new rule are not foreseen.
    support: full
  diff_mode:
    description: Shows the policy module and the labels.
    support: full
"""

EXAMPLES = r"""
- name: Let nginx reach the sockets of a service
  baremetal.web.selinux:
    name: shop
    contexts:
      - {path: "/srv/shop/run(/.*)?", type: httpd_var_run_t}
    peers: [unconfined_service_t]
    listen: [8090]
    restore: [/srv/shop/run]
"""

RETURN = r"""
rules:
  description: The rules of the policy module.
  type: list
  elements: str
  returned: always
restored:
  description: The paths that were, or would be, labelled anew.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.selinux import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
