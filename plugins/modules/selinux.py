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

import glob
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.files import PLAIN
from ansible_collections.baremetal.web.plugins.module_utils._host.selinux import (
    Needs,
    Policy,
    SELinuxError,
    module_name,
)


def compose(policy: Policy, wanted: dict) -> str:
    """Return the policy module that is wanted, empty for none."""
    if wanted["state"] == "absent" or not policy.knows(wanted["domain"]):
        return ""
    needs = Needs(policy, wanted["domain"])
    for context in wanted["contexts"]:
        needs.label(context["path"], context["type"])
    for server in wanted["peers"]:
        needs.reach(server)
    for port in wanted["listen"]:
        needs.listen(port, wanted["port_type"], wanted["port_types"])
    for port in wanted["connect"]:
        needs.connect(port, wanted["port_type"])
    return needs.text()


def install(module: AnsibleModule, name: str, text: str) -> None:
    """Put a policy module in its place; remove it when it is to have no rules."""
    with ChangeRecord() as change_record, tempfile.TemporaryDirectory() as directory:
        command = ["semodule", "-r", name]
        if text:
            change_record.note("selinux", module.params["name"])
            path = os.path.join(directory, f"{name}.cil")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            command = ["semodule", "-i", path]
        code, out, err = module.run_command(command)
        if not Policy().module(name):
            change_record.forget("selinux", module.params["name"])
    if code:
        module.fail_json(msg=f"{' '.join(command)} failed, so the policy is as it was. It says: {(err or out).strip()}")


def restore(module: AnsibleModule, patterns: list[str]) -> list[str]:
    """Give files the labels that the policy wants; return what restorecon says of each that had another one."""
    paths = sorted({path for pattern in patterns for path in glob.glob(pattern)})
    if not paths:
        return []
    options = ["-R", "-v", *(["-n"] if module.check_mode else [])]
    out = module.run_command(["restorecon", *options, *paths], check_rc=True)[1]
    return [line for line in out.splitlines() if " from " in line]


def main() -> None:
    words = {"type": "list", "elements": "str", "default": []}
    ports = {"type": "list", "elements": "int", "default": []}
    context = {"path": {"type": "str", "required": True}, "type": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "domain": {"type": "str", "default": "httpd_t"},
            "contexts": {"type": "list", "elements": "dict", "default": [], "options": context},
            "peers": words,
            "connect": ports,
            "listen": ports,
            "port_type": {"type": "str", "default": "http_port_t"},
            "port_types": words,
            "restore": words,
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = PLAIN
    policy = Policy()
    if not policy.enabled:
        module.exit_json(changed=False, rules=[], restored=[])
    name = module_name(module.params["name"])
    try:
        text = compose(policy, module.params)
    except SELinuxError as error:
        module.fail_json(msg=str(error))
    previous = policy.module(name)
    if text != previous and not module.check_mode:
        install(module, name, text)
    restored = restore(module, module.params["restore"])
    header = f"policy module {name}"
    diff = [{"before_header": header, "after_header": header, "before": previous, "after": text}] * (text != previous)
    diff += [{"prepared": "".join(f"{line}\n" for line in restored)}] * bool(restored)
    rules = [line for line in text.splitlines() if line.startswith("(")]
    module.exit_json(changed=text != previous or bool(restored), rules=rules, restored=restored, diff=diff)


if __name__ == "__main__":
    main()
