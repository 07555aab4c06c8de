# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do something to its end, whatever becomes of the connection, the login and the controller meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# What a connection that breaks, or the end of a login, may send.
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


def detached(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work in a process of its own session and return what it returns, which JSON has to hold.

    The work has to report its failures by what it returns; an exception comes back as ``{"msg": traceback}``.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.close(reader)
            _leave(name)
            answer = _answer(work)
            # Nobody may be left who reads it.
            with suppress(OSError), os.fdopen(writer, "w", encoding="utf-8") as stream:
                json.dump(answer, stream)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(process, 0)
    return json.loads(text) if text else {"msg": "the process that did it was ended from outside"}


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except BaseException:  # there is nobody else to tell
        return {"msg": traceback.format_exc()}


def _ignore(*_: Any) -> None:
    """Do nothing; unlike SIG_IGN, this is not passed on to the programs that the work starts."""


def _leave(name: str) -> None:
    """Leave the login's session, its files and its control group."""
    os.setsid()
    for number in IGNORED:
        signal.signal(number, _ignore)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [
                *("busctl", "--quiet", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
                *("org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"),
                *(f"baremetal-web-{name}-{os.getpid()}.scope", "fail", "1", "PIDs", "au", "1", str(os.getpid()), "0"),
            ],
            check=False,
            timeout=10,
            stdin=subprocess.DEVNULL,
        )
