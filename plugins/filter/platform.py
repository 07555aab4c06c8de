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

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import read_role

# Those that the role python has packages for.
SUPPORTED = read_role("python", "vars", "main.yml")["__python_platforms"]


class PlatformError(ValueError):
    """The platform is not supported; the text says which are."""


def name(facts: Mapping[str, Any]) -> str:
    """Return for example C(Debian 13), C(Ubuntu 24.04), or C(EL 9) for every distribution of the RHEL family."""
    if "os_family" not in facts:
        raise PlatformError(
            "The facts of this host are missing. The play did not gather them. Set gather_facts: true in the play."
        )
    if facts["os_family"] == "RedHat":
        return f"EL {facts['distribution_major_version']}"
    # Ubuntu goes by its whole version.
    version = "distribution_version" if facts["distribution"] == "Ubuntu" else "distribution_major_version"
    return f"{facts['distribution']} {facts[version]}"


def row_of(role: str, names: Iterable[str]) -> Any:
    """Return the first of these rows that the table of a role has."""
    table = read_role(role, "vars", "main.yml")[f"__{role}_platforms"]
    return next(table[name] for name in names if name in table)


def describe(facts: Mapping[str, Any]) -> str:
    """Return the name of the platform; raise PlatformError for one that is not supported."""
    found = name(facts)
    if found not in SUPPORTED:
        own = f"{facts['distribution']} {facts['distribution_version']}"
        raise PlatformError(f"{own} is not supported. Supported: {', '.join(SUPPORTED)} (EL: the RHEL family).")
    return found


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
