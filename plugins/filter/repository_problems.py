# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what cannot work in packages_repositories."""

from __future__ import annotations

DOCUMENTATION = r"""
name: repository_problems
short_description: List what cannot work in packages_repositories
description: Checks types, keys and key files on the controller, without asking any host.
positional: inventory_directory
options:
  _input:
    description: The list C(packages_repositories).
    type: list
    elements: dict
    required: true
extends_documentation_fragment:
  - baremetal.web.apps.search
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.repositories import examine


def repository_problems(repositories: Any, inventory_directory: str | None = None) -> list[str]:
    """Return one sentence for each problem, none when all is well."""
    return examine(repositories, search_path(inventory_directory))[1]


class FilterModule:
    """The filter C(repository_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"repository_problems": repository_problems}
