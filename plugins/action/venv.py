# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: provide a virtual environment; with a wheelhouse, bring the wheels that the host lacks."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.uploads import UploadingAction
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.requirements import REQUIREMENTS, Reader
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.wheelhouse import Wheelhouse


class ActionModule(UploadingAction):
    """Call the module, and once more with the wheels that it asks for."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        wanted = dict(self._task.args)
        if wanted.get("requirements") is not None:
            self._check(wanted)
        place = wanted.pop("wheelhouse", "")
        if not place:
            return self._call(wanted, task_vars)
        house = Wheelhouse(place)
        wanted["wheels"] = house.wanted(wanted["requirements"])
        answer = self._call(wanted, task_vars)
        if lacking := answer.pop("lacking", []):
            wanted["archive"] = self._upload(lambda path: house.pack(lacking, path), "wheels.tar")
            answer = self._call(wanted, task_vars)
        return answer

    @staticmethod
    def _check(wanted: dict[str, Any]) -> None:
        """Put what was checked in the place of the requirements; a text has no files beside it."""
        builds = boolean(wanted.get("source_builds_enabled") or False, strict=False)
        reader = Reader(lambda _: None, lambda _: "", builds=builds, option="source_builds_enabled")
        found = reader.text(str(wanted["requirements"]), "requirements")
        if found.problems:
            raise AnsibleActionFail("\n".join(dict.fromkeys(found.problems)))
        wanted["requirements"] = found.files()[REQUIREMENTS]

    def _call(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name="baremetal.web.venv", module_args=wanted, task_vars=task_vars)
