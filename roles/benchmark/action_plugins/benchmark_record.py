# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: keep what a benchmark measures in a directory of the controller."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.web.roles.benchmark.lib.plan import document

RUNS = "runs.jsonl"
DOCUMENT = "benchmark.json"


class ActionModule(ActionBase):
    """Add each run as soon as it is there, so that an interrupted benchmark keeps them; at the end, the document."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _checked, wanted = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "run": {"type": "dict"},
                "missing": {"type": "dict"},
                "document": {"type": "dict"},
            },
            mutually_exclusive=[("run", "missing", "document")],
            required_one_of=[("run", "missing", "document")],
        )
        if self._task.check_mode:
            return {"changed": False}
        if wanted["document"] is None:
            self._add(wanted["path"], {key: wanted[key] for key in ("run", "missing") if wanted[key] is not None})
            return {"changed": True}
        found = document(wanted["document"], self._lines(wanted["path"]))
        path = os.path.join(wanted["path"], DOCUMENT)
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(found, stream, ensure_ascii=False, indent=1)
        return {"changed": True, "path": path}

    def _add(self, directory: str, line: dict[str, Any]) -> None:
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, RUNS), "a", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(line, ensure_ascii=False)}\n")

    def _lines(self, directory: str) -> list[dict[str, Any]]:
        with open(os.path.join(directory, RUNS), encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
