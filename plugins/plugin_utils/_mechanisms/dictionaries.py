# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dictionaries that the roles of mechanisms take, which may come from anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import index_proxy
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import EVERY, host_names
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.site_rules import (
    PREFIX,
    SIZE,
    front_problems,
    name_problems,
    page_problems,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError, apply_options
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options

_UPSTREAM_SERVER = r"[A-Za-z0-9_.:/\[\]@-]+( [a-z_]+(=[A-Za-z0-9.]+)?)*"


# The form of each key, by the option that describes the dictionary.
_PATTERNS = {
    "nginx_site": {
        "name": r"[A-Za-z0-9._+-]+",
        "address": r"|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]",
        "prefix": PREFIX,
        "servers": _UPSTREAM_SERVER,
        "backups": _UPSTREAM_SERVER,
        "file": r"(/[A-Za-z0-9._@+~-]+)+",
        "max_body_size": SIZE,
    },
    "supervisor_program": {
        "name": r"[A-Za-z0-9._-]+",
        "log_name": r"[A-Za-z0-9._-]*",
        "user": r"[A-Za-z0-9_.-]+\$?",
        "umask": r"[0-7]{3,4}",
        "log_maxbytes": r"\d+(KB|MB|GB)?",
    },
    "python_conda": {"prefix": r"(/[A-Za-z0-9._+-]+)+", "channels": r"[A-Za-z0-9/][!-~]*"},
    "python_path": {"name": r"[A-Za-z0-9._-]+", "directories": r"[A-Za-z0-9._/*-]+"},
}


def complete(value: Mapping[str, Any], role: str, entry_point: str, option: str) -> dict[str, Any]:
    """Complete a typed dictionary with the defaults of a role's entry point, and refuse what is out of shape."""
    if not isinstance(value, Mapping):
        raise DescriptionError(f"{option} is no dictionary; write one, such as {option}: {{KEY: VALUE}}")
    options = role_options(role, entry_point)[option]["options"]
    completed, errors = apply_options(options, value)
    errors = errors or list(_form_problems(options, completed, _PATTERNS.get(option, {})))
    if option == "python_proxy" and value and not errors:
        errors = list(index_proxy.problems(completed["url"] or "", completed["no_proxy"]))
    if option == "nginx_site" and not errors:
        errors = [*page_problems(completed["error_pages"]), *name_problems(completed["server_names"])]
        errors += [error for place in completed["locations"] for error in front_problems(place, place["protocol"])]
    if errors:
        raise DescriptionError("; ".join(f"{option}: {error}" for error in errors))
    if option == "nginx_site":
        names = host_names(completed["server_names"])
        completed["server_names"] = [] if names == [EVERY] else names
    return completed


def _form_problems(options: Mapping[str, Any], value: Mapping[str, Any], patterns: Mapping[str, str]) -> Iterator[str]:
    """Find values of known keys that are not in their form; the keys of an environment are nobody's but the app's."""
    for key, option in options.items():
        item = value.get(key)
        for element in item if isinstance(item, list) else [item]:
            if isinstance(element, Mapping):
                yield from _form_problems(option.get("options") or {}, element, patterns)
            elif element is not None and key in patterns and not re.fullmatch(patterns[key], str(element)):
                yield f"{key} is {element!r}, which has not the form {patterns[key]}"
