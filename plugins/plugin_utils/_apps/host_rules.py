# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for apps that are fine alone and cannot stand together on one host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import PORTS
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.site_rules import Bind


def relation_problems(apps: list[dict[str, Any]]) -> Iterator[str]:
    """Find apps that are fine alone and cannot stand together on one host."""
    names: set[str] = set()
    places: dict[tuple, str] = {}
    binds: list[tuple[Bind, str, str]] = []
    listens = {app["site"]["listen"]: app["name"] for app in reversed(apps)}
    sites: dict[tuple[int, str], tuple[frozenset[str], str]] = {}
    proxies: dict[str, str] = {}
    ports: dict[int, tuple[str, str]] = {}
    pages: dict[tuple[int, frozenset[str], int], tuple[str, str]] = {}
    for app in apps:
        name, site = app["name"], app["site"]
        if name in names:
            yield f"app {name}: the name is used twice; every app of a host needs its own"
        names.add(name)
        server_names = frozenset(site["server_names"])
        place = (site["listen"], server_names, site["prefix"])
        where = f"port {site['listen']}, prefix {site['prefix']}"
        if other := places.get(place):
            yield f"app {name}: {other} already has the same site ({where}); give one of them another prefix or name"
        places[place] = name
        for server_name in server_names:
            others, owner = sites.setdefault((site["listen"], server_name), (server_names, name))
            if others != server_names:
                yield (
                    f"app {name}: {server_name} on port {site['listen']} belongs to the site of {owner} as well; "
                    "list the same server_names for both, so that they share it"
                )
        proxies.setdefault(site["proxy"], name)
        for page in site["error_pages"]:
            for code in page["codes"]:
                path, owner = pages.setdefault((site["listen"], server_names, code), (page["path"], name))
                if path != page["path"]:
                    yield (
                        f"app {name}: site.error_pages has {page['path']!r} for {code}, and {owner}, which shares its "
                        f"site, {path!r}; choose one of them"
                    )
        for option, port in _server_ports(app):
            said = f"app {name}: server.{option} {app['server'][option]} uses {port}"
            if other := listens.get(port):
                yield f"{said}, the port of the site of {other} (site.listen); choose another one"
            if port in ports:
                yield f"{said}, as {ports[port][1]} of {ports[port][0]} does; choose another one"
            ports.setdefault(port, (name, f"server.{option}"))
        if bind := Bind.of(app):
            said = f"app {name}: server.bind {app['server']['bind']}"
            if other := listens.get(bind.port):
                yield f"{said} has the port of the site of {other} (site.listen); choose another port for one of them"
            for place, text, other in binds:
                if bind.overlaps(place):
                    yield f"{said} cannot stand beside {text} of {other}; choose another port for one of them"
            binds.append((bind, app["server"]["bind"], name))
    for bind, text, name in binds:
        if bind.port in ports:
            other, option = ports[bind.port]
            yield f"app {name}: server.bind {text} has a port that {option} of {other} uses; choose another one"
    if len(proxies) > 1:
        first, second = (f"site.proxy of {name} is {proxy}" for proxy, name in proxies.items())
        yield f"{first}, and {second}; one host has one web server for all its apps, so choose one of them"


def _server_ports(app: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Return the ports that the app's server listens on, two for each option that has one."""
    for option in PORTS:
        if port := app["server"].get(option, 0):
            yield from ((option, port), (option, port + 1))
