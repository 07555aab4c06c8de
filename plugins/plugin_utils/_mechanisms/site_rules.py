# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for a web server's site, which those of the apps follow as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import HostNameError, host_names
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.forms import repeated

# The form of a location's prefix, and of a size in the notation of nginx.
PREFIX = r"/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+"
SIZE = r"\d+[kKmMgG]?"
# What stands in headers and in the configuration of a web server.
_CORS = {
    "origins": (r"\*|[a-z][a-z0-9+.-]*://[A-Za-z0-9.:\[\]_-]+", "* or an origin such as https://shop.example.com"),
    "methods": (r"[A-Z]+", "a method in capitals, such as PUT"),
    "headers": (r"\*|[A-Za-z0-9_-]+", "the name of a header, such as Content-Type"),
}


def name_problems(names: list[str]) -> Iterator[str]:
    """Find host names that no client sends."""
    problems = []
    for name in names:
        try:
            host_names([name])
        except HostNameError as error:
            problems.append(f"server_names has {error}")
    if not problems:
        try:
            host_names(names)
        except HostNameError as error:
            problems.append(f"server_names has {error}")
    yield from problems


def own_names(names: Iterable[str]) -> list[str]:
    """Return those of a host's names in the inventory that a client can send."""
    found = []
    for name in sorted(filter(None, names)):
        with suppress(HostNameError):
            found += host_names([name])
    return list(dict.fromkeys(found))


def front_problems(place: Mapping[str, Any], protocol: str) -> Iterator[str]:
    """Find what a web server cannot do for a location, or for an app's site."""
    if place["websocket_enabled"] and protocol == "uwsgi":
        yield "websocket_enabled is true, and the server's protocol is uwsgi, which has no WebSockets; choose one"
    if not (cors := place["cors"]):
        return
    for key, (pattern, wanted) in _CORS.items():
        for value in cors[key]:
            if not re.fullmatch(pattern, value):
                yield f"cors.{key} has {value!r}; it must be {wanted}"
    if not cors["origins"] or ("*" in cors["origins"] and len(cors["origins"]) > 1):
        yield f"cors.origins is {cors['origins']!r}; name the origins, or * alone for every one"
    if "*" in cors["origins"] and cors["credentials_enabled"]:
        yield "cors.credentials_enabled is true with the origin *, which browsers refuse; name the origins"
    if cors["max_age"] < 0:
        yield f"cors.max_age is {cors['max_age']}; it must be 0 or more seconds"


def page_problems(pages: list[dict[str, Any]]) -> Iterator[str]:
    """Find what is wrong with the pages for errors."""
    for page in pages:
        for code in page["codes"]:
            if not 400 <= code <= 599 or code in (444, 499):
                yield f"error_pages has the code {code!r}; it must be from 400 to 599, and neither 444 nor 499"
        if not page["codes"]:
            yield f"error_pages has no code for {page['path']!r}; say for which statuses it is"
    for code in repeated(code for page in pages for code in page["codes"]):
        yield f"error_pages has two pages for {code}; leave one of them out"
