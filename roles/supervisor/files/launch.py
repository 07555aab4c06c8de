# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a program of supervisord as another account: ``launch.py user=NAME [KEY=VALUE...] -- COMMAND [ARGUMENT...]``.

The other keys are socket (a path), and the limits memory (bytes), processes and open_files. supervisord starts it as
root, and it becomes the command, so the process stays the same.
"""

from __future__ import annotations

import os
import pwd
import resource
import sys
from contextlib import suppress
from typing import NoReturn

LISTEN_FD = 3  # the first one of systemd's protocol
CONTROL_GROUPS = "/sys/fs/cgroup"
# What is written where; an empty text stands for the wanted value. A kernel may have no accounting of swap.
GROUP_LIMITS = {"memory": {"memory.max": "", "memory.swap.max": "0"}, "processes": {"pids.max": ""}}
OPTIONAL_LIMITS = ("memory.swap.max",)


def listen_at(path: str, uid: int) -> None:
    """Bind a socket and hand it over; its directory is root's, so the account can put nothing else in its place.

    The account and the group of the directory may connect.
    """
    import socket

    with suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as bound:
        former = os.umask(0o177)
        bound.bind(path)
        os.umask(former)
        if os.geteuid() == 0:
            os.chown(path, uid, os.stat(os.path.dirname(path)).st_gid)
        os.chmod(path, 0o660)
        if bound.fileno() == LISTEN_FD:
            bound.detach()
        else:
            os.dup2(bound.fileno(), LISTEN_FD)
    os.set_inheritable(LISTEN_FD, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))


def control_group() -> str:
    """Return the control group that supervisord has made for this process."""
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("0::") and line.rstrip().endswith(f":{os.getpid()}"):
                return f"{CONTROL_GROUPS}{line[len('0::') :].rstrip()}"
    raise OSError("supervisord has no control group for it, so neither its memory nor its processes can have a limit")


def limit(wanted: dict[str, str]) -> None:
    """Set the limits that are wanted, for all that becomes of this process."""
    for key in GROUP_LIMITS.keys() & wanted.keys():
        group = control_group()
        for name, value in GROUP_LIMITS[key].items():
            path = os.path.join(group, name)
            if name not in OPTIONAL_LIMITS or os.path.exists(path):
                # No file of this name means no such controller, and none can be made here.
                with open(os.open(path, os.O_WRONLY), "w", encoding="ascii") as stream:
                    stream.write(value or wanted[key])
    if "open_files" in wanted:
        number, most = int(wanted["open_files"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if number > most:
            raise OSError(f"open_files is {number}, and supervisord itself may open {most} (supervisor_open_files)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def become(user: pwd.struct_passwd) -> None:
    """Give up root's rights; who is not root stays who he is."""
    if os.geteuid() == 0:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def main(words: list[str]) -> NoReturn:
    """Do what the command line says."""
    begin = words.index("--")
    wanted, command = dict(word.split("=", 1) for word in words[:begin]), words[begin + 1 :]
    try:
        user = pwd.getpwnam(wanted["user"])
        if "socket" in wanted:
            listen_at(wanted["socket"], user.pw_uid)
        limit(wanted)
        become(user)
        os.execvp(command[0], command)
    except (KeyError, OSError) as error:
        sys.exit(f"The program cannot be started as {wanted['user']}: {error}")  # to its log


if __name__ == "__main__":
    main(sys.argv[1:])
