# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that read the typed descriptions of the collection."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.web.plugins.plugin_utils.apps import AppsError, examine, resolve, search_path, with_defaults



def app_problems(apps: Any, inventory_directory: str | None = None) -> list[str]:
    """List, one sentence each, what cannot work in wsgi_apps."""
    return examine(apps, search_path(inventory_directory))[1]


def resolve_apps(apps: Any, inventory_directory: str | None = None, **context: Any) -> dict[str, Any]:
    """Return the apps, their sites and their users, with nothing left to guess."""
    return resolve(apps, search=search_path(inventory_directory), **context)


def python_versions(apps: list[dict[str, Any]]) -> list[str]:
    """List the Python versions that the apps want, each once."""
    return sorted({str(app.get("python", {}).get("version", "auto")) for app in apps} | {"auto"})


def _raising(function):
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AppsError as error:
            raise AnsibleFilterError(str(error)) from error

    return call


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Any]:
        return {
            "app_problems": app_problems,
            "python_versions": python_versions,
            "resolve_apps": _raising(resolve_apps),
            "with_defaults": _raising(with_defaults),
        }
