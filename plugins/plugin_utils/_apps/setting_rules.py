# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for variables beside ``wsgi_apps`` that a controller can check: conda, the proxy, package repositories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.downloads import packed_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms import repositories as repository_rules
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError


def setting_problems(apps: Any, conda: Any, proxy: Any, repositories: Any, search: list[str]) -> Iterator[str]:
    """Find what cannot work in the variables, and what of them the apps lack."""
    yield from _conda_problems(apps, conda, search)
    try:
        complete(proxy, "python", "main", "python_proxy")
    except DescriptionError as error:
        yield str(error)
    yield from repository_rules.examine(repositories, search)[1]


def _conda_problems(apps: Any, conda: Any, search: list[str]) -> Iterator[str]:
    if not conda:
        for name in _apps_of_conda(apps):
            yield (
                f"app {name}: python.provider is conda, and python_conda is not set; give an installer there (path or "
                "url, and checksum), or take provider: system"
            )
        return
    try:
        whole = complete(conda, "python", "main", "python_conda")
    except DescriptionError as error:
        yield str(error)
        return
    yield from packed_problems("python_conda", {key: whole.get(key) for key in ("path", "url", "checksum")}, search)


def _apps_of_conda(apps: Any) -> Iterator[str]:
    """Yield the names of the apps that want conda, out of a description that may be of any form."""
    for app in apps if isinstance(apps, list) else []:
        python = app.get("python") if isinstance(app, Mapping) else None
        if isinstance(python, Mapping) and python.get("provider") == "conda":
            yield str(app.get("name"))
