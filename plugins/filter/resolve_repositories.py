# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: package repositories, checked and completed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: resolve_repositories
short_description: Complete packages_repositories for a host
description:
  - Checks the repositories against the argument spec of the role C(baremetal.web.packages), and their key files
    against the fingerprints. Repositories for hosts of another family are left out.
positional: facts, inventory_directory
options:
  _input:
    description: The list C(packages_repositories).
    type: list
    elements: dict
    required: true
  facts:
    description: Facts of the host.
    type: dict
    required: true
extends_documentation_fragment:
  - baremetal.web.apps.search
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.repositories import RepositoriesError, resolve


def resolve_repositories(
    repositories: Any, facts: Mapping[str, Any], inventory_directory: str | None = None
) -> list[dict[str, Any]]:
    """Return the repositories of the host in the words of the module packages."""
    try:
        return resolve(repositories, facts, search_path(inventory_directory))
    except RepositoriesError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter C(resolve_repositories)."""

    def filters(self) -> dict[str, Any]:
        return {"resolve_repositories": resolve_repositories}
