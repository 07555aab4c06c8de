# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: conda; the installer is checked on the controller, and brought to a host that lacks it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.baremetal.web.plugins.module_utils._host import archives
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.downloads import fetch_once, packed_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.surveyed import SurveyedAction

# An installer of conda is far smaller.
_LARGEST = 2 << 30
# The action reads these.
_OWN = ("path", "url", "search")


class ActionModule(SurveyedAction):
    """Call the module, and once more with the installer when it asks for that."""

    def ask(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer = super().ask(wanted, task_vars)
        if answer.pop("lacks_installer", False):
            installer = fetch_once(*self._installer(self._task.args), archives.Bounds(_LARGEST))
            wanted["installer"] = self._upload(lambda target: shutil.copyfile(installer, target), "installer.sh")
            answer = super().ask(wanted, task_vars)
        return answer

    @classmethod
    def host_args(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the host is asked first, once the installer is checked; it needs no connection."""
        if problems := list(packed_problems("python_conda", *cls._installer(args))):
            raise AnsibleActionFail("; ".join(problems))
        return {key: value for key, value in args.items() if value is not None and key not in _OWN}

    @staticmethod
    def _installer(args: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the installer as it is described, and where a relative path is looked up."""
        packed = {key: args[key] for key in ("path", "url", "checksum") if args.get(key) is not None}
        return packed, search_path(args.get("search"))
