# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: what a playbook has found out, as one JSON document for scripts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: json
type: stdout
short_description: Print what a playbook has found out as one JSON document
description:
  - Prints one JSON object on standard output when the playbook ends, and nothing else. Warnings go to standard error.
  - C(rows) has the rows of all tables that the playbook would show, with every value that is known.
  - C(failures) has an object for each task that failed and each host that did not answer, also where the playbook went
    on. Its keys are C(host), C(task) and C(message). The C(message) of a loop has those of its items, a line each.
  - C(changed) has the names of the hosts on which something was changed.
  - The exit status of C(ansible-playbook) is the same as without it.
requirements:
  - Set C(ANSIBLE_STDOUT_CALLBACK=baremetal.web.json) for the run.
author: The baremetal.web authors (@baremetal-web)
"""

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

TABLE = "baremetal.web.table"


class CallbackModule(CallbackBase):
    """Collect, and print in the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "baremetal.web.json"

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Any] = []
        self._failures: list[dict[str, str]] = []
        self._items: dict[tuple[str, str], list[str]] = {}

    def v2_runner_on_ok(self, result: Any) -> None:
        if _of(result, "task").resolved_action == TABLE:
            self._rows += _of(result, "result")["rows"]

    def v2_runner_item_on_failed(self, result: Any) -> None:
        # What a loop returns in its end no longer tells the items that failed, since ansible-core 2.21.
        self._items.setdefault(_key(result), []).append(_message(result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._fail(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._fail(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        changed = sorted(host for host, tasks in stats.changed.items() if tasks)
        found = {"rows": self._rows, "failures": self._failures, "changed": changed}
        self._display.display(json.dumps(found, indent=2, ensure_ascii=False, default=str))

    def _fail(self, result: Any) -> None:
        # A loop says of itself only that it has come to its end.
        messages = self._items.pop(_key(result), None) or [_message(result)]
        host, task = _of(result, "host").get_name(), _of(result, "task").get_name()
        self._failures.append({"host": host, "task": task, "message": "\n".join(dict.fromkeys(messages))})


def _message(result: Any) -> str:
    """Return why a task failed, or that no_log hides it."""
    found = _of(result, "result")
    return str(found.get("msg") or found.get("censored", ""))


def _key(result: Any) -> tuple[str, str]:
    """Return the host and the task of a result."""
    return _of(result, "host").get_name(), _of(result, "task")._uuid


def _of(result: Any, name: str) -> Any:
    """Return a part of a result; ansible-core has it without the underscore since 2.19."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, f"_{name}")
