# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the host that does what one host does for all."""

from __future__ import annotations

DOCUMENTATION = r"""
name: first_to_release
short_description: Name the first host on which a release of an app is to go live
description: Hosts on which the wanted release is live already, well or not, do not count. Empty when there is none.
positional: answers, app
extends_documentation_fragment: [baremetal.web.apps.hosts]
options:
  answers:
    description: The variables of the hosts, with the fact C(wsgi_staged) of the role C(baremetal.web.wsgi).
    type: dict
    required: true
  app:
    description: Name of the app.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from collections.abc import Mapping
from typing import Any


def first_to_release(hosts: list[str], answers: Mapping[str, Any], app: str) -> str:
    """Return the host's name."""
    for host in hosts:
        staged = answers[host].get("wsgi_staged", {}).get(app)
        if staged and staged["current"] != staged["release"]:
            return host
    return ""


class FilterModule:
    """The filter C(first_to_release)."""

    def filters(self) -> dict[str, Any]:
        return {"first_to_release": first_to_release}
