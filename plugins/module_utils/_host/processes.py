# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a host, read from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process; ``cpu`` has the seconds of its children that ended as well."""

    state: str
    parent: int
    group: int
    cpu: float

    @property
    def has_ended(self) -> bool:
        return self.state in ("Z", "X")


def process_numbers() -> list[int]:
    """Return the numbers of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def processes() -> dict[int, Process]:
    """Return all processes by their numbers."""
    found = {}
    for number in process_numbers():
        with suppress(OSError, ValueError), open(f"/proc/{number}/stat", encoding="latin-1") as stream:
            # proc(5), from state on: ppid and pgrp are the 2nd and 3rd; utime, stime, cutime, cstime the 12th to 15th.
            fields = stream.read().rpartition(")")[2].split()
            found[number] = Process(fields[0], int(fields[1]), int(fields[2]), sum(map(int, fields[11:15])) / _TICKS)
    return found


def family(roots: Iterable[int], known: Mapping[int, Process]) -> set[int]:
    """Return the processes and all their descendants."""
    members = {root for root in roots if root in known}
    while more := {number for number, process in known.items() if process.parent in members} - members:
        members |= more
    return members


def running() -> dict[int, Process]:
    """Return the processes that have not ended."""
    return {number: process for number, process in processes().items() if not process.has_ended}


def children(number: int) -> set[int]:
    """Return the processes that a process has started itself and that have not ended."""
    return {child for child, process in running().items() if process.parent == number}


def started(number: int) -> float:
    """Return when a process was started, in seconds since 1970; 0 for one that is gone."""
    with suppress(OSError, ValueError), open(f"/proc/{number}/stat", encoding="latin-1") as stream:
        ticks = int(stream.read().rpartition(")")[2].split()[19])  # starttime of proc(5)
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS
    return 0


def processes_of(user: int) -> list[int]:
    """Return the processes that run as a user."""
    found = []
    for number in process_numbers():
        with suppress(FileNotFoundError):
            if os.stat(f"/proc/{number}").st_uid == user:
                found.append(number)
    return found
