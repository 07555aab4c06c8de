# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of the survey of a host, for the tasks that run afterwards."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible import constants

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.uploads import UploadingAction
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain

# site.yml registers the answer by this name.
ANSWER = "__site_survey"


def digest(module: str, args: Mapping[str, Any]) -> str:
    """Return a name of what a host is asked; only this run can compute it, because the arguments may be secret."""
    text = json.dumps([module, plain(args)], sort_keys=True)
    # Ansible makes the directory for each run, and all processes share it.
    return hmac.digest(os.path.basename(constants.DEFAULT_LOCAL_TMP).encode(), text.encode(), hashlib.sha256).hex()


def answered(task_vars: Mapping[str, Any] | None, module: str, args: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer that the host has just given to a question of this run; none where it was not asked."""
    parts = (task_vars or {}).get(ANSWER, {}).get("parts")
    return parts.get(digest(module, args)) if parts else None


class SurveyedAction(UploadingAction):
    """Calls the module of the same name, unless the survey has just found that it would change nothing."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        wanted = self.host_args(self._task.args)
        answer = answered(task_vars, self._task.action.rpartition(".")[2], wanted)
        return self.ask(wanted, task_vars) if answer is None else {**result, "changed": False, **answer}

    @classmethod
    def host_args(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the host is asked first; it needs no connection."""
        return {key: value for key, value in args.items() if value is not None}

    def ask(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Let the host do it."""
        return self._execute_module(module_args=wanted, task_vars=task_vars)
