# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module survey: ask other modules of this collection, in one process, what they would change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.baremetal.web.plugins.module_utils._host.modules import (
    apache_ports_info,
    conda,
    firewall,
    host_facts,
    packages,
    selinux,
    service_config,
    venv,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.module_utils._release.modules import app_info, release_stage_info

_MODULES: dict[str, Any] = {
    "apache_ports_info": apache_ports_info,
    "app_info": app_info,
    "conda": conda,
    "firewall": firewall,
    "host_facts": host_facts,
    "packages": packages,
    "release_stage_info": release_stage_info,
    "selinux": selinux,
    "service_config": service_config,
    "venv": venv,
}
# Parts that a release leaves as they are, unless the web server has to reach it in another way.
_BESIDE_RELEASES = ("firewall", "release_stage_info", "service_config")

ARGUMENTS = {
    "roles": {"type": "list", "elements": "str", "default": []},
    "tasks": {"type": "list", "elements": "str", "default": []},
    "parts": {"type": "str", "default": "", "no_log": True},
    "apps": {"type": "list", "elements": "str", "default": []},
    "root": {"type": "path", "default": "/srv/wsgi"},
}


def encoded(parts: list[tuple[str, dict[str, Any]]]) -> str:
    """Return parts as one text; censoring a short value in it would censor every message that has it."""
    return base64.b64encode(json.dumps(parts).encode()).decode()


def work(asked: Asked) -> dict[str, Any]:
    """Ask for each part in turn, until one is not as wanted: the parts behind it may depend on it.

    Behind a release that is to go live, those are asked that a release leaves as they are.
    """
    answers: list[dict[str, Any] | None] = []
    parts = json.loads(base64.b64decode(asked.params["parts"]))
    difference = None
    for index, (name, args) in enumerate(parts):
        if difference and name not in _BESIDE_RELEASES:
            answers.append(None)
            continue
        answer, problem = _ask(name, args, asked)
        if problem:
            difference = difference or {"index": index, "reason": problem}
            if answer.get("endpoint_changed", True):
                break
        answers.append(answer)
    root = asked.params["root"]
    slots = {name: Home(name, root).endpoints() for name in asked.params["apps"]}
    return {"changed": False, "answers": answers, "difference": difference, "slots": slots}


def _ask(name: str, args: dict[str, Any], asked: Asked) -> tuple[dict[str, Any], str]:
    """Return the answer to one part, and why it is not as wanted."""
    try:
        module = _MODULES[name]
        checked = ArgumentSpecValidator(module.ARGUMENTS, **getattr(module, "RULES", {})).validate(args)
        if checked.error_messages:
            return {}, "; ".join(checked.error_messages)
        part = Asked(checked.validated_parameters, check_mode=True)
        work: Callable[[Asked], dict[str, Any]] = module.work
        result = work(part)
    except WorkError as error:
        return {}, error.message
    except Exception as error:  # the task itself fails as it does without a survey
        return {}, f"{type(error).__name__}: {error}"
    asked.warnings += part.warnings
    if result.get("changed"):
        return {}, "there is something to do"
    if not result.get("converged", True):
        return result, "another release is wanted, or the live one is not as described"
    return {key: value for key, value in result.items() if key not in ("changed", "diff")}, ""
