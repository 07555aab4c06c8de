#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: drop a staged release of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_abandon
short_description: Drop a staged release of an app
description:
  - Drops what this run has staged and gives up its lock. A release that is live, was healthy before, or was staged by
    another run is left alone.
extends_documentation_fragment: [baremetal.web.release, baremetal.web.release.run]
options:
  release:
    description: Name of the staged release; empty when nothing was staged.
    type: str
    default: ""
  reason:
    description: Why; it stands in the audit log.
    type: str
    default: ""
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows that the release would be dropped.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
"""

EXAMPLES = r"""
- name: Drop what was staged
  baremetal.web.release_abandon:
    name: shop
    release: "{{ staged.release }}"
    reason: the deploy of the fleet failed
"""

RETURN = r"""
step:
  description: The step that failed.
  type: str
  returned: failure
"""

from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import mutex
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    RUN_OPTIONS,
    Operation,
    perform,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.programs import Programs


class Abandon(Operation):
    """Drop a release that this run has staged, unless it is live or was healthy before."""

    def run(self) -> dict[str, Any]:
        manifest = self.home.manifest(self.release) if self.release else {}
        mine = bool(manifest) and manifest["run"] == self.params["run"] and not manifest.get("healthy")
        locked = self.lock.holder().get("run") == self.params["run"]
        if mine and self.release not in (self.home.current, self.home.standby):
            with mutex(self.home):
                with suppress(SupervisorError):
                    Programs(self.home, Supervisor()).remove(self.release)
                if not self.keeps_failed(manifest["description"]):
                    self.home.drop(self.release)
            self.log("stage", "abandoned", release=self.release, message=self.params["reason"])
        if locked and manifest:
            self.restore_description()
        self.lock.give_up()
        return {"changed": mine or locked}


def main() -> None:
    text = {"type": "str", "default": ""}
    carry_out(
        {**APP_OPTIONS, **RUN_OPTIONS, "release": text, "reason": text},
        lambda asked: perform(Abandon(asked.params["name"], asked.params), asked.check_mode),
    )


if __name__ == "__main__":
    main()
