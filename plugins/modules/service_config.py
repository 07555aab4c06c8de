#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a systemd service and its configuration files, as one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_config
short_description: Bring a service and its configuration to a wanted state, all or nothing
description:
  - Writes all files, lets the service's own checker judge the whole configuration, and only then reloads, restarts or
    starts the service. When the checker refuses, or the service does not come up, every file is put back as it was.
  - A run that is cut off between writing and applying leaves a mark, so that the next one applies.
  - What was there before is kept in the host's change record, so that removal can put it back.
  - One task and one round trip in place of a task for each file and handlers that are lost when a play fails.
options:
  name:
    description: The systemd unit; without it only files are written and checked.
    type: str
  manager:
    description:
      - Who runs the service, V(systemd), or V(supervisor) with a program in the place of the unit, of the same name
        without its suffix. What the other one has of it ends when this one takes over.
      - Without it the service is a unit, and supervisord is not looked at.
    type: str
    choices: [systemd, supervisor]
  program:
    description: >-
      The program of supervisord, with every key of the entry point C(program) of the role C(baremetal.web.supervisor);
      for O(manager=supervisor). Without it the program has to be there.
    type: dict
  directories:
    description: Directories to make before the files.
    type: list
    elements: dict
    default: []
    suboptions:
      path: &path
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Octal mode.
        type: str
        default: "0755"
      owned:
        description: Whether all that will ever be in the directory, when it is made here, goes with it at removal.
        type: bool
        default: false
      data_of:
        description: >-
          The unit that keeps its data in the directory. At removal it stops, and the data stays unless told, as root's.
        type: str
        default: ""
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
    suboptions: &file
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
      foreign:
        description: >-
          What happens to a file that is neither as its package installed it nor written by this collection, and that
          is not as wanted.
        type: str
        choices: [refuse, keep, replace]
        default: refuse
      kept_with:
        description: Patterns; where a file matches one, V(keep) of O(files[].foreign) holds for the packaged file too.
        type: list
        elements: str
        default: []
  secret_files:
    description: >-
      As O(files), but neither logged nor shown in a diff. In their content V(@NAME.sha1@) and V(@NAME.sha256@) stand
      for the hash, in hexadecimal, of the one of O(secrets) with that name.
    type: list
    elements: dict
    default: []
    suboptions: *file
  secrets:
    description: >-
      Files with random letters and digits that the host makes once and keeps, and that never leave it; of mode 0600, or
      0640 for a group.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What O(secret_files) call it.
        type: str
        required: true
      path: *path
      length:
        description: Number of characters of a new one, at least 16.
        type: int
        default: 32
      owner: *owner
      group: *group
  account_files:
    description: >-
      As O(files), written before anything else and handed to C(systemd-sysusers), so that what follows may belong to
      their accounts. O(accounts) names these.
    type: list
    elements: dict
    default: []
    suboptions: *file
  absent:
    description: Files or links that must not exist.
    type: list
    elements: path
    default: []
  absent_if_packaged:
    description: Files, or links to files, that must not exist as long as they are as their package installed them.
    type: list
    elements: path
    default: []
  exclusive:
    description: Patterns of files; those of this collection that match and are not among O(files) must not exist.
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
  keeps:
    description: >-
      Regular expression. A file of O(files) stays as it is, with a warning, where it has a match that its new content
      has not. Where the new content has other matches as well, it is refused.
    type: str
  check_expects:
    description: Texts that the output of O(check) must have, for example the name of a file that is to be taken up.
    type: list
    elements: str
    default: []
  check_forbids:
    description: Regular expressions that the output of O(check) must not match, for what is only a warning there.
    type: list
    elements: str
    default: []
  conflicts:
    description: What must not stand in files of others; searched before anything is written.
    type: list
    elements: dict
    default: []
    suboptions:
      files:
        description: Patterns of the files to search; those of this collection are left out.
        type: list
        elements: str
        required: true
      regex:
        description: Regular expression; C(^) is the start of a line.
        type: str
        required: true
      explanation:
        description: What to say about it; the name of the file comes first.
        type: str
        required: true
  accounts:
    description: >-
      Users, and groups of the same name, that O(account_files) or O(check) bring about where they are not there yet.
    type: list
    elements: str
    default: []
  on_change:
    description: What a running service needs to take up a change. A change of its unit file always means a restart.
    type: str
    choices: [reload, restart]
    default: reload
  newer:
    description: Files; a running service that was started before one of them was put there is restarted.
    type: list
    elements: path
    default: []
  withdraw:
    description: >-
      Units that stop before a restart and start again when the service is ready, so that a load balancer in front of
      this host turns to another one.
    type: list
    elements: str
    default: []
  ready:
    description: Command and arguments that succeed when a restarted service does its work again.
    type: list
    elements: str
    default: []
  ready_timeout:
    description: Seconds in which O(ready) has to succeed.
    type: int
    default: 60
  ports:
    description:
      - Where the service is about to listen, as V(PORT) or V(ADDRESS:PORT); what another program holds is refused.
      - So is a change between all addresses of a port and one of them where the service is only reloaded, for it
        could not listen on the new while it has the old.
    type: list
    elements: str
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

- name: Give a service a password that only the host knows
  baremetal.web.service_config:
    name: example.service
    secrets:
      - name: password
        path: /etc/example/password
    secret_files:
      - path: /etc/example/users.conf
        content: admin @password.sha256@
    on_change: restart

- name: Let a program of supervisord, which is there, take up a change
  baremetal.web.service_config:
    name: nginx.service
    manager: supervisor
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
kept:
  description: Files that stay as they are because somebody else made them.
  type: list
  elements: str
  returned: always
firewalls:
  description: Programs of firewalls that the host has; where there is none, no port has to be opened.
  type: list
  elements: str
  returned: always
action:
  description: What was done to the service.
  type: str
  returned: always
"""

import glob
import grp
import hashlib
import os
import pwd
import re
import time
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, firewall
from ansible_collections.baremetal.web.plugins.module_utils._host.files import PLAIN, Entry, Transaction
from ansible_collections.baremetal.web.plugins.module_utils._host.generated_secrets import (
    SecretError,
    filled,
    kept_secret,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.ownership import is_foreign, is_packaged
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.module_utils._host.services import Refused, Service
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import own_obstacle, port_holders
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import SupervisorError

UNIT_DIRECTORY = "/etc/systemd/system"
MARKS = "/run/baremetal.web"


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


def files(**content: bool) -> dict:
    """Describe a list of files."""
    return entries(
        {},
        content={"type": "str", "required": True, **content},
        foreign={"type": "str", "choices": ["refuse", "keep", "replace"], "default": "refuse"},
        kept_with={"type": "list", "elements": "str", "default": []},
    )


def texts(**more: object) -> dict:
    """Describe a list of texts."""
    return {"type": "list", "elements": "str", "default": [], **more}


def is_kept(module: AnsibleModule, options: dict) -> bool:
    """Tell whether a file stays as somebody else made it, or needs it."""
    path = options["path"]
    if options["foreign"] != "keep" or not os.path.lexists(path) or path in change_record.read().get("file", {}):
        return False
    return any(glob.glob(pattern) for pattern in options["kept_with"]) or is_foreign(module, path)


def kept_places(module: AnsibleModule, options: dict) -> tuple[list[str], list[str]]:
    """Return what a file is to keep and would lose, and what it would gain."""
    regex = module.params["keeps"]
    if not regex or not os.path.exists(options["path"]):
        return [], []
    with open(options["path"], encoding="utf-8", errors="replace") as stream:
        now, then = ({*re.findall(regex, text, re.MULTILINE)} for text in (stream.read(), options["content"]))
    return sorted(now - then), sorted(then - now)


def written(wanted: dict) -> list[dict]:
    """Return the options of all files."""
    return [*wanted["account_files"], *wanted["files"], *wanted["secret_files"]]


def unwanted(module: AnsibleModule) -> list[str]:
    """Return the paths that must not exist."""
    wanted = module.params
    kept = {options["path"] for options in written(wanted)}
    ours = change_record.read().get("file", {}).keys() - kept
    others = (path for pattern in wanted["exclusive"] for path in sorted(glob.glob(pattern)) if path in ours)
    packaged = (path for path in wanted["absent_if_packaged"] if is_packaged(module, path))
    return [*wanted["absent"], *packaged, *others]


def conflict(module: AnsibleModule, changed: list[str]) -> str:
    """Return what stands in the way in files of others; empty when nothing does."""
    wanted = module.params
    for options in written(wanted):
        if options["foreign"] == "refuse" and options["path"] in changed and is_foreign(module, options["path"]):
            return f"{options['path']} was not written by this collection. Move it away if it is not needed."
    ours = {*change_record.read().get("file", {}), *(options["path"] for options in wanted["files"]), *unwanted(module)}
    for rule in wanted["conflicts"]:
        for path in sorted({path for pattern in rule["files"] for path in glob.glob(pattern)} - ours):
            with suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
                if re.search(rule["regex"], stream.read(), re.MULTILINE):
                    return f"{path} {rule['explanation']}"
    return ""


def judge(module: AnsibleModule) -> None:
    """Let the consumer judge what is written."""
    wanted = module.params
    code, out, err = module.run_command(wanted["check"], handle_exceptions=False)
    said = f"{' '.join(wanted['check'])} says: {(err or out).strip()}"
    missing = [text for text in wanted["check_expects"] if text not in out + err]
    if code or any(re.search(regex, out + err) for regex in wanted["check_forbids"]):
        raise Refused(said)
    if missing:
        raise Refused(f"{' '.join(wanted['check'])} does not mention {', '.join(missing)}, so it is not taken up.")


def make_accounts(module: AnsibleModule, path: str) -> None:
    """Let systemd make the accounts that a file describes."""
    if path in [options["path"] for options in module.params["account_files"]]:
        code, out, err = module.run_command(["systemd-sysusers", path])
        if code:
            raise Refused(f"systemd-sysusers {path} says: {(err or out).strip()}")


def is_known(name: str) -> bool:
    """Tell whether there is a user or a group of a name."""
    for look in (pwd.getpwnam, grp.getgrnam):
        with suppress(KeyError):
            return bool(look(name))
    return False


def take_notes(
    notes: change_record.ChangeRecord,
    transaction: Transaction,
    accounts: list[str],
    service: Service | None,
) -> None:
    """Note what is about to change."""
    for name in accounts:
        notes.note("account", name)
    for entry in transaction.entries:
        if entry.path in transaction.changed and entry.content is None:
            if entry.data_of:
                notes.note_data(entry.path, entry.data_of)
            else:
                notes.note_directory(entry.path, entry.owned)
    for path in transaction.changed:
        if path in transaction.absent and path not in notes.notes.get("file", {}):
            notes.note("removed", path, change_record.freeze(transaction.before[path]))
        elif path not in {entry.path for entry in transaction.entries if entry.content is None}:
            notes.note_directory(os.path.dirname(path))
            notes.note_file(path)
    if service:
        service.unit.note(notes)
    notes.save()


def is_ours(unit: str) -> bool:
    """Tell whether the package of a unit came to the host with this collection."""
    return unit.rpartition(".")[0] in change_record.read().get("package", {})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "manager": {"type": "str", "choices": ["systemd", "supervisor"]},
            "program": {"type": "dict"},
            "directories": entries(
                {"default": "0755"},
                owned={"type": "bool", "default": False},
                data_of={"type": "str", "default": ""},
            ),
            "files": files(),
            # The contents are secret, the paths are not.
            "secret_files": {**files(no_log=True), "no_log": False},
            "secrets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "name": {"type": "str", "required": True},
                    "path": {"type": "path", "required": True},
                    "length": {"type": "int", "default": 32},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                },
            },
            "account_files": files(),
            "absent": texts(elements="path"),
            "absent_if_packaged": texts(elements="path"),
            "exclusive": texts(),
            "keeps": {"type": "str"},
            "check": texts(),
            "check_expects": texts(),
            "check_forbids": texts(),
            "conflicts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "files": {"type": "list", "elements": "str", "required": True},
                    "regex": {"type": "str", "required": True},
                    "explanation": {"type": "str", "required": True},
                },
            },
            "accounts": texts(),
            "on_change": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
            "newer": texts(elements="path"),
            "withdraw": texts(),
            "ready": texts(),
            "ready_timeout": {"type": "int", "default": 60},
            "ports": texts(),
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = PLAIN
    wanted = module.params
    service = Service(module, wanted["name"], wanted["manager"], wanted["program"]) if wanted["name"] else None
    kept = [options["path"] for options in written(wanted) if is_kept(module, options)]
    account_paths = {options["path"] for options in wanted["account_files"]}
    for options in wanted["files"]:
        lost, gained = kept_places(module, options)
        said = f"{options['path']} stays as it is, because it is to keep {', '.join(lost)} until another file has that."
        if lost and gained:
            module.fail_json(msg=f"{said} So it does not get {', '.join(gained)} either.")
        if lost:
            module.warn(said)
            kept.append(options["path"])
    try:
        secrets = {options["name"]: kept_secret(options) for options in wanted["secrets"]}
    except SecretError as error:
        module.fail_json(msg=f"{error} Nothing was changed.")
    # Not in place: Ansible shows a module's parameters, and knows their secrets as they were given.
    secret_files = [{**options, "content": filled(options["content"], secrets)} for options in wanted["secret_files"]]
    transaction = Transaction(
        [
            *(Entry.file(options) for options in wanted["account_files"] if options["path"] not in kept),
            *(Entry.directory(options) for options in wanted["directories"]),
            *(Entry.file(options) for options in wanted["files"] if options["path"] not in kept),
            *secrets.values(),
            *(Entry.file(options, secret=True) for options in secret_files if options["path"] not in kept),
            *(service.entries() if service else []),
        ],
        [*unwanted(module), *(service.absent() if service else [])],
        lambda path: make_accounts(module, path),
    )
    places = "\n".join(entry.path for entry in transaction.entries)
    mark = os.path.join(MARKS, hashlib.sha256(places.encode()).hexdigest()[:16])
    cut_off = os.path.exists(mark)
    settled = not service or service.was_settled
    # Packages bring the times of their files along, but not this one.
    changes = [os.stat(path).st_ctime for path in wanted["newer"] if os.path.exists(path)]
    outdated = bool(service and settled and any(service.own.started < change < time.time() for change in changes))
    accounts = [name for name in wanted["accounts"] if not is_known(name)]
    changed = bool(transaction.changed or accounts) or not settled or cut_off or outdated
    result = {
        "changed": changed,
        "files": transaction.changed,
        "kept": kept,
        "firewalls": [found.program for found in firewall.installed(module.run_command, "any")],
        "action": "none",
        "diff": transaction.diff(),
    }
    if found := conflict(module, transaction.changed):
        module.fail_json(msg=f"{found} Nothing was changed.")
    if service:
        for port in wanted["ports"]:
            what = f"{'Address' if ':' in port else 'Port'} {port}"
            if holders := port_holders(port, service.owners):
                module.fail_json(
                    msg=f"{what} is held by {', '.join(sorted(holders))}, so {service.name} cannot listen on it. "
                    "Stop that program, or choose another port. Nothing was changed.",
                )
            held = own_obstacle(port, wanted["ports"], service.owners) if wanted["on_change"] == "reload" else ""
            if held:
                module.fail_json(
                    msg=f"{what} cannot be had while {service.name} listens on {held} with the same port. Choose "
                    "another port, or give that one up in a run before. Nothing was changed.",
                )
    if module.check_mode or not changed:
        module.exit_json(**result)

    units = [path for path in transaction.changed if path.startswith(UNIT_DIRECTORY)]
    unit_file = os.path.join(UNIT_DIRECTORY, wanted["name"] or "")
    described = {unit_file, *(entry.path for entry in (service.entries() if service else []))}
    drop_ins = {path for path in transaction.changed if path.startswith(f"{unit_file}.d/")}
    # Only a start takes up a drop-in. A service that came with this collection has nothing to lose before its first.
    fresh = any(not os.path.exists(path) for path in drop_ins) and is_ours(wanted["name"])
    restarts = outdated or fresh or described & {*transaction.changed}
    verb = "restart" if restarts else wanted["on_change"]
    applying, worse = False, ""
    os.makedirs(MARKS, mode=0o700, exist_ok=True)
    with open(mark, "w", encoding="utf-8"):
        pass
    with change_record.ChangeRecord() as notes:
        try:
            take_notes(notes, transaction, accounts, service)
            for path in account_paths - {*transaction.changed}:
                make_accounts(module, path)
            transaction.write()
            if wanted["check"]:
                judge(module)
            if units or (service and cut_off):
                module.run_command(["systemctl", "daemon-reload"], check_rc=True)
            # A service has nothing to take up where only an account was missing, or a secret was open to others: a new
            # one changes the file that has its hash.
            unread = account_paths | {entry.path for entry in secrets.values()}
            if service and ({*transaction.changed} - unread or not settled or cut_off or outdated):
                applying = True
                result["action"] = service.apply(verb, wanted["withdraw"], wanted["ready"], wanted["ready_timeout"])
            if drop_ins and result.get("action") == "reloaded":
                module.warn(
                    f"{', '.join(sorted(drop_ins))} has changed, and {wanted['name']} was only reloaded, because a "
                    f"restart breaks connections. To let it take effect: systemctl restart {wanted['name']}"
                )
        except (Refused, SupervisorError, OSError, LookupError) as error:
            transaction.undo()
            notes.revert()
            # An account that was made is there still.
            for name in filter(is_known, accounts):
                notes.note("account", name)
            if units:
                module.run_command(["systemctl", "daemon-reload"])
            if service:
                # Where no file has changed there is nothing to go back to.
                worse = service.recover(verb if applying and transaction.changed else "")
            os.unlink(mark)
            refused = "The new configuration was refused and every file is as it was before. " * bool(
                transaction.changed
            )
            module.fail_json(msg=readable(f"{refused}{error}{worse}"), files=transaction.changed)
        for path in transaction.absent:
            if notes.notes.get("file", {}).get(path, path) is None:
                notes.forget("file", path)
    os.unlink(mark)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
