#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: note that the web server is configured for the endpoints of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_proxy_synced
short_description: Note that the web server knows the endpoints of an app
description:
  - To be called when the web server is configured for what M(baremetal.web.release_stage) returned as C(slots). Until
    then the app gets no release with another endpoint.
extends_documentation_fragment: [baremetal.web.release]
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows that it would be noted.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
"""

EXAMPLES = r"""
- name: Note that the web server knows
  baremetal.web.release_proxy_synced:
    name: shop
"""

RETURN = r"""
{}
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import APP_OPTIONS, Operation, perform


class ProxySynced(Operation):
    """Note that the web server knows where the releases are."""

    def run(self) -> dict[str, Any]:
        changed = not self.home.proxy_synced
        self.home.note_endpoints(self.home.endpoints(), proxy_synced=True)
        return {"changed": changed}


def main() -> None:
    carry_out(APP_OPTIONS, lambda asked: perform(ProxySynced(asked.params["name"], asked.params), asked.check_mode))


if __name__ == "__main__":
    main()
