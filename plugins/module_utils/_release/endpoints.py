# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the web server reaches the two slots of an app: a protocol, and a port or a unix socket."""

from __future__ import annotations

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.module_utils._release.layout import SLOTS


def endpoint_of(description: dict[str, Any]) -> dict[str, Any]:
    """Return the protocol and the port of a release; releases of the first versions of this collection have none."""
    return description.get("endpoint", {"protocol": "http", "port": 0})


def published(home: Home, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return how the web server reaches each slot; as the live release is reached, where nothing is noted."""
    if noted := home.endpoints():
        return noted
    live = home.manifest(home.current).get("description") if home.current else None
    return dict.fromkeys(SLOTS, endpoint_of(live) if live else wanted)


def slots_with(home: Home, release: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return how the web server has to reach each slot before a release goes live in one of them."""
    return {**published(home, wanted), home.slot_of(release): wanted}


def endpoint_text(endpoint: dict[str, Any]) -> str:
    """Return an endpoint for people."""
    return f"{endpoint['protocol']} on " + (f"port {endpoint['port']}" if endpoint["port"] else "a unix socket")
