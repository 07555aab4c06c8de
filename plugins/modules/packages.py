#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: package repositories and packages."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Bring package repositories and packages to a wanted state
description:
  - Uses the distribution's own commands (apt-get, dnf), so no Python bindings of theirs are needed, whichever Python
    Ansible runs with on the host.
  - No index is refreshed when nothing is lacking. Recommended packages are not installed; configuration files that
    somebody changed stay.
  - The host's change record names all that is newly installed or written, so that removal can undo it.
options:
  names:
    description: Packages, by the names that the distribution gives them.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(latest) upgrades the packages and those that came with them; repositories are refreshed for that.
      - V(absent) removes exactly O(names), the repositories named in O(repositories) and O(streams) as far as the
        change record says that they came with this collection. A package that another one needs stays.
    type: str
    choices: [present, latest, absent]
    default: present
  repositories:
    description: Repositories to add; others of the host stay as they are.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the repository; its files are called C(baremetal-web-NAME).
        type: str
        required: true
      url:
        description: Its address, without a login. dnf's variables such as C($basearch) may be used.
        type: str
        required: true
      suites:
        description: Suites (apt).
        type: list
        elements: str
        default: []
      components:
        description: Components (apt).
        type: list
        elements: str
        default: []
      key:
        description: Text of the OpenPGP keys that it is signed with; without it, those that the distribution trusts.
        type: str
      signature:
        description: Whether its packages or its index is signed (dnf; apt's repositories always sign the index).
        type: str
        choices: [packages, index]
        default: packages
      preferred:
        description: >-
          Whether its packages are taken before those of other repositories, even where these are newer, and whichever
          module streams are enabled.
        type: bool
        default: false
      username:
        description: Login, where it needs one.
        type: str
      password:
        description: Password of the login.
        type: str
  exclusive:
    description: Whether packages come from O(repositories) alone, in this call.
    type: bool
    default: false
  refused_with:
    description: Packages that would be replaced; where one of them is installed, nothing is changed, and that is said.
    type: list
    elements: str
    default: []
  streams:
    description: Module streams to enable (dnf), for example V(nginx:1.24).
    type: list
    elements: str
    default: []
  cache_seconds:
    description: Age up to which an index of packages is good enough.
    type: int
    default: 86400
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows what would be installed. While a repository is not there yet, its packages are shown by name.
    support: full
  diff_mode:
    description: Shows packages with their versions, and files of repositories.
    support: full
"""

EXAMPLES = r"""
- name: Install curl from the company's mirror and nowhere else
  baremetal.web.packages:
    names: [curl]
    exclusive: true
    repositories:
      - name: mirror
        url: http://mirror.example.com/debian
        suites: [trixie]
        components: [main]
"""

RETURN = r"""
installed:
  description: Newly installed packages with their versions, dependencies included.
  type: dict
  returned: always
removed:
  description: Removed packages with their versions.
  type: dict
  returned: always
upgraded:
  description: Upgraded packages, each with its previous and its new version.
  type: dict
  returned: always
kept:
  description: Packages that were to be removed and that others need.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.packages import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
