# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: conda; the installer is checked on the controller, and brought to a host that lacks it."""

from __future__ import annotations

import shutil
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.baremetal.web.plugins.module_utils._host import archives
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.downloads import fetch_once, packed_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.uploads import UploadingAction

# An installer of conda is far smaller.
_LARGEST = 2 << 30


class ActionModule(UploadingAction):
    """Call the module, and once more with the installer when it asks for that."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        wanted = {key: value for key, value in self._task.args.items() if value is not None}
        search = search_path(wanted.pop("search", None))
        packed = {key: wanted.pop(key) for key in ("path", "url") if key in wanted}
        packed |= {"checksum": wanted["checksum"]} if "checksum" in wanted else {}
        if problems := list(packed_problems("python_conda", packed, search)):
            raise AnsibleActionFail("; ".join(problems))
        answer = self._call(wanted, task_vars)
        if answer.pop("lacks_installer", False):
            installer = fetch_once(packed, search, archives.Bounds(_LARGEST))
            wanted["installer"] = self._upload(lambda target: shutil.copyfile(installer, target), "installer.sh")
            answer = self._call(wanted, task_vars)
        return answer

    def _call(self, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name="baremetal.web.conda", module_args=wanted, task_vars=task_vars)
