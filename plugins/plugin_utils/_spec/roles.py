# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of this collection's roles, as their argument specs have them."""

from __future__ import annotations

import functools
import os
from typing import Any

from ansible.module_utils.common.yaml import yaml_load

COLLECTION_ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


@functools.cache
def role_options(role: str, entry_point: str = "main") -> dict[str, Any]:
    """Return the options of a role's entry point, as its argument spec has them."""
    return read_role(role, "meta", "argument_specs.yml")["argument_specs"][entry_point]["options"]


@functools.cache
def read_role(role: str, *path: str) -> dict[str, Any]:
    """Return what a file of a role holds."""
    with open(os.path.join(COLLECTION_ROOT, "roles", role, *path), encoding="utf-8") as stream:
        return yaml_load(stream)
