# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a program of supervisord as another account: ``launch.py user=NAME [KEY=VALUE...] -- COMMAND [ARGUMENT...]``.

The other keys are socket (a path), the limits memory (bytes), processes and open_files, and private_tmp: a directory of
root's with what stands in the place of /tmp and /var/tmp (private_shm is what stands in that of /dev/shm), or "no" for
the host's own. supervisord starts it as root, and it becomes the command, so the process stays the same.
"""

from __future__ import annotations

import os
import pwd
import resource
import stat
import sys
from contextlib import suppress
from typing import NoReturn

LISTEN_FD = 3  # the first one of systemd's protocol
CONTROL_GROUPS = "/sys/fs/cgroup"
# What is written where; an empty text stands for the wanted value. A kernel may have no accounting of swap.
GROUP_LIMITS = {"memory": {"memory.max": "", "memory.swap.max": "0"}, "processes": {"pids.max": ""}}
OPTIONAL_LIMITS = ("memory.swap.max",)
HOST = "no"
CLONE_NEWNS = 0x20000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 8, 32, 4096, 16384, 1 << 19
MNT_DETACH = 2


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


def root_directory(path: str, mode: int) -> None:
    """Make a directory of root's, or correct one; what another account has put there is put aside."""
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid:
            os.rename(path, f"{path}.{os.getpid()}")
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid:
            raise OSError(f"{path} belongs to another account, which has just put it there. Remove it")
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def call(name: str, *arguments: bytes | int | None) -> None:
    """Call a function of the C library that Python has not, or not yet."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*(ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments)):
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({name}), so it cannot have the /tmp that private_tmp says")


def leave_mounts() -> None:
    """Let what this process mounts be seen by itself, and by what it starts, alone."""
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC | MS_SLAVE, None)


def own_tmp(directory: str, shm: str) -> None:
    """Have directories in the place of those that all accounts of a host share."""
    # /tmp comes after /var/tmp, which may be a link to it.
    sources = {"/var/tmp": f"{directory}/var-tmp", "/tmp": f"{directory}/tmp", "/dev/shm": shm}
    for above in (directory, os.path.dirname(shm)):
        root_directory(above, 0o700)
    for source in sources.values():
        root_directory(source, 0o1777)
    leave_mounts()
    for place, source in sources.items():
        flags = MS_NOSUID | MS_NODEV | (os.statvfs(place).f_flag | os.statvfs(source).f_flag) & MS_NOEXEC
        call("mount", source.encode(), place.encode(), None, MS_BIND, None)
        call("mount", None, place.encode(), None, MS_REMOUNT | MS_BIND | flags, None)


def host_tmp() -> None:
    """Have the host's own in the place of those that systemd has given to supervisord."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        mounts = [line.split()[3:5] for line in lines]
    given = [place for root, place in mounts if place in ("/tmp", "/var/tmp") and "/systemd-private-" in root]
    if given:
        leave_mounts()
    for place in given:
        call("umount2", place.encode(), MNT_DETACH)


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
        if wanted.get("private_tmp") == HOST:
            host_tmp()
        elif "private_tmp" in wanted:
            own_tmp(wanted["private_tmp"], wanted["private_shm"])
        become(user)
        os.execvp(command[0], command)
    except (KeyError, OSError) as error:
        sys.exit(f"The program cannot be started as {wanted['user']}: {error}")  # to its log


if __name__ == "__main__":
    main(sys.argv[1:])
