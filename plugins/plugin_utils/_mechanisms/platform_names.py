# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the platform of a host as the tables in roles/*/vars/main.yml do, which say what is on each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import read_role

# Those that the role python has packages for.
SUPPORTED = read_role("python", "vars", "main.yml")["__python_platforms"]


class PlatformError(ValueError):
    """The platform is not supported; the text says which are."""


def name(facts: Mapping[str, Any]) -> str:
    """Return for example C(Debian 13), C(Ubuntu 24.04), or C(EL 9) for every distribution of the RHEL family."""
    if "os_family" not in facts:
        raise PlatformError(
            "The facts of this host are missing. The play did not gather them. Set gather_facts: true in the play."
        )
    if facts["os_family"] == "RedHat":
        return f"EL {facts['distribution_major_version']}"
    # Ubuntu goes by its whole version.
    version = "distribution_version" if facts["distribution"] == "Ubuntu" else "distribution_major_version"
    return f"{facts['distribution']} {facts[version]}"


def row_of(role: str, names: Iterable[str]) -> Any:
    """Return the first of these rows that the table of a role has."""
    table = read_role(role, "vars", "main.yml")[f"__{role}_platforms"]
    return next(table[name] for name in names if name in table)


def describe(facts: Mapping[str, Any]) -> str:
    """Return the name of the platform; raise PlatformError for one that is not supported."""
    found = name(facts)
    if found not in SUPPORTED:
        own = f"{facts['distribution']} {facts['distribution_version']}"
        raise PlatformError(f"{own} is not supported. Supported: {', '.join(SUPPORTED)} (EL: the RHEL family).")
    return found
