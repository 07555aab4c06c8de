# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what cannot work in wsgi_apps."""

from __future__ import annotations

DOCUMENTATION = r"""
name: app_problems
short_description: List what cannot work in wsgi_apps
description:
  - Checks types and keys against the argument spec of the role C(baremetal.web.wsgi), then the relations between
    values, then the sources and their requirements, without asking any host. A source that cannot be reached is left
    to the release.
positional: inventory_directory
options:
  wheelhouse:
    description: The directory C(python_wheelhouse) of the hosts, which then ask no address; empty for none.
    type: str
    default: ""
  open_files:
    description: How many files supervisord of the host may open, where that is known.
    type: int
extends_documentation_fragment:
  - baremetal.web.apps
  - baremetal.web.apps.search
  - baremetal.web.apps.names
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from jinja2 import Undefined

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sources import source_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path


def app_problems(
    apps: Any,
    inventory_directory: str | None = None,
    *,
    names: list[str],
    wheelhouse: str = "",
    open_files: int | None = None,
) -> list[str]:
    """Return one sentence for each problem, none when all is well."""
    if isinstance(apps, Undefined):  # up to ansible-core 2.18, of a value with something undefined in it
        str(apps)  # which raises what is undefined
    search = search_path(inventory_directory)
    completed, problems = examine(apps, search, names, open_files)
    return problems or [
        problem for app in completed for problem in source_problems(app, search, offline=bool(wheelhouse))
    ]


class FilterModule:
    """The filter C(app_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"app_problems": app_problems}
