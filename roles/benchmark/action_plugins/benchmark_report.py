# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: write the report of a benchmark beside its data; no host is asked."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.web.roles.benchmark.lib import charts, report
from ansible_collections.baremetal.web.roles.benchmark.lib.answer import answer
from ansible_collections.baremetal.web.roles.benchmark.lib.figures import Figures
from ansible_collections.baremetal.web.roles.benchmark.lib.problems import problems


class ActionModule(ActionBase):
    """Read what was measured, say what it says."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _checked, wanted = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "phase": {"type": "str", "choices": ["check", "report"], "default": "report"},
            }
        )
        # Also where no file changes: who asks wants to know before a host is touched.
        charts.library()
        if wanted["phase"] == "check":
            return {"changed": False}
        data = report.read(wanted["path"])
        said = problems(data)
        if not report.legible(data):
            return {"failed": True, "msg": f"{wanted['path']}/{report.DATA}: {' '.join(said)}"}
        changed, paths = False, []
        for name, text in report.files(data).items():
            path = os.path.join(os.path.abspath(wanted["path"]), name)
            changed |= report.write(path, text, self._task.check_mode)
            paths.append(path)
        return {"changed": changed, "paths": paths, "answer": answer(Figures(data)), "problems": said}
