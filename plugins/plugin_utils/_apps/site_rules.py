# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for how an app is published: its site, and an address of its own."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import find_path, looked_in
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.lfs import is_pointer_file
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import EVERY
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.site_rules import (
    PREFIX,
    SIZE,
    front_problems,
    name_problems,
    page_problems,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.forms import form_problems

_FORMS = {
    "site.prefix": (PREFIX, "/ or a path such as /shop, without a slash at its end"),
    "site.max_body_size": (SIZE, "a size in nginx's notation, for example 10m"),
    "server.bind": (
        r"unix|(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+",
        "unix, or ADDRESS:PORT such as 127.0.0.1:5000, [::1]:5000 or localhost:5000; with any other name, nginx could "
        "not start while that name has no address",
    ),
}
# Ports on which no site can do what somebody expects of it.
_TAKEN_PORTS = {
    22: "Logins by ssh listen there; choose another port, such as 80",
    443: "Clients would expect TLS there, which sites do not have yet; choose another port, such as 80",
}


class Bind(NamedTuple):
    """An address and a port of nginx for one app alone."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @classmethod
    def of(cls, app: Mapping[str, Any]) -> Bind | None:
        """Return what ``server.bind`` says, None where the app has its unix socket alone."""
        host, _colon, port = app["server"]["bind"].rpartition(":")
        if not host:
            return None
        if host.startswith("["):
            return cls(ipaddress.IPv6Address(host[1:-1]), int(port))
        return cls(ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host), int(port))

    def overlaps(self, other: Bind) -> bool:
        """Tell whether a connection could be meant for either."""
        alike = self.address.version == other.address.version and self.port == other.port
        everywhere = self.address.is_unspecified or other.address.is_unspecified
        return alike and (everywhere or self.address == other.address)


def _address_problems(site: Mapping[str, Any]) -> Iterator[str]:
    """Find ports and host names that a site cannot have."""
    if not 1 <= site["listen"] <= 65535:
        yield f"site.listen is {site['listen']}; a port is a number from 1 to 65535"
    if reason := _TAKEN_PORTS.get(site["listen"]):
        yield f"site.listen is {site['listen']}. {reason}"
    yield from (f"site.{problem}" for problem in name_problems(site["server_names"]))
    if EVERY in site["server_names"] and not site["catch_all_enabled"]:
        yield (
            "site.server_names is ['*'] with site.catch_all_enabled false, so another site of the port answers unknown "
            "names. Leave catch_all_enabled out, or list the names"
        )


def _bind_problems(app: Mapping[str, Any]) -> Iterator[str]:
    text = app["server"]["bind"]
    if not re.fullmatch(_FORMS["server.bind"][0], text):
        return
    try:
        bind = Bind.of(app)
    except ValueError:
        yield f"server.bind is {text!r}, which has no IP address before its port"
    else:
        if bind and not 1024 <= bind.port <= 65535:
            yield (
                f"server.bind is {text!r}; the port must be from 1024 to 65535. "
                "nginx takes a lower one for a site (site.listen)"
            )


def site_problems(app: Mapping[str, Any], search: list[str]) -> Iterator[str]:
    """Find what is wrong with how the app is published."""
    yield from form_problems(app, _FORMS)
    yield from _address_problems(app["site"])
    yield from _bind_problems(app)
    site, protocol = app["site"], app["server"].get("protocol", "http")
    for problem in (*front_problems(site, protocol), *page_problems(site["error_pages"])):
        yield f"site.{problem}"
    for page in site["error_pages"]:
        found = find_path(page["path"], search) or ""
        if not os.path.isfile(found):
            yield f"site.error_pages names {page['path']!r}, which is no file on the controller {looked_in(search)}"
        elif is_pointer_file(found):
            yield f"site.error_pages names {page['path']!r}, a pointer of Git LFS; run `git lfs pull` beside it"
