# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what cannot work in python_conda."""

from __future__ import annotations

DOCUMENTATION = r"""
name: conda_problems
short_description: List what cannot work in python_conda
description: Checks it, and whether the apps need it, on the controller, without asking any host.
positional: apps, inventory_directory
options:
  _input:
    description: The dictionary C(python_conda).
    type: dict
    required: true
  apps:
    description: The list C(wsgi_apps).
    type: list
    elements: dict
    required: true
extends_documentation_fragment:
  - baremetal.web.apps.search
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.downloads import packed_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError


def conda_problems(conda: Any, apps: Any, inventory_directory: str | None = None) -> list[str]:
    """Return one sentence for each problem, none when all is well."""
    if not conda:
        wanting = [str(app.get("name")) for app in apps or [] if (app.get("python") or {}).get("provider") == "conda"]
        return [
            f"app {name}: python.provider is conda, and python_conda is not set; give an installer there (path or url, "
            "and checksum), or take provider: system"
            for name in wanting
        ]
    try:
        whole = complete(conda, "python", "main", "python_conda")
    except DescriptionError as error:
        return [str(error)]
    packed = {key: whole.get(key) for key in ("path", "url", "checksum")}
    return list(packed_problems("python_conda", packed, search_path(inventory_directory)))


class FilterModule:
    """The filter C(conda_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"conda_problems": conda_problems}
