#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: how the apps of a host are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_info
short_description: Gather how the apps of a host are
description:
  - Reads the live release, its programs and their health, who holds the lock, whether nginx runs, and whether it
    publishes the app. Changes nothing.
  - Goes by what is on the host alone, so it needs no description of an app.
options:
  apps:
    description: Names of the apps.
    type: list
    elements: str
    required: true
  described:
    description: >-
      Names of all apps that the host is to have. An app that the host has and that is not among them gets a row after
      those of O(apps). Without it there are no such rows.
    type: list
    elements: str
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  timeout:
    description: Seconds to wait for apps that are not healthy yet.
    type: int
    default: 0
    aliases: [patience]
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same.
    support: full
"""

EXAMPLES = r"""
- name: Ask
  baremetal.web.app_info:
    apps: [shop]

- name: Ask for apps that are no longer described
  baremetal.web.app_info:
    apps: []
    described: [shop]
"""

RETURN = r"""
rows:
  description: >-
    One row for each app, with C(app), C(release), C(version), C(commit), C(since), C(program), C(nginx) and C(health).
    C(warm) is the standby release while it runs, C(disk) the bytes that all releases use, and C(lock) the holder of the
    lock and the reason. C(slots) says how the web server was told to reach each slot, and C(published) whether it leads
    to the app. C(described) says whether the app is among O(described).
  type: list
  elements: dict
  returned: always
described:
  description: O(described) itself, by which an answer can be kept for one description.
  type: list
  elements: str
  returned: when O(described) is given
databases:
  description: Units of the databases that this collection has brought to the host.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.modules.app_info import ARGUMENTS, work


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
