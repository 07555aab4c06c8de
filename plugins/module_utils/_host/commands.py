# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands of the host as C(AnsibleModule.run_command) does, without a module."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import NamedTuple

from ansible_collections.baremetal.web.plugins.module_utils._host.files import PLAIN
from ansible_collections.baremetal.web.plugins.module_utils._host.work import WorkError


class Answer(NamedTuple):
    """The answer of a command."""

    code: int
    out: str
    err: str


def attempt(command: list[str]) -> Answer:
    """Run a command, which may lack; variables and ~ in its words are expanded."""
    words = [os.path.expanduser(os.path.expandvars(word)) for word in command]
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        words, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **PLAIN}, check=False
    )
    out, err = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
    return Answer(done.returncode, out, err)


def run(command: list[str], checked: bool = False) -> Answer:
    """Run a command that the host has; a checked one has to succeed."""
    shown = shlex.join(command)
    try:
        answer = attempt(command)
    except OSError as error:
        raise WorkError(f"Error executing command: {error}", cmd=shown, rc=error.errno, stdout="", stderr="") from error
    if checked and answer.code:
        raise WorkError(answer.err.rstrip(), cmd=shown, rc=answer.code, stdout=answer.out, stderr=answer.err)
    return answer
