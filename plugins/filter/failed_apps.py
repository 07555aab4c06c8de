# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which items of a loop over apps failed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: failed_apps
short_description: Tell which apps failed in a loop over apps, and why
description: Returns the message of each; an error when the loop itself could not begin.
options:
  _input:
    description: The result that the task registered.
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def failed_apps(registered: Mapping[str, Any]) -> dict[str, str]:
    """Return the messages by app."""
    if "results" not in registered:
        raise AnsibleFilterError(str(registered.get("msg", "it failed without a reason")))
    return {
        result["item"]: str(result.get("msg", "it failed without a reason"))
        for result in registered["results"]
        if result.get("failed")
    }


class FilterModule:
    """The filter C(failed_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"failed_apps": failed_apps}
