# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: roles of this collection in words, which also reads them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: roles_text
short_description: Name roles of this collection in words
description:
  - Reads the files of the roles as well, and compiles their templates. In the name of a task, this happens once for
    all hosts, in the process that those for the hosts come from.
options:
  _input:
    description: Names of roles of this collection.
    type: list
    elements: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Ask whether a host is as {{ ['python', 'wsgi'] | baremetal.web.roles_text }} want it
  baremetal.web.survey:
    roles: [python, wsgi]
"""

RETURN = r"""
_value:
  description: The names, with commas and C(and).
  type: str
"""

from typing import Any

from jinja2 import Environment, pass_environment

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.wanted_parts import preload


@pass_environment
def roles_text(environment: Environment, roles: list[str]) -> str:
    """Return the names."""
    preload(environment, roles)
    return " and ".join(filter(None, (", ".join(roles[:-1]), roles[-1] if roles else "")))


class FilterModule:
    """The filter C(roles_text)."""

    def filters(self) -> dict[str, Any]:
        return {"roles_text": roles_text}
