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
positional: what
options:
  _input:
    description: The facts of the host.
    type: dict
    required: true
  what:
    description: The name, the family alone (V(Debian) or V(RedHat)), or the Python version that V(auto) means there.
    type: str
    choices: [name, family, python]
    default: name
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show the platform
  ansible.builtin.debug:
    msg: "{{ ansible_facts | baremetal.web.platform }}"
"""

RETURN = r"""
_value:
  description: The name, the family or the version.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.platforms import (
    SUPPORTED,
    PlatformError,
    describe,
)


def platform(facts: Mapping[str, Any], what: str = "name") -> str:
    """Return the name of the platform, or what is asked of it."""
    try:
        found = describe(facts)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error
    answers = {"name": found, "family": facts["os_family"], "python": SUPPORTED[found]["auto"]}
    return answers[what]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"platform": platform}
