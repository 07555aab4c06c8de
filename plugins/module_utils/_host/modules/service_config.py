# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module service_config."""

from __future__ import annotations

from ansible_collections.baremetal.web.plugins.module_utils._host.configuration import Configuration
from ansible_collections.baremetal.web.plugins.module_utils._host.generated_secrets import SecretError
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.module_utils._host.services import Refused
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError


def entries(mode: dict[str, str], **more: dict) -> dict:
    """Describe a list of files or directories."""
    name = {"type": "str", "default": "root"}
    options = {
        "path": {"type": "path", "required": True},
        "mode": {"type": "str", **mode},
        "owner": name,
        "group": name,
    }
    return {"type": "list", "elements": "dict", "default": [], "options": {**options, **more}}


def files(**content: bool) -> dict:
    """Describe a list of files."""
    return entries(
        {},
        content={"type": "str", "required": True, **content},
        foreign={"type": "str", "choices": ["refuse", "keep", "replace"], "default": "refuse"},
        kept_with={"type": "list", "elements": "str", "default": []},
    )


def texts(**more: object) -> dict:
    """Describe a list of texts."""
    return {"type": "list", "elements": "str", "default": [], **more}


ARGUMENTS = {
    "name": {"type": "str"},
    "manager": {"type": "str", "choices": ["systemd", "supervisor"]},
    "program": {"type": "dict"},
    "directories": entries(
        {"default": "0755"},
        owned={"type": "bool", "default": False},
        data_of={"type": "str", "default": ""},
    ),
    "files": files(),
    # The contents are secret, the paths are not.
    "secret_files": {**files(no_log=True), "no_log": False},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "length": {"type": "int", "default": 32},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
        },
    },
    "account_files": files(),
    "absent": texts(elements="path"),
    "absent_if_packaged": texts(elements="path"),
    "exclusive": texts(),
    "keeps": {"type": "str"},
    "check": texts(),
    "check_expects": texts(),
    "check_forbids": texts(),
    "conflicts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "files": {"type": "list", "elements": "str", "required": True},
            "regex": {"type": "str", "required": True},
            "explanation": {"type": "str", "required": True},
        },
    },
    "accounts": texts(),
    "on_change": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
    "restart_if_newer": texts(elements="path", aliases=["newer"]),
    "drain": texts(aliases=["withdraw"]),
    "ready": texts(),
    "ready_timeout": {"type": "int", "default": 60},
    "ports": texts(),
}


def work(asked: Asked) -> dict:
    """Bring the service and its files to the wanted state."""
    try:
        configuration = Configuration(asked)
        configuration.refuse()
    except (Refused, SecretError) as error:
        raise WorkError(f"{error} Nothing was changed.") from error
    result = configuration.result()
    if configuration.changed and not asked.check_mode:
        try:
            result["action"] = configuration.apply()
        except Refused as error:
            raise WorkError(readable(str(error)), files=configuration.transaction.changed) from error
    return result
