# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what apps need of the other roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: app_needs
short_description: Tell which versions of Python and which web server apps need
description: Takes the apps as they are described, so it needs no facts of the host.
extends_documentation_fragment:
  - baremetal.web.apps
author: The baremetal.web authors (@baremetal-web)
"""

RETURN = r"""
_value:
  description: The needs that the other roles meet.
  type: dict
  contains:
    python_versions:
      description: >-
        The versions of the platform's packages, each once, with V(auto) for the platform's own, which a host always
        has.
      type: list
      elements: str
    conda_versions:
      description: The versions that come from conda, each once.
      type: list
      elements: str
    proxy:
      description: The web server, which is the same for all apps of a host; V(nginx) where there is no app.
      type: str
"""

from typing import Any


def app_needs(apps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return C(python_versions), C(conda_versions) and C(proxy)."""
    pythons = [app.get("python", {}) for app in apps]
    wanted = {(python.get("provider", "system"), str(python.get("version", "auto"))) for python in pythons}
    return {
        "python_versions": sorted({version for provider, version in wanted if provider == "system"} | {"auto"}),
        "conda_versions": sorted(version for provider, version in wanted if provider == "conda"),
        "proxy": next((app.get("site", {}).get("proxy", "nginx") for app in apps), "nginx"),
    }


class FilterModule:
    """The filter C(app_needs)."""

    def filters(self) -> dict[str, Any]:
        return {"app_needs": app_needs}
