#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: run the hooks of a staged release that wait for all hosts of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_hooks
short_description: Run the hooks of a staged release that wait for all hosts
description:
  - Runs the hooks of one kind, those for the whole fleet or those for each host. M(baremetal.web.release_stage) and
    M(baremetal.web.release_activate) run the others themselves.
extends_documentation_fragment: [baremetal.web.release, baremetal.web.release.run]
options:
  release:
    description: Name of the staged release.
    type: str
    required: true
  hooks:
    description: The kind of the hooks.
    type: str
    required: true
    choices: [after_stage, migrate, before_activate, after_activate]
  run_once:
    description: Whether the hooks for the whole fleet are run, or those for each host.
    type: bool
    default: true
  lock_seconds:
    description: Seconds after which the lock of a run that was cut off expires.
    type: float
    default: 900
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Says that hooks would be run; it does not look for them.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
"""

EXAMPLES = r"""
- name: Migrate
  baremetal.web.release_hooks:
    name: shop
    release: "{{ staged.release }}"
    hooks: migrate
"""

RETURN = r"""
ran:
  description: Names of the hooks that were run.
  type: list
  elements: str
  returned: success
step:
  description: The step that failed.
  type: str
  returned: failure
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import KINDS
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import mutex
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    LOCK_OPTIONS,
    RUN_OPTIONS,
    Operation,
    perform,
)


class Hooks(Operation):
    """Run the hooks of a step that waits for all hosts of the run: those for the whole fleet, or for each host."""

    def run(self) -> dict[str, Any]:
        self.step = kind = self.params["hooks"]
        activation = self.activation(self.release)
        seconds = sum(hook["timeout"] for hook in activation.description["hooks"][kind])
        self.take_lock(longest=seconds)
        try:
            with mutex(self.home):
                activation.hooks(kind, run_once=self.params["run_once"])
        finally:
            if self.release == self.home.current:  # no step follows
                self.lock.give_up()
            # Also those before one that failed: what they made of the data is there.
            if ran := activation.ran:
                irreversible = [hook for hook in ran if kind == "migrate" and hook in activation.irreversible()]
                self.log("hooks", "ran", release=self.release, hooks=ran, irreversible=irreversible)
        return {"changed": bool(ran), "ran": ran}

    def preview(self) -> dict[str, Any]:
        return {"changed": True, "ran": []}


def main() -> None:
    carry_out(
        {
            **APP_OPTIONS,
            **RUN_OPTIONS,
            "release": {"type": "str", "required": True},
            "hooks": {"type": "str", "required": True, "choices": list(KINDS)},
            "run_once": {"type": "bool", "default": True},
            "lock_seconds": LOCK_OPTIONS["lock_seconds"],
        },
        lambda asked: perform(Hooks(asked.params["name"], asked.params), asked.check_mode),
    )


if __name__ == "__main__":
    main()
