#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: ask a host once whether all that roles want is there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: survey
short_description: Ask a host once whether it is as the roles of this collection want it
description:
  - The controller reads the tasks of the roles, with the variables of the host, and makes one question of them. The
    host answers it in one process, with the code of the modules that these tasks call, in check mode.
  - Every part is looked at. No note of an earlier run is taken in its place.
  - The host looks at the parts in the order of the tasks, and stops at the first one that is not as wanted. The tasks
    of the parts before that one then ask nothing more in this run.
  - Where a task would show a message or fail, or cannot be read in this way, the host is not as wanted. All tasks run
    then.
options:
  roles:
    description: Names of the roles of this collection, in the order in which they run.
    type: list
    elements: str
    default: []
  tasks:
    description: Task files in C(playbooks/tasks) of this collection that run before the roles, without their suffix.
    type: list
    elements: str
    default: []
  parts:
    description: The question; set by the action.
    type: str
    default: ""
  apps:
    description: Names of the apps whose slots are to be told; set by the action.
    type: list
    elements: str
    default: []
  root:
    description: Directory below which each app has its home; set by the action.
    type: path
    default: /srv/wsgi
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask each host whether it is as wanted
  baremetal.web.survey:
    roles: [python, supervisor, nginx, wsgi]
  register: __site_survey
"""

RETURN = r"""
ansible_facts:
  description: The facts that the module M(baremetal.web.host_facts) gives, unless they were there.
  type: dict
  returned: when the host was asked
as_wanted:
  description: Whether nothing is to be done.
  type: bool
  returned: always
msg:
  description: One line that says whether the host is as wanted, and what is not.
  type: str
  returned: always
compared:
  description: The tasks whose parts were looked at; with C(-v).
  type: list
  elements: str
  returned: with C(-v)
parts:
  description: The host's answer to each part that is as wanted, by a digest that only this run can make.
  type: dict
  returned: always
orphans:
  description: The result of the module M(baremetal.web.app_info) for apps without a description.
  type: dict
  returned: when the host was asked
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.modules.survey import ARGUMENTS, work


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
