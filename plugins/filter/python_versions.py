# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the Python versions that apps want."""

from __future__ import annotations

DOCUMENTATION = r"""
name: python_versions
short_description: List the Python versions that apps want
description: Each version once, with V(auto) for the platform's own, which a host always has.
positional: provider
options:
  provider:
    description: Where they come from.
    type: str
    choices: [system, conda]
    default: system
extends_documentation_fragment:
  - baremetal.web.apps
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any


def python_versions(apps: list[dict[str, Any]], provider: str = "system") -> list[str]:
    """Return the wanted versions."""
    pythons = [app.get("python", {}) for app in apps]
    wanted = {str(python.get("version", "auto")) for python in pythons if python.get("provider", "system") == provider}
    return sorted(wanted | ({"auto"} if provider == "system" else set()))


class FilterModule:
    """The filter C(python_versions)."""

    def filters(self) -> dict[str, Any]:
        return {"python_versions": python_versions}
