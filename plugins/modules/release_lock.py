#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: lock the releases of an app by hand."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lock
short_description: Lock the releases of an app by hand, or take a lock away
description:
  - While an app is locked, no run releases it on the host. A lock by hand does not expire.
extends_documentation_fragment: [baremetal.web.release, baremetal.web.release.run]
options:
  state:
    description: Whether the app is locked. V(absent) takes any lock away, also that of a run that was cut off.
    type: str
    choices: [present, absent]
    default: present
  reason:
    description: Why the app is locked; V(present) needs it. It stands in the lock and in the audit log.
    type: str
    default: ""
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows whether a lock would be made or taken away.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
"""

EXAMPLES = r"""
- name: Lock
  baremetal.web.release_lock:
    name: shop
    reason: stocktaking until Monday

- name: Unlock
  baremetal.web.release_lock:
    name: shop
    state: absent
"""

RETURN = r"""
lock:
  description: >-
    The lock that was made or taken away (C(by), C(since), C(message), C(expires)); empty when there was none.
  type: dict
  returned: success
step:
  description: The step that failed.
  type: str
  returned: failure
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.home import ReleaseError
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    RUN_OPTIONS,
    Operation,
    perform,
)


class Lock(Operation):
    """Lock an app by hand, or take a lock away, whoever holds it."""

    @property
    def locks(self) -> bool:
        return self.params["state"] == "present"

    def run(self) -> dict[str, Any]:
        return self._lock() if self.locks else self._unlock()

    def _lock(self) -> dict[str, Any]:
        self.step = "lock"
        if not self.params["reason"]:
            raise ReleaseError(
                "The message of the lock is empty. It tells others why the app is locked. Add -e message='WHY'."
            )
        self.refuse_missing_app()
        self.lock.freeze(self.params["reason"])
        self.log("lock", "locked", message=self.params["reason"])
        return {"changed": True, "lock": self.lock.shown()}

    def _unlock(self) -> dict[str, Any]:
        lock = self.lock.shown()
        if lock:
            self.lock.remove()
            self.log("unlock", "unlocked", message=f"locked by {lock['by']} since {lock['since']}: {lock['message']}")
        return {"changed": bool(lock), "lock": lock}

    def preview(self) -> dict[str, Any]:
        lock = self.lock.shown()
        return {"changed": self.locks != bool(lock), "lock": lock}


def main() -> None:
    carry_out(
        {
            **APP_OPTIONS,
            **RUN_OPTIONS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "reason": {"type": "str", "default": ""},
        },
        lambda asked: perform(Lock(asked.params["name"], asked.params), asked.check_mode),
    )


if __name__ == "__main__":
    main()
