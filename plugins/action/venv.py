# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: provide a virtual environment; with a wheelhouse, bring the wheels that the host lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.surveyed import SurveyedAction
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.requirements import REQUIREMENTS, Reader
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.wheelhouse import Wheelhouse


class ActionModule(SurveyedAction):
    """Call the module, and once more with the wheels that it asks for."""

    def ask(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer = super().ask(wanted, task_vars)
        if (place := self._task.args.get("wheelhouse")) and (lacking := answer.pop("lacking", [])):
            house = Wheelhouse(place)
            wanted["archive"] = self._upload(lambda path: house.pack(lacking, path), "wheels.tar")
            answer = super().ask(wanted, task_vars)
        return answer

    @classmethod
    def host_args(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the host is asked first; it needs no connection."""
        wanted = super().host_args(args)
        if "requirements" in wanted:
            cls._check(wanted)
        if place := wanted.pop("wheelhouse", ""):
            wanted["wheels"] = Wheelhouse(place).wanted(wanted["requirements"])
        return wanted

    @staticmethod
    def _check(wanted: dict[str, Any]) -> None:
        """Put what was checked in the place of the requirements; a text has no files beside it."""
        builds = boolean(wanted.get("source_builds_enabled") or False, strict=False)
        reader = Reader(lambda _: None, lambda _: "", builds=builds, option="source_builds_enabled")
        found = reader.text(str(wanted["requirements"]), "requirements")
        if found.problems:
            raise AnsibleActionFail("\n".join(dict.fromkeys(found.problems)))
        wanted["requirements"] = found.files()[REQUIREMENTS]
