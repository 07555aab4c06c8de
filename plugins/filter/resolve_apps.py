# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: wsgi_apps with nothing left to guess."""

from __future__ import annotations

DOCUMENTATION = r"""
name: resolve_apps
short_description: Resolve wsgi_apps
description:
  - Applies the defaults of the argument spec of the role C(baremetal.web.wsgi), and derives paths, users and worker
    counts. The rest is written as the roles C(supervisor) and C(nginx) read it.
positional: inventory_directory
extends_documentation_fragment:
  - baremetal.web.apps
  - baremetal.web.apps.search
  - baremetal.web.apps.names
options:
  root:
    description: Directory below which each app has its home; the role's default when not given.
    type: path
  cpus:
    description: Processors of the host.
    type: int
    required: true
  memory:
    description: Memory of the host in MiB.
    type: int
    required: true
  machine:
    description: Kind of the host's processors, for example V(x86_64).
    type: str
    required: true
  python:
    description: The Python version that V(auto) means on the host.
    type: str
    required: true
  conda:
    description: The dictionary C(python_conda) of the host.
    type: dict
  open_files:
    description: How many files supervisord of the host may open, where that is known.
    type: int
  environment:
    description: Whether the apps come with their environment variables, which may be secret.
    type: bool
    default: true
  checked:
    description: >-
      The result of the filter P(baremetal.web.check_apps#filter) in this run. The same description is then not examined
      once more.
    type: dict
  earlier:
    description: An earlier result of this filter in this run. It is returned again for the same input.
    type: dict
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import fingerprint, resolve
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import whole_number
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options


def resolve_apps(
    apps: Any,
    inventory_directory: str | None = None,
    *,
    names: list[str],
    cpus: int,
    memory: int,
    machine: str,
    python: str,
    root: str | None = None,
    conda: dict[str, Any] | None = None,
    open_files: int | None = None,
    environment: bool = True,
    checked: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """Return C(apps), C(users), C(proxy) and C(fingerprint)."""
    host = {
        "root": root or role_options("wsgi")["wsgi_root"]["default"],
        "names": names,
        "cpus": cpus,
        "memory": memory,
        "machine": machine,
        "python": python,
        "conda": conda,
        "open_files": whole_number(open_files),
        "search": search_path(inventory_directory),
    }
    same = fingerprint(apps, host, environment)
    if earlier and earlier.get("fingerprint") == same:
        return earlier
    try:
        resolved = resolve(apps, **host, checked=checked)
    except DescriptionError as error:
        raise AnsibleFilterError(f"wsgi_apps cannot be resolved: {error}") from error
    if not environment:
        for app in resolved["apps"]:
            app["program"]["environment"] = {}
        # Of an environment that is left out, a digest would let guesses be tried.
        return resolved
    return {**resolved, "fingerprint": same}


class FilterModule:
    """The filter C(resolve_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"resolve_apps": resolve_apps}
