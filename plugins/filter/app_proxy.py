# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the web server that apps want in front of them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: app_proxy
short_description: Tell which web server apps want in front of them
description: The same for all apps of a host, V(nginx) where there is none.
extends_documentation_fragment:
  - baremetal.web.apps
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any


def app_proxy(apps: list[dict[str, Any]]) -> str:
    """Return its name."""
    return next((app.get("site", {}).get("proxy", "nginx") for app in apps), "nginx")


class FilterModule:
    """The filter C(app_proxy)."""

    def filters(self) -> dict[str, Any]:
        return {"app_proxy": app_proxy}
