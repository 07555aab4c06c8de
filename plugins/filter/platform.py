# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin: the platform of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: platform
short_description: Name the platform of a host, or refuse it
description:
  - Gives the name that the roles' tables use, for example V(Debian 13), V(Ubuntu 24.04), or V(EL 9) for CentOS Stream,
    Rocky, Alma, RHEL and their like.
  - A platform that is not supported is an error with the list of those that are.
positional: what, role, row
options:
  _input:
    description: The facts of the host.
    type: dict
    required: true
  what:
    description: >-
      The name, the family alone (V(Debian) or V(RedHat)), the Python version that V(auto) means there, or the row of
      a role's table.
    type: str
    choices: [name, family, python, row]
    default: name
  role:
    description: The role whose table C(__ROLE_platforms) has the row. Its rows have names of platforms or of families.
    type: str
    default: ""
  row:
    description: A row that counts for every platform, if the table has one of this name.
    type: str
    default: ""
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show the platform
  ansible.builtin.debug:
    msg: "{{ ansible_facts | baremetal.web.platform }}"

- name: Show the user that runs Apache httpd
  ansible.builtin.debug:
    msg: "{{ (ansible_facts | baremetal.web.platform('row', 'apache')).user }}"
"""

RETURN = r"""
_value:
  description: The name, the family, the version, or the row.
  type: raw
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.platform_names import (
    SUPPORTED,
    PlatformError,
    describe,
    row_of,
)


def platform(facts: Mapping[str, Any], what: str = "name", role: str = "", row: str = "") -> Any:
    """Return the name of the platform, or what is asked of it."""
    try:
        found = describe(facts)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error
    if what == "row":
        return row_of(role, (row, found, facts["os_family"]))
    return {"name": found, "family": facts["os_family"], "python": SUPPORTED[found]["auto"]}[what]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"platform": platform}
