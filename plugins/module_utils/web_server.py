# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web servers that can be in front of the apps, and which of them is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple


class WebServer(NamedTuple):
    """A web server as its packages bring it."""

    role: str
    unit: str
    directory: str
    packages: tuple[str, ...]  # how their names begin


WEB_SERVERS = (
    WebServer("nginx", "nginx.service", "/etc/nginx", ("nginx", "libnginx")),
    WebServer("apache", "apache2.service", "/etc/apache2", ("apache2",)),
    WebServer("apache", "httpd.service", "/etc/httpd", ("httpd", "mod_")),
)


def in_front(notes: Mapping[str, Mapping[str, Any]]) -> WebServer:
    """Return the one that has the apps' sites, by the ledger's notes; nginx where none has."""
    sites = [path for path in notes.get("file", {}) if "wsgi-" in os.path.basename(path)]
    found = (server for server in WEB_SERVERS if any(path.startswith(f"{server.directory}/") for path in sites))
    return next(found, WEB_SERVERS[0])
