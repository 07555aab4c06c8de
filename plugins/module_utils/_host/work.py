# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of a module, apart from AnsibleModule: so one process can do, or ask for, the work of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule


@dataclass
class Asked:
    """The request to a module; the work adds to the warnings."""

    params: dict[str, Any]
    check_mode: bool = False
    diff: bool = False
    warnings: list[str] = field(default_factory=list)


class WorkError(Exception):
    """The work cannot be done; the message says why, and the result has more keys."""

    def __init__(self, message: str, **more: Any):
        super().__init__(message)
        self.message = message
        self.more = more


def carry_out(arguments: Mapping[str, Any], work: Callable[[Asked], dict[str, Any]], **rules: Any) -> None:
    """Be the module that takes these arguments, by these rules, and does this work."""
    module = AnsibleModule(argument_spec=dict(arguments), supports_check_mode=True, **rules)
    asked = Asked(module.params, module.check_mode, module._diff)
    failure = None
    try:
        result = work(asked)
    except WorkError as error:
        failure = error
    for warning in asked.warnings:
        module.warn(warning)
    if failure:
        module.fail_json(msg=failure.message, **failure.more)
    module.exit_json(**result)
