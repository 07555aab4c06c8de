# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the error pages of a site as files for the host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: error_pages
short_description: The error pages of a site as files for the host
description: Reads the pages on the controller, and gives each a name that no other site's has.
positional: inventory_directory
extends_documentation_fragment:
  - baremetal.web.apps.search
options:
  _input:
    description: Error pages, as in C(nginx_site.error_pages).
    type: list
    elements: dict
    required: true
  directory:
    description: Where the pages stand on the host.
    type: path
    required: true
  owner:
    description: First part of their names.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

import os
import re
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.apps import find_path, search_path


def error_pages(
    pages: list[dict[str, Any]], inventory_directory: str | None = None, *, directory: str, owner: str
) -> list[dict[str, Any]]:
    """Return C(codes), C(name) and C(file) of each page."""
    search = search_path(inventory_directory)
    return [_page(page, search, directory, owner) for page in pages]


def _page(page: dict[str, Any], search: list[str], directory: str, owner: str) -> dict[str, Any]:
    found = find_path(page["path"], search)
    try:
        with open(found or page["path"], encoding="utf-8") as stream:
            content = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise AnsibleFilterError(
            f"error_pages: {page['path']} cannot be read as text on the controller: {error}"
        ) from error
    ending = os.path.splitext(page["path"])[1]
    name = f"{owner}@{page['codes'][0]}{ending if re.fullmatch('[.][A-Za-z0-9]+', ending) else '.html'}"
    return {"codes": page["codes"], "name": name, "file": {"path": os.path.join(directory, name), "content": content}}


class FilterModule:
    """The filter C(error_pages)."""

    def filters(self) -> dict[str, Any]:
        return {"error_pages": error_pages}
