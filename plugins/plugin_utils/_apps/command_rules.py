# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the commands of an app: its hooks and its background programs."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import KINDS
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.app_rules import FORMS
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.forms import repeated

_HOOK_NAME = re.compile(r"[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*")


# What supervisord replaces in a command of its own; here a shell gets it as it is.
_SUPERVISOR_VALUES = re.compile(r"%\((process_num|program_name|group_name|host_node_name|numprocs|ENV_\w+)\)\d*[sd]")


def command_problems(app: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with the hooks and the background programs of an app."""
    yield from _hook_problems(app["hooks"])
    yield from _program_problems(app["programs"])


def _hook_problems(hooks: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    for kind in KINDS:
        for name in repeated(hook["name"] for hook in hooks[kind]):
            yield f"hooks.{kind} has two hooks named {name!r}; give them different names, for messages name them"
        for hook in hooks[kind]:
            if not re.fullmatch(_HOOK_NAME, hook["name"]):
                yield f"hooks.{kind} has the name {hook['name']!r}; it must be one line of text, for messages name it"
            if not re.fullmatch(FORMS["user"][0], hook["user"]):
                yield f"hooks.{kind}: user of {hook['name']} is {hook['user']!r}; it must be {FORMS['user'][1]}"
            yield from _line_problems(f"hooks.{kind}", hook)
            yield from _syntax_problems(f"hooks.{kind}", hook)
            if hook["timeout"] < 1:
                yield f"hooks.{kind}: timeout of {hook['name']} is {hook['timeout']}; it must be 1 or more seconds"


def _program_problems(programs: list[dict[str, Any]]) -> Iterator[str]:
    for name in repeated(program["name"] for program in programs):
        yield f"programs has two programs named {name!r}; every program of an app needs its own name"
    for program in programs:
        yield from _line_problems("programs", program)
        if not re.fullmatch(FORMS["name"][0], program["name"]):
            yield f"programs has the name {program['name']!r}; it must be {FORMS['name'][1]}"
        if found := _SUPERVISOR_VALUES.search(program["command"]):
            yield (
                f"programs: command of {program['name']} is {program['command']!r}. {found[0]} is a value of "
                "supervisord's own configuration, which nothing replaces here. Write its value, or a variable such as "
                "$APP_NAME."
            )
        elif re.search(r"(^|\s)[;#]|%\(here\)s", program["command"]):
            yield (
                f"programs: command of {program['name']} is {program['command']!r}. supervisord takes a ; or # at its "
                "start or after a space for a comment, and %(here)s for a directory. Put the command into a script."
            )
        else:
            yield from _syntax_problems("programs", program)
        if re.search(r"(?<![&>])&\s*$", program["command"]):
            yield (
                f"programs: command of {program['name']} is {program['command']!r}; the & at its end sends it to the "
                "background, where supervisord loses it: leave the & out"
            )
        if not 1 <= program["number"] <= 100:
            yield f"programs: number of {program['name']} is {program['number']}; it must be from 1 to 100"
        if not 1 <= program["stop_timeout"] <= 900:
            yield f"programs: stop_timeout of {program['name']} is {program['stop_timeout']}; it must be from 1 to 900"


def _line_problems(where: str, item: Mapping[str, Any]) -> Iterator[str]:
    if not item["command"].strip() or re.search(r"[\x00-\x1f]", item["command"]):
        yield f"{where}: command of {item['name']} is {item['command']!r}; it must be one line of a shell"


def _syntax_problems(where: str, item: Mapping[str, Any]) -> Iterator[str]:
    """Find a line that no shell of the controller can read; nothing of it runs."""
    shells = list(filter(shutil.which, ("sh", "bash")))  # a host's sh may be either
    if shells and not any(_can_read(shell, item["command"]) for shell in shells):
        yield (
            f"{where}: command of {item['name']} is {item['command']!r}, which a shell cannot read. A quote, a bracket "
            "or a word after an operator is missing or too much. Correct the command."
        )


@functools.cache
def _can_read(shell: str, command: str) -> bool:
    """Tell whether the syntax of a line is right; the shell's message is not shown, because it may quote a secret."""
    line = command.encode(errors="replace")
    return not subprocess.run([shell, "-n"], input=line, capture_output=True, check=False).returncode
