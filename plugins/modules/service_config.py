#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a systemd service and its configuration files, as one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_config
short_description: Bring a systemd service and its configuration to a wanted state, all or nothing
description:
  - Writes all files, lets the service's own checker judge the whole configuration, and only then reloads, restarts or
    starts the service. When the checker refuses, or the service does not come up, every file is put back as it was.
  - A run that is cut off between writing and applying leaves a mark, so that the next one applies.
  - One task and one round trip in place of a task for each file and handlers that are lost when a play fails.
options:
  name:
    description: The systemd unit; without it only files are written and checked.
    type: str
  directories:
    description: Directories to make before the files.
    type: list
    elements: dict
    default: []
    options:
      path: &path
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Octal mode.
        type: str
        default: "0755"
      owner: &owner
        description: Owner.
        type: str
        default: root
      group: &group
        description: Group.
        type: str
        default: root
  files:
    description: Files to write.
    type: list
    elements: dict
    default: []
    options: &file
      path: *path
      content:
        description: Content.
        type: str
        required: true
      mode:
        description: Octal mode; without it 0644, and 0600 for one of O(secret_files).
        type: str
      owner: *owner
      group: *group
  secret_files:
    description: As O(files), but neither logged nor shown in a diff.
    type: list
    elements: dict
    default: []
    options: *file
  absent:
    description: Files or links that must not exist.
    type: list
    elements: path
    default: []
  absent_if_packaged:
    description: Files, or links to files, that must not exist as long as they are as a Debian package installed them.
    type: list
    elements: path
    default: []
  exclusive:
    description: Patterns of files; those that match and are not among O(files) must not exist.
    type: list
    elements: str
    default: []
  check:
    description: >-
      Command and arguments that judge the configuration on the host, or take it up where there is no service; run after
      any change, before it is applied.
    type: list
    elements: str
    default: []
  on_change:
    description: What a running service needs to take up a change. A change of its unit file always means a restart.
    type: str
    choices: [reload, restart]
    default: reload
  ports:
    description: TCP ports that the service is about to listen on; one that another program holds is refused.
    type: list
    elements: int
    default: []
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows what would be written.
    support: full
  diff_mode:
    description: Shows what is different in each file.
    support: full
"""

EXAMPLES = r"""
- name: Publish a static site, refused as a whole when nginx does not like it
  baremetal.web.service_config:
    name: nginx.service
    files:
      - path: /etc/nginx/conf.d/static.conf
        content: "{{ lookup('ansible.builtin.template', 'static.conf.j2') }}"
    check: [nginx, -t]
"""

RETURN = r"""
files:
  description: The paths that were, or would be, written or removed.
  type: list
  elements: str
  returned: always
action:
  description: What was done to the service.
  type: str
  returned: always
"""

import glob
import hashlib
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils.files import Entry, Transaction, read_state
from ansible_collections.baremetal.web.plugins.module_utils.sockets import port_holders

UNIT_DIRECTORY = "/etc/systemd/system"
MARKS = "/run/baremetal.web"


class Refused(Exception):
    """The new configuration is not accepted."""


class Service:
    """A unit of systemd."""

    def __init__(self, module: AnsibleModule, name: str):
        self.module = module
        self.name = name

    def run(self, *arguments: str) -> None:
        code, out, err = self.module.run_command(["systemctl", *arguments, self.name])
        if code:
            journal = self.module.run_command(["journalctl", "--no-pager", "-n", "15", "-o", "cat", "-u", self.name])[1]
            raise Refused(
                f"systemctl {' '.join(arguments)} {self.name} failed: {(err or out).strip()}\n{journal}".strip()
            )

    def properties(self) -> dict[str, str]:
        out = self.module.run_command(["systemctl", "show", "-p", "ActiveState,UnitFileState", self.name])[1]
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    @property
    def active(self) -> bool:
        return self.properties().get("ActiveState") in ("active", "reloading", "activating")


def entries(mode: dict[str, str], **more: dict) -> dict:
    """Describe a list of files or directories."""
    name = {"type": "str", "default": "root"}
    options = {
        "path": {"type": "path", "required": True},
        "mode": {"type": "str", **mode},
        "owner": name,
        "group": name,
    }
    return {"type": "list", "elements": "dict", "default": [], "options": {**options, **more}}


def is_packaged(module: AnsibleModule, path: str) -> bool:
    """Tell whether a file is as its Debian package installed it."""
    target = os.path.realpath(path)
    state = read_state(target)
    if state is None or state.content is None:
        return False
    owner = module.run_command(["dpkg-query", "--search", target])[1].partition(":")[0]
    listing = module.run_command(["dpkg-query", "--show", "--showformat=${Conffiles}", owner])[1] if owner else ""
    return f"{target} {hashlib.md5(state.content).hexdigest()}" in listing


def unwanted(module: AnsibleModule) -> list[str]:
    """Return the paths that must not exist."""
    wanted = module.params
    kept = {options["path"] for options in [*wanted["files"], *wanted["secret_files"]]}
    others = (path for pattern in wanted["exclusive"] for path in sorted(glob.glob(pattern)))
    packaged = (path for path in wanted["absent_if_packaged"] if is_packaged(module, path))
    return [*wanted["absent"], *packaged, *(path for path in others if path not in kept)]


def apply(service: Service, verb: str) -> str:
    """Let the service take up its configuration; return what was done."""
    if service.properties().get("UnitFileState") != "enabled":
        service.run("enable", "--quiet")
    if not service.active:
        service.run("start")
        return "started"
    service.run(verb)
    return f"{verb}ed"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "directories": entries({"default": "0755"}),
            "files": entries({}, content={"type": "str", "required": True}),
            "secret_files": entries({}, content={"type": "str", "required": True, "no_log": True}),
            "absent": {"type": "list", "elements": "path", "default": []},
            "absent_if_packaged": {"type": "list", "elements": "path", "default": []},
            "exclusive": {"type": "list", "elements": "str", "default": []},
            "check": {"type": "list", "elements": "str", "default": []},
            "on_change": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
            "ports": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    transaction = Transaction(
        [
            *(Entry.directory(options) for options in wanted["directories"]),
            *(Entry.file(options) for options in wanted["files"]),
            *(Entry.file(options, secret=True) for options in wanted["secret_files"]),
        ],
        unwanted(module),
    )
    service = Service(module, wanted["name"]) if wanted["name"] else None
    places = "\n".join(entry.path for entry in transaction.entries)
    mark = os.path.join(MARKS, hashlib.sha256(places.encode()).hexdigest()[:16])
    cut_off = os.path.exists(mark)
    state = service.properties() if service else {}
    settled = not service or (state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled")
    changed = bool(transaction.changed) or not settled or cut_off
    result = {"changed": changed, "files": transaction.changed, "action": "none", "diff": transaction.diff()}
    if service:
        for port in wanted["ports"]:
            if holders := port_holders(port, service.name):
                module.fail_json(
                    msg=f"Port {port} is held by {', '.join(sorted(holders))}, so {service.name} cannot listen on it. "
                    "Stop that program, or choose another port. Nothing was changed.",
                )
    if module.check_mode or not changed:
        module.exit_json(**result)

    units = [path for path in transaction.changed if path.startswith(UNIT_DIRECTORY)]
    unit_file = os.path.join(UNIT_DIRECTORY, wanted["name"] or "")
    os.makedirs(MARKS, mode=0o700, exist_ok=True)
    with open(mark, "w", encoding="utf-8"):
        pass
    try:
        transaction.write()
        if wanted["check"]:
            code, out, err = module.run_command(wanted["check"], handle_exceptions=False)
            if code:
                raise Refused(f"{' '.join(wanted['check'])} says: {(err or out).strip()}")
        if units or (service and cut_off):
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        if service:
            result["action"] = apply(service, "restart" if unit_file in units else wanted["on_change"])
    except (Refused, OSError, KeyError) as error:
        transaction.undo()
        if units:
            module.run_command(["systemctl", "daemon-reload"])
        if state.get("ActiveState") == "active" and not service.active:
            module.run_command(["systemctl", "start", service.name])
        os.unlink(mark)
        module.fail_json(
            msg=f"The new configuration was refused and every file is as it was before. {error}",
            files=transaction.changed,
        )
    os.unlink(mark)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
