# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what cannot work in python_proxy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: proxy_problems
short_description: List what cannot work in python_proxy
description: Checks it on the controller, without asking any host. No sentence shows a login.
options:
  _input:
    description: The dictionary C(python_proxy).
    type: dict
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError


def proxy_problems(proxy: Any) -> list[str]:
    """Return one sentence for each problem, none when all is well."""
    try:
        complete(proxy, "python", "main", "python_proxy")
    except DescriptionError as error:
        return [str(error)]
    return []


class FilterModule:
    """The filter C(proxy_problems)."""

    def filters(self) -> dict[str, Any]:
        return {"proxy_problems": proxy_problems}
