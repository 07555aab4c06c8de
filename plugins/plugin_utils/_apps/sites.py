# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The apps of a host as sites of its web server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._release.layout import SLOTS
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import endpoint, place_slots
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.site_rules import Bind
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import find_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import EVERY
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options

# What stands for signs of a host name in the name of a file.
_FILE_SIGNS = str.maketrans({"*": "+", ":": "_", "[": None, "]": None})


def sites(apps: list[dict[str, Any]], slots: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Gather the apps of one server (same port, same names) into one site of nginx.

    ``slots`` has the endpoints of an app's slots by its name, where they are not both as the app is described.
    """
    slots = slots or {}
    groups: dict[tuple[int, frozenset[str]], list[dict[str, Any]]] = defaultdict(list)
    for app in apps:
        groups[app["site"]["listen"], frozenset(app["site"]["server_names"])].append(app)
    ports: set[int] = set()
    shared = {app["site"]["listen"] for app in apps if not app["site"]["catch_all_enabled"]}
    every = {app["site"]["listen"] for app in apps if app["site"]["server_names"] == [EVERY]}
    found = []
    for (port, server_names), members in sorted(groups.items(), key=_site_order):
        found.append(
            {
                # By its place, not by an app: apps come, go, and change their order.
                "name": f"{port}-{min(server_names, key=_names_first).translate(_FILE_SIGNS)}",
                "listen": port,
                "catch_all_enabled": EVERY in server_names or port not in ports | shared | every,
                "server_names": [name for name in members[0]["site"]["server_names"] if name != EVERY],
                "error_pages": _pages(members),
                "locations": [_location(app, slots) for app in sorted(members, key=lambda app: app["site"]["prefix"])],
            }
        )
        ports.add(port)
    return [*found, *(_bind_site(app, bind, slots) for app in apps if (bind := Bind.of(app)))]


def _bind_site(app: Mapping[str, Any], bind: Bind, slots: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a site for one app alone, whatever the host name."""
    address = str(bind.address)
    return {
        "name": f"bind-{bind.port}-{address.replace(':', '_')}",
        "address": f"[{address}]" if bind.address.version == 6 else address,
        "listen": bind.port,
        "server_names": [],
        "error_pages": _pages([app]),
        # A dot is in no app's name, so this is no other app's.
        "locations": [{**_location(app, slots), "name": f"wsgi-{app['name']}.bind", "prefix": "/"}],
    }


def _pages(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the error pages of a site that apps share, each once, with the places where they are."""
    pages = ((app["search"], page) for app in apps for page in app["site"]["error_pages"])
    found = [{**page, "path": find_path(page["path"], search)} for search, page in pages]
    return [page for index, page in enumerate(found) if page not in found[:index]]


def _site_order(group: tuple[tuple[int, frozenset[str]], Any]) -> tuple[int, bool, list[str]]:
    """Exact names come first: the first site of a port is before all others, where httpd looks from top to bottom."""
    port, server_names = group[0]
    return port, any("*" in name for name in server_names), sorted(server_names)


def _names_first(server_name: str) -> tuple[bool, str]:
    return server_name[0].isdigit(), server_name


def _location(app: Mapping[str, Any], slots: Mapping[str, Any]) -> dict[str, Any]:
    """Describe where an app is in a site; what both specs have by one name goes on as it is."""
    known = role_options("nginx", "site")["nginx_site"]["options"]["locations"]["options"]
    return {
        **{key: value for key, value in app["site"].items() if key in known},
        "name": f"wsgi-{app['name']}",
        **place_slots(app["home"], slots.get(app["name"]) or dict.fromkeys(SLOTS, endpoint(app["server"]))),
        "read_timeout": max(60, app["server"]["timeout"] + 5),
    }
