# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: a typed dictionary with its role's defaults."""

from __future__ import annotations

DOCUMENTATION = r"""
name: with_defaults
short_description: Complete a typed dictionary
description: Ansible does not apply the defaults of nested options of a role's argument spec; this does.
positional: role, entry_point, option
options:
  _input:
    description: The dictionary.
    type: dict
    required: true
  role:
    description: Role of this collection.
    type: str
    required: true
  entry_point:
    description: Its entry point.
    type: str
    required: true
  option:
    description: Its option that describes the dictionary.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError


def with_defaults(value: dict[str, Any], role: str, entry_point: str, option: str) -> dict[str, Any]:
    """Return the completed dictionary."""
    try:
        return complete(value, role, entry_point, option)
    except DescriptionError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter C(with_defaults)."""

    def filters(self) -> dict[str, Any]:
        return {"with_defaults": with_defaults}
