# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees that another account has, or has had: root goes through them by descriptor alone, and follows no link."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections import Counter

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# A pipe in the place of a file does not hold whoever opens it.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
DEEPEST = 100
KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


class TreeError(OSError):
    """A tree holds what is not taken over; the text says what."""


def copy(source: str, target: str, owner: int, uid: int = 0, gid: int = 0) -> None:
    """Make a copy of what an account has in a tree, with plain modes, as another account's.

    All files are new, so a process that holds an old one open, or changes it meanwhile, has none of the copy.
    """
    descriptor = os.open(source, DIRECTORY)
    try:
        os.mkdir(target, 0o700)
        made = os.open(target, DIRECTORY)
        try:
            _copy(descriptor, made, "", owner, uid, gid)
        finally:
            os.close(made)
    finally:
        os.close(descriptor)


def _copy(source: int, target: int, place: str, owner: int, uid: int, gid: int) -> None:
    """Copy what is in a directory, then give the copy its owner and its mode."""
    if place.count("/") > DEEPEST:
        raise TreeError(f"{place[:80]!r}… is deeper than {DEEPEST} directories. Let it not be made so deep.")
    for name in os.listdir(source):
        path = f"{place}{name}"
        info = _checked(os.stat(name, dir_fd=source, follow_symlinks=False), path, owner)
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)
            continue
        whole = stat.S_ISDIR(info.st_mode)
        opened = os.open(name, DIRECTORY if whole else FILE, dir_fd=source)
        try:
            # It may be another one by now.
            info = _checked(os.fstat(opened), path, owner)
            if whole:
                os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, DIRECTORY if whole else os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=target)
            try:
                if whole:
                    _copy(opened, made, f"{path}/", owner, uid, gid)
                else:
                    _copy_content(opened, made)
                    os.fchown(made, uid, gid)
                    os.fchmod(made, 0o755 if info.st_mode & 0o100 else 0o644)
                # Compiled files are valid for a source of that time.
                os.utime(made, ns=(info.st_atime_ns, info.st_mtime_ns))
            finally:
                os.close(made)
        finally:
            os.close(opened)
    os.fchown(target, uid, gid)
    os.fchmod(target, 0o755)


def _checked(info: os.stat_result, path: str, owner: int) -> os.stat_result:
    """Refuse what is no file, directory or link, or belongs to somebody else: by another name it may be any file."""
    if kind := KINDS.get(stat.S_IFMT(info.st_mode)):
        raise TreeError(f"{path!r} is {kind}. A release holds files, directories and links. Remove it when it is used.")
    if info.st_uid != owner:
        raise TreeError(
            f"{path!r} belongs to {_name(info.st_uid)}, not to {_name(owner)}. A release takes over what the account "
            "of its build or hook has made. Let no other account make files there."
        )
    return info


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account {uid}"


def _copy_content(source: int, target: int) -> None:
    """Copy a file in the kernel; a file system that cannot do that gets it piece by piece."""
    try:
        while os.copy_file_range(source, target, 1 << 30):
            pass
    except OSError:
        os.lseek(source, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
        os.lseek(target, 0, os.SEEK_SET)
        with os.fdopen(os.dup(source), "rb") as reader, os.fdopen(os.dup(target), "wb") as writer:
            shutil.copyfileobj(reader, writer)


def chown_tree(path: str, uid: int, gid: int, owner: int | None = None) -> None:
    """Let another account own a tree, or what ``owner`` has in it; the top last.

    A file that has another name outside of the tree stays as it is, because it may be anybody's.
    """
    links: Counter[tuple[int, int]] = Counter()
    for _directory, names, files, descriptor in os.fwalk(path):
        for name in [*names, *files]:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
                links[info.st_dev, info.st_ino] += 1
    for _directory, names, files, descriptor in os.fwalk(path, topdown=False):
        for name in [*names, *files]:
            _chown(name, descriptor, uid, gid, owner, links)
        if owner in (None, os.fstat(descriptor).st_uid):
            os.fchown(descriptor, uid, gid)


def _chown(name: str, place: int, uid: int, gid: int, owner: int | None, links: Counter[tuple[int, int]]) -> None:
    """Let another account own one file or link; a directory follows when all that is in it has."""
    info = os.stat(name, dir_fd=place, follow_symlinks=False)
    if not stat.S_ISREG(info.st_mode):
        if not stat.S_ISDIR(info.st_mode) and _is_chowned(info, owner, links):
            os.chown(name, uid, gid, dir_fd=place, follow_symlinks=False)
        return
    descriptor = os.open(name, FILE, dir_fd=place)
    try:
        if _is_chowned(os.fstat(descriptor), owner, links):
            os.fchown(descriptor, uid, gid)
    finally:
        os.close(descriptor)


def _is_chowned(info: os.stat_result, owner: int | None, links: Counter[tuple[int, int]]) -> bool:
    return owner in (None, info.st_uid) and info.st_nlink <= max(1, links[info.st_dev, info.st_ino])


def has_files(path: str) -> bool:
    """Tell whether anything but directories is in a tree."""
    return any(
        files or any(stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode) for name in names)
        for _directory, names, files, place in os.fwalk(path)
    )
