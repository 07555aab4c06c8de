# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what became of apps whose last hook failed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: reverted_apps
short_description: Say what became of the apps of a host whose last hook for the whole fleet failed
description: Returns what was known to be wrong, and a sentence more for each of these apps.
positional: failed, reasons
options:
  _input:
    description: The result of the task that rolled them back.
    type: dict
    required: true
  failed:
    description: The known problem of each app, by its name.
    type: dict
    required: true
  reasons:
    description: Why each of the apps was rolled back.
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

import re
from collections.abc import Mapping
from typing import Any


def reverted_apps(
    registered: Mapping[str, Any], failed: Mapping[str, str], reasons: Mapping[str, str]
) -> dict[str, str]:
    """Return the sentences by app."""
    said = {result["item"]: _sentence(result, reasons[result["item"]]) for result in registered["results"]}
    # The hook's own message says what was live when it failed.
    known = {app: re.sub(r"\n(The live release is|No release is live).*$", "", text) for app, text in failed.items()}
    return {**failed, **{app: "\n".join(filter(None, (known.get(app), text))) for app, text in said.items()}}


def _sentence(result: Mapping[str, Any], reason: str) -> str:
    if result.get("failed"):
        return f"app {result['item']} is to be rolled back, because {reason}. The rollback failed: {result.get('msg')}"
    live = f"The live release is {result['release']}." if result["release"] else "No release is live."
    return f"app {result['item']} was rolled back, because {reason}. {live}"


class FilterModule:
    """The filter C(reverted_apps)."""

    def filters(self) -> dict[str, Any]:
        return {"reverted_apps": reverted_apps}
