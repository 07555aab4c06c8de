# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of the actions for releases: the host learns who does it, and in which run."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase

APP = ("name", "root")
LOCK = ("reason", "lock_wait", "lock_seconds")


def this_run() -> dict[str, str]:
    """Return who runs Ansible, and the run; Ansible makes its directory for each run, and all processes share it."""
    return {
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "run": os.path.basename(constants.DEFAULT_LOCAL_TMP),
    }


class RunAction(ActionBase):
    """Call the module of the same name."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = {key: value for key, value in self._task.args.items() if value is not None}
        return self._execute_module(module_args={**args, **this_run()}, task_vars=task_vars)
