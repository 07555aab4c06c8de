# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: show a table, line by line as it is."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.tables import table


class ActionModule(ActionBase):
    """Print the lines; a result would be folded at its spaces in YAML, or quoted in JSON."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("table",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        columns = {"type": "list", "elements": "str", "required": True}
        rows = {"type": "list", "elements": "dict"}
        options = {"columns": columns, "rows": {**rows, "required": True}, "shown": rows}
        spec = {"table": {"type": "dict", "required": True, "options": options}}
        _validation, wanted = self.validate_argument_spec(spec)
        found = wanted["table"]
        if constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK") != "baremetal.web.json":
            for line in table(tuple(found["columns"]), found["rows"] if found["shown"] is None else found["shown"]):
                Display().display(line)
        return {"changed": False, "rows": found["rows"]}
