# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web servers that can be in front of the apps, and which of them is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ansible_collections.baremetal.web.plugins.module_utils._host import commands


class WebServer(NamedTuple):
    """A web server as its packages bring it."""

    role: str
    unit: str
    directory: str
    packages: tuple[str, ...]  # how their names begin
    dump: tuple[str, ...]  # prints its configuration, or the names of its files


INCLUDES = ("-t", "-D", "DUMP_INCLUDES")
WEB_SERVERS = (
    WebServer("nginx", "nginx.service", "/etc/nginx", ("nginx", "libnginx"), ("nginx", "-T")),
    WebServer("apache", "apache2.service", "/etc/apache2", ("apache2",), ("apache2ctl", *INCLUDES)),
    WebServer("apache", "httpd.service", "/etc/httpd", ("httpd", "mod_"), ("httpd", *INCLUDES)),
)


def sites(notes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the files of the apps' sites, by the change record's notes."""
    return [path for path in notes.get("file", {}) if "wsgi-" in os.path.basename(path)]


def in_front(notes: Mapping[str, Mapping[str, Any]]) -> WebServer:
    """Return the one that has the apps' sites, by the change record's notes; nginx where none has."""
    noted = sites(notes)
    found = (server for server in WEB_SERVERS if any(path.startswith(f"{server.directory}/") for path in noted))
    return next(found, WEB_SERVERS[0])


def configuration(notes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the web server's configuration as it reads it itself; what the apps' sites say where it refuses it."""
    server = in_front(notes)
    try:
        code, out, err = commands.attempt(list(server.dump))
    except OSError:
        return ""  # without a web server nothing is published
    if code == 0 and server.role == "nginx":
        return out
    files = re.findall(r"^ .*\) (/.+)$", out + err, re.MULTILINE) if code == 0 else sites(notes)
    return "\n".join(map(_text, files))


def names_file(text: str, path: str) -> bool:
    """Tell whether a configuration names a file."""
    return re.search(rf"^[^#\n]*{re.escape(path)}(?![\w.])", text, re.MULTILINE) is not None


def _text(path: str) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
    return ""
