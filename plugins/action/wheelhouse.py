# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: fill a directory of the controller with wheels; no host is asked."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.wheelhouse import Target, Wheelhouse, read_lock


class ActionModule(ActionBase):
    """Fetch what is not there yet, for each version on each kind of machine."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _checked, wanted = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "versions": {"type": "list", "elements": "str", "required": True},
                "machines": {"type": "list", "elements": "str", "required": True},
                "requirements": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "name": {"type": "str", "required": True},
                        "text": {"type": "str", "required": True},
                        "version": {"type": "str", "default": "auto"},
                    },
                },
                "index_url": {"type": "str", "default": "", "no_log": True},
            }
        )
        house = Wheelhouse(wanted["path"])
        if not self._task.check_mode:
            os.makedirs(house.path, exist_ok=True)
        elif not os.path.isdir(house.path):
            return {"changed": True, "wheels": []}
        new: list[str] = []
        problems: list[str] = []
        for requirements in wanted["requirements"]:
            packages = read_lock(requirements["text"], requirements["name"])
            versions = wanted["versions"] if requirements["version"] == "auto" else [requirements["version"]]
            for target in (Target(version, machine) for version in versions for machine in wanted["machines"]):
                missing = house.missing(target, packages)
                if missing and self._task.check_mode:
                    new += [f"{package} for {target}" for package in missing]
                elif missing:
                    fetched, said = house.fill(target, missing, wanted["index_url"])
                    new += fetched
                    problems += [f"{requirements['name']}: {sentence}" for sentence in said]
        if problems:
            raise AnsibleActionFail(
                "\n".join(dict.fromkeys(problems)), result={"changed": bool(new), "wheels": sorted(set(new))}
            )
        return {"changed": bool(new), "wheels": sorted(set(new))}
