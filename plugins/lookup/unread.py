# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: what of the command line nothing reads."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unread
short_description: List names that are meant to steer a playbook and are read by nothing
description:
  - Gives a sentence for each name of the command line (C(-e)) that is nearly a word of a playbook or a variable of a
    role.
  - The playbooks and roles are those of this collection. A word that another playbook reads gets a sentence, too.
  - A name that a variable of the inventory or a playbook of yours uses is your own.
  - A word whose value cannot be what it should be, such as C(redeploy=maybe), is in the list as well.
options:
  _terms:
    description: Nothing.
    type: list
    elements: str
  settings:
    description: >-
      Whether the variables of this host that are nearly a variable of a role are said by a warning, too.
    type: bool
    default: false
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Refuse what nothing reads
  ansible.builtin.assert:
    that: query('baremetal.web.unread') == []
"""

RETURN = r"""
_raw:
  description: One sentence for each name; none when all is well.
  type: list
  elements: str
"""

from typing import Any

from ansible import context
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.command_line import (
    ALL_WORDS,
    setting_problems,
    value_problems,
    word_problems,
)


class LookupModule(LookupBase):
    """Compare what is said with what is read."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        said = load_extra_vars(self._loader)
        known = variables or {}
        hosts = known["hostvars"]
        if self.get_option("settings"):
            for problem in setting_problems(hosts.raw_get(known["inventory_hostname"]), said):
                Display().warning(problem)
        # Raw, and read only where something is suspect.
        inventory = (hosts.raw_get(host) for host in hosts)
        playbooks = context.CLIARGS.get("args") or ()
        values = {name: self._templar.template(value) for name, value in said.items() if name in ALL_WORDS}
        return [*word_problems(said, playbooks, inventory), *value_problems(values, playbooks)]
