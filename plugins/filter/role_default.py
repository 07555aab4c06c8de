# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the default of a role's variable."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_default
short_description: Tell the default of a role's variable
description: For plays that use a variable of a role without running it, which alone brings its defaults into sight.
positional: role
options:
  _input:
    description: Name of the variable.
    type: str
    required: true
  role:
    description: Role of this collection.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options


def role_default(name: str, role: str) -> Any:
    """Return the default as the role's argument spec has it."""
    return role_options(role)[name]["default"]


class FilterModule:
    """The filter C(role_default)."""

    def filters(self) -> dict[str, Any]:
        return {"role_default": role_default}
