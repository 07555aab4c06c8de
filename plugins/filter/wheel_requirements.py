# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the requirements files of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wheel_requirements
short_description: List every requirements file that a host installs
description:
  - Those are the files of the tool environment, of supervisord, of the apps' servers, and of the apps themselves.
  - Each has its text and the Python version that it is for. The sources of the apps are read on the controller.
positional: inventory_directory
extends_documentation_fragment:
  - baremetal.web.apps
  - baremetal.web.apps.search
author: The baremetal.web authors (@baremetal-web)
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import servers
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sources import (
    app_requirements,
    open_app,
    wants_packages,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.requirements import REQUIREMENTS
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT

STACK = ("python/files/tools.txt", "supervisor/files/requirements.txt")


def wheel_requirements(apps: Any, inventory_directory: str | None = None) -> list[dict[str, str]]:
    """Return name, text and version of each file."""
    search = search_path(inventory_directory)
    completed, problems = examine(apps, search, [])
    if problems:
        raise AnsibleFilterError("\n".join(problems))
    files = [{"name": name, "text": _read(name), "version": "auto"} for name in STACK]
    return files + [file for app in completed for file in _of_app(app, search)]


def _of_app(app: Mapping[str, Any], search: list[str]) -> Iterator[dict[str, str]]:
    python = app["python"]
    lock = servers().variant(app["server"]["kind"], app["server"]["worker_class"], app["interface"])["lock"]
    yield {"name": lock, "text": _read(f"wsgi/files/servers/{lock}"), "version": python["version"]}
    if wants_packages(python):
        with open_app(app, search) as tree:
            try:
                text = app_requirements(tree, python, offline=True).files()[REQUIREMENTS]
            except AnsibleError as error:
                raise AnsibleFilterError(f"app {app['name']}: {error}") from None
        name = f"app {app['name']}, {python['requirements_path'] or python['requirements']}"
        yield {"name": name, "text": text, "version": python["version"]}


def _read(name: str) -> str:
    with open(os.path.join(COLLECTION_ROOT, "roles", name), encoding="utf-8") as stream:
        return stream.read()


class FilterModule:
    """The filter C(wheel_requirements)."""

    def filters(self) -> dict[str, Any]:
        return {"wheel_requirements": wheel_requirements}
