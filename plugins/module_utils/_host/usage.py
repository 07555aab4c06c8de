# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes use: processor time and memory, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

_TICKS = os.sysconf("SC_CLK_TCK")


def processes() -> dict[int, tuple[int, float]]:
    """Return the parent of each process, and the seconds of processor time of it and of its children that ended."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError), open(f"/proc/{name}/stat", encoding="latin-1") as stream:
                # proc(5): from state on; ppid is the 2nd, utime, stime, cutime, cstime are the 12th to 15th.
                fields = stream.read().rpartition(")")[2].split()
                found[int(name)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
    return found


def family(roots: Iterable[int], known: dict[int, tuple[int, float]]) -> set[int]:
    """Return the processes and all their descendants."""
    members = {root for root in roots if root in known}
    while more := {process for process, (parent, _cpu) in known.items() if parent in members} - members:
        members |= more
    return members


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the processor time of the processes and their descendants, in seconds."""
    known = processes()
    return sum(known[process][1] for process in family(roots, known))


def memory_bytes(roots: Iterable[int]) -> int:
    """Return the proportional set size of the processes and their descendants, in bytes."""
    total = 0
    for process in family(roots, processes()):
        with suppress(OSError), open(f"/proc/{process}/smaps_rollup", encoding="ascii") as stream:
            total += next((int(line.split()[1]) for line in stream if line.startswith("Pss:")), 0) * 1024
    return total
