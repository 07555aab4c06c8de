# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the hosts that a survey did not find as wanted."""

from __future__ import annotations

DOCUMENTATION = r"""
name: not_as_wanted
short_description: Choose the hosts that no survey found as wanted
description:
  - For C(hosts) of a play. With C(meta) in its place, each host that is left would have a line of its own.
positional: answers
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  answers:
    description: >-
      C(hostvars), with the result of M(baremetal.web.survey) in C(__site_survey). It is empty where Ansible only lists
      hosts or tasks.
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Change the hosts that are not as wanted
  hosts: "{{ groups['all'] | baremetal.web.not_as_wanted(hostvars | default({})) or '!all' }}"
"""

RETURN = r"""
_value:
  description: The names of those that were not asked, or differ.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.surveyed import ANSWER


def not_as_wanted(hosts: list[str], answers: Mapping[str, Any]) -> list[str]:
    """Return the names."""
    return [host for host in hosts if not answers or not answers[host].get(ANSWER, {}).get("as_wanted")]


class FilterModule:
    """The filter C(not_as_wanted)."""

    def filters(self) -> dict[str, Any]:
        return {"not_as_wanted": not_as_wanted}
