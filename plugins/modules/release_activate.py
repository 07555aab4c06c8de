#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: make a staged release of an app the live one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_activate
short_description: Make a staged release of an app the live one
description:
  - Starts the release on a socket of its own, and probes it there until it has proved to be stable. Only then clients
    get it, by one atomic change of a file. A failure before leaves the live release as it is; one after is reverted.
  - It ends what it has begun even when the controller or the connection is gone.
extends_documentation_fragment: [baremetal.web.release, baremetal.web.release.run, baremetal.web.release.lock]
options:
  release:
    description: Name of the staged release.
    type: str
    required: true
  current:
    description: >-
      The release that was live when O(release) was staged. When another one is live by now, the module refuses. Not
      looked at when it is not given.
    type: str
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows which release would go live.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
"""

EXAMPLES = r"""
- name: Let clients have it
  baremetal.web.release_activate:
    name: shop
    release: "{{ staged.release }}"
"""

RETURN = r"""
release:
  description: The release.
  type: str
  returned: always
current:
  description: The live release, empty when there is none.
  type: str
  returned: when the release did not go live
previous:
  description: The release that was live before.
  type: str
  returned: success
version:
  description: The version of the release.
  type: str
  returned: success
seconds:
  description: How long each step took.
  type: dict
  returned: success
step:
  description: The step that failed.
  type: str
  returned: failure
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    LOCK_OPTIONS,
    RUN_OPTIONS,
    Switch,
    perform,
)


class Activate(Switch):
    """Make a release live that was staged."""

    def run(self) -> dict[str, Any]:
        self.step = "lock"
        complete = "staged" in self.home.manifest(self.release)
        longest = self.activation(self.release).longest() if complete else 0
        self.take_lock(self.params["lock_wait"], longest)
        return self.go_live("deploy", self.release, staged_beside=self.params["current"])


def main() -> None:
    carry_out(
        {
            **APP_OPTIONS,
            **RUN_OPTIONS,
            **LOCK_OPTIONS,
            "release": {"type": "str", "required": True},
            "current": {"type": "str"},
        },
        lambda asked: perform(Activate(asked.params["name"], asked.params), asked.check_mode),
    )


if __name__ == "__main__":
    main()
