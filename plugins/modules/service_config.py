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
  - The host's change record keeps the state before, so that removal can restore it.
  - One task and one round trip in place of a task for each file and handlers that are lost when a play fails.
options:
  name:
    description: The systemd unit; without it only files are written and checked.
    type: str
  manager:
    description:
      - The manager of the service, V(systemd), or V(supervisor) with a program in the place of the unit, of the same
        name without its suffix. The unit or program of the other manager ends when this one takes over.
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
          The treatment of a file that is neither as its package installed it nor written by this collection, and that
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
      Files with random letters and digits that the host makes once and keeps, and that never leave it. Their mode is
      0600, or 0640 for a group.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name by which O(secret_files) refer to it.
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
      Command and arguments that judge the configuration on the host, or take it up where there is no service. It runs
      after any change, before the change is applied.
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
    description: Lines that must not stand in files of others; searched before anything is written.
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
        description: The sentence about it; the name of the file comes first.
        type: str
        required: true
  accounts:
    description: >-
      Users, and groups of the same name, that O(account_files) or O(check) bring about where they are not there yet.
    type: list
    elements: str
    default: []
  on_change:
    description: The way in which a running service takes up a change. A change of its unit file means a restart.
    type: str
    choices: [reload, restart]
    default: reload
  restart_if_newer:
    description: Files; a running service that was started before one of them was put there is restarted.
    type: list
    elements: path
    default: []
    aliases: [newer]
  drain:
    description: >-
      Units that stop before a restart and start again when the service is ready. A load balancer in front of this
      host so sends its requests to another host meanwhile.
    type: list
    elements: str
    default: []
    aliases: [withdraw]
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
      - So is a change between all addresses of a port and one of them where the service is only reloaded. It could not
        listen on the new one while it has the old one.
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
  description: The action on the service.
  type: str
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.service_config import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
