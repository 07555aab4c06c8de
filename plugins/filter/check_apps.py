# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the description of a host, examined."""

from __future__ import annotations

DOCUMENTATION = r"""
name: check_apps
short_description: Examine the description of a host
description:
  - Checks types and keys of C(wsgi_apps) against the argument spec of the role C(baremetal.web.wsgi).
  - Then it checks the relations between values, the sources with their requirements, and the variables that the options
    name.
  - No host is asked. A source that cannot be reached is left to the release.
  - The result may hold secrets, so a task that keeps it needs C(no_log).
positional: inventory_directory
options:
  wheelhouse:
    description: The directory C(python_wheelhouse) of the hosts, which then ask no address; empty for none.
    type: str
    default: ""
  open_files:
    description: How many files supervisord of the host may open, where that is known.
    type: int
  conda:
    description: The dictionary C(python_conda) of the host.
    type: dict
  proxy:
    description: The dictionary C(python_proxy) of the host.
    type: dict
    default: {}
  repositories:
    description: The list C(packages_repositories) of the host.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - baremetal.web.apps
  - baremetal.web.apps.search
  - baremetal.web.apps.names
author: The baremetal.web authors (@baremetal-web)
"""

RETURN = r"""
_value:
  description: The result of the check, for the filter P(baremetal.web.resolve_apps#filter).
  type: dict
  contains:
    problems:
      description: One sentence for each problem, none when all is well.
      type: list
      elements: str
    apps:
      description: The apps with all defaults, none where there is a problem.
      type: list
      elements: dict
    fingerprint:
      description: Tells whether something is the same description.
      type: str
"""

from typing import Any

from jinja2 import Undefined

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine, fingerprint
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.setting_rules import setting_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sources import source_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain, whole_number

# Never changed. An inventory that has no value there is refused, so these are no None.
_NO_PROXY: dict[str, Any] = {}
_NO_REPOSITORIES: list[Any] = []


def check_apps(  # pylint: disable=dangerous-default-value
    apps: Any,
    inventory_directory: str | None = None,
    *,
    names: list[str],
    wheelhouse: str = "",
    open_files: int | None = None,
    conda: Any = None,
    proxy: Any = _NO_PROXY,
    repositories: Any = _NO_REPOSITORIES,
) -> dict[str, Any]:
    """Return C(problems), C(apps) and C(fingerprint)."""
    if isinstance(apps, Undefined):  # up to ansible-core 2.18, of a value with something undefined in it
        str(apps)  # which raises what is undefined
    search = search_path(inventory_directory)
    most, told = whole_number(open_files), open_files not in (None, "", "None")
    completed, problems = examine(apps, search, names, most)
    if not problems:
        problems = [problem for app in completed for problem in source_problems(app, search, offline=bool(wheelhouse))]
    if told and most is None:
        problems.append(f"supervisor_open_files is {plain(open_files)!r}; it must be a whole number, such as 4096")
    problems += setting_problems(apps, conda or {}, proxy, repositories, search)
    return {
        "problems": problems,
        "apps": [] if problems else completed,
        "fingerprint": fingerprint(apps, search, names, most),
    }


class FilterModule:
    """The filter C(check_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"check_apps": check_apps}
