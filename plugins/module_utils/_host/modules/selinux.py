# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module selinux."""

from __future__ import annotations

import glob
import os
import tempfile

from ansible_collections.baremetal.web.plugins.module_utils._host import commands
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.selinux import (
    Needs,
    Policy,
    SELinuxError,
    module_name,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError

_WORDS = {"type": "list", "elements": "str", "default": []}
_PORTS = {"type": "list", "elements": "int", "default": []}
_CONTEXT = {"path": {"type": "str", "required": True}, "type": {"type": "str", "required": True}}
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "domain": {"type": "str", "default": "httpd_t"},
    "contexts": {"type": "list", "elements": "dict", "default": [], "options": _CONTEXT},
    "peers": _WORDS,
    "connect": _PORTS,
    "listen": _PORTS,
    "port_type": {"type": "str", "default": "http_port_t"},
    "port_types": _WORDS,
    "restore": _WORDS,
}


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


def install(purpose: str, text: str) -> None:
    """Put a policy module in its place; remove it when it is to have no rules."""
    name = module_name(purpose)
    with ChangeRecord() as change_record, tempfile.TemporaryDirectory() as directory:
        command = ["semodule", "-r", name]
        if text:
            change_record.note("selinux", purpose)
            path = os.path.join(directory, f"{name}.cil")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            command = ["semodule", "-i", path]
        code, out, err = commands.run(command)
        if not Policy().module(name):
            change_record.forget("selinux", purpose)
    if code:
        said = (err or out).strip()
        raise WorkError(f"{' '.join(command)} failed, so the policy is as it was. It says: {said}")


def restore(patterns: list[str], check_mode: bool) -> list[str]:
    """Give files the labels that the policy wants; return what restorecon says of each that had another one."""
    paths = sorted({path for pattern in patterns for path in glob.glob(pattern)})
    if not paths:
        return []
    options = ["-R", "-v", *(["-n"] if check_mode else [])]
    out = commands.run(["restorecon", *options, *paths], checked=True).out
    return [line for line in out.splitlines() if " from " in line]


def work(asked: Asked) -> dict:
    """Install or remove the policy module, and label files."""
    wanted = asked.params
    policy = Policy()
    if not policy.enabled:
        return {"changed": False, "rules": [], "restored": []}
    name = module_name(wanted["name"])
    try:
        text = compose(policy, wanted)
    except SELinuxError as error:
        raise WorkError(str(error)) from error
    previous = policy.module(name)
    if text != previous and not asked.check_mode:
        install(wanted["name"], text)
    restored = restore(wanted["restore"], asked.check_mode)
    header = f"policy module {name}"
    diff = [{"before_header": header, "after_header": header, "before": previous, "after": text}] * (text != previous)
    diff += [{"prepared": "".join(f"{line}\n" for line in restored)}] * bool(restored)
    rules = [line for line in text.splitlines() if line.startswith("(")]
    return {"changed": text != previous or bool(restored), "rules": rules, "restored": restored, "diff": diff}
