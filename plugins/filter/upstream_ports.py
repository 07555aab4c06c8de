# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the TCP ports that locations of nginx are proxied to."""

from __future__ import annotations

DOCUMENTATION = r"""
name: upstream_ports
short_description: The TCP ports that locations of nginx are proxied to
description:
  - Servers without a port have 80, as in nginx; unix sockets have none.
  - Alternative servers and backups count as well.
options:
  _input:
    description: Locations as in C(nginx_site.locations).
    type: list
    elements: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

import re
from typing import Any


def upstream_ports(locations: list[dict[str, Any]]) -> list[int]:
    """Return the ports, each once and in order."""
    addresses = {server.split()[0] for location in locations for server in _servers(location)}
    ports = (re.search(r":(\d+)$", address) for address in addresses if not address.startswith("unix:"))
    return sorted({int(port[1]) if port else 80 for port in ports})


def _servers(location: dict[str, Any]) -> list[str]:
    alternative = location.get("alternative") or {"servers": []}
    return [*location["servers"], *alternative["servers"], *location.get("backups", [])]


class FilterModule:
    """The filter C(upstream_ports)."""

    def filters(self) -> dict[str, Any]:
        return {"upstream_ports": upstream_ports}
