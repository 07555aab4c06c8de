# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group for each process of supervisord: what a program leaves behind is ended with it.

As a command, ``control_groups.py DIRECTORY SECONDS``: ask what is left in a group to end, and kill it after so many
seconds.
"""

from __future__ import annotations

import glob
import os
import signal
import sys
import time
from contextlib import suppress

ROOT = "/sys/fs/cgroup"
# Where supervisord itself is: a group with groups below that have limits holds no process.
OWN = "supervisord"
CONTROLLERS = ("memory", "pids")
POLL_SECONDS = 0.05
LEEWAY_SECONDS = 5


def directory(process: int | str = "self") -> str:
    """Return the directory of a process's group in the hierarchy of version 2; empty for none."""
    with open(f"/proc/{process}/cgroup", encoding="utf-8") as lines:
        found = [line.partition("::")[2].strip() for line in lines if line.startswith("0::")]
    path = f"{ROOT}{found[0]}" if found else ""
    return path if os.path.exists(f"{path}/cgroup.procs") else ""


def write(path: str, value: int | str) -> None:
    """Write a value as the kernel takes it: at once."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def members(group: str) -> set[int]:
    """Return the processes in a group; none of one that is gone."""
    with suppress(OSError), open(f"{group}/cgroup.procs", encoding="ascii") as lines:
        return {int(line) for line in lines}
    return set()


def remove(group: str) -> None:
    """Remove a group that nothing is left in."""
    with suppress(OSError):
        os.rmdir(group)


def kill(group: str) -> None:
    """Kill all that is in a group."""
    while found := members(group):
        try:
            write(f"{group}/cgroup.kill", 1)
        except FileNotFoundError:  # older than Linux 5.14
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def parent(process: int) -> int:
    """Return the parent of a process; 0 of one that has ended."""
    with suppress(OSError), open(f"/proc/{process}/stat", encoding="latin-1") as stream:
        return int(stream.read().rpartition(")")[2].split()[1])
    return 0


def end(group: str, seconds: float) -> None:
    """End what is left in a group.

    Asked are those alone that no other one of the group has started; what is left after so many seconds is killed.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + seconds
    while (found := members(group)) and time.monotonic() < deadline:
        for process in found - asked:
            if parent(process) not in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
                asked.add(process)
        time.sleep(POLL_SECONDS)
    kill(group)
    remove(group)


class ControlGroups:
    """The groups below that of supervisord's unit."""

    def __init__(self, unit: str):
        self.unit = unit
        self.deadline = 0.0  # of all that is being ended

    @classmethod
    def divide(cls, name: str) -> ControlGroups:
        """Divide the group of this process's unit: this process goes out of the way, and the others may have limits."""
        unit = directory()
        if os.path.basename(unit) != name or not os.access(f"{unit}/cgroup.procs", os.W_OK):
            raise FileNotFoundError(f"{ROOT} has no group of {name} that can be divided")
        own = os.path.join(unit, OWN)
        os.makedirs(own, exist_ok=True)
        write(f"{own}/cgroup.procs", os.getpid())
        with open(f"{unit}/cgroup.controllers", encoding="ascii") as stream:
            offered = stream.read().split()
        for controller in CONTROLLERS:
            if controller in offered:
                write(f"{unit}/cgroup.subtree_control", f"+{controller}")
        return cls(unit)

    def of(self, program: str, process: str, number: int) -> str:
        """Return the group of one start of a process; a colon is in no name that the kernel uses there."""
        return os.path.join(self.unit, f"{program}:{process}:{number}")

    def enter(self, program: str, process: str, seconds: float) -> None:
        """Let this process, a new one of supervisord, begin in a group of its own, when the former one is empty."""
        deadline = time.monotonic() + seconds + LEEWAY_SECONDS
        for former in glob.glob(f"{glob.escape(self.of(program, process, 0)[:-1])}*"):
            while members(former) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            kill(former)
            remove(former)
        group = self.of(program, process, os.getpid())
        os.mkdir(group)
        write(f"{group}/cgroup.procs", os.getpid())

    def leave(self, group: str, seconds: float) -> None:
        """End what a process of supervisord has left behind, without waiting for it."""
        if not members(group):
            remove(group)
            return
        self.deadline = max(self.deadline, time.monotonic() + seconds + LEEWAY_SECONDS)
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), group, str(seconds)]
        os.posix_spawn(command[0], command, {})

    def wait(self) -> None:
        """Wait until all is ended that was asked to; systemd kills what is there when supervisord has ended."""
        while time.monotonic() < self.deadline and any(map(members, glob.glob(f"{glob.escape(self.unit)}/*:*"))):
            time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    end(sys.argv[1], float(sys.argv[2]))
