# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: looked at as a whole first, then unpacked by us, so nothing lands elsewhere and nothing grows unbounded."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, Any, NamedTuple

from ansible_collections.baremetal.web.plugins.module_utils._host.trees import DEEPEST

LONGEST = 2048  # bytes of a path: hosts put their own directory before it, and Linux takes 4096
LONGEST_PART = 255
PIECE = 1 << 20
ROOM = 2048  # bytes of headers for each member
FILE, DIRECTORY, LINK, HARD_LINK = "file", "directory", "link", "hard link"
# What the libraries raise for archives that are damaged, or made to be.
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, OverflowError, RuntimeError, MemoryError, IndexError, KeyError),
)


class ArchiveError(Exception):
    """An archive, or a tree, holds what is not taken; the text says what, and what to do."""


class Bounds:
    """The bounds of a source: so many files, so many bytes, no path too deep; without numbers any amount."""

    def __init__(self, size: int | None = None, files: int | None = None):
        self.size = size
        self.files = files
        self._bytes = 0
        self._number = 0

    def anew(self) -> Bounds:
        """Return the same bounds, with nothing counted."""
        return Bounds(self.size, self.files)

    def take(self, name: str, size: int) -> None:
        """Count one more file; refuse it when it is too much."""
        parts = name.split("/")
        if len(parts) > DEEPEST or len(os.fsencode(name)) > LONGEST:
            raise ArchiveError(
                f"{name[:60]!r}… has {len(parts)} parts and {len(name)} signs. Hosts take {DEEPEST} parts and "
                f"{LONGEST} bytes. Use a shorter path."
            )
        if longest := next((part for part in parts if len(os.fsencode(part)) > LONGEST_PART), ""):
            raise ArchiveError(
                f"{longest[:60]!r}… is a name of {len(os.fsencode(longest))} bytes. Linux takes {LONGEST_PART}. Use a "
                "shorter name."
            )
        self._number += 1
        self._bytes += size
        if size < 0:
            raise ArchiveError(f"{name!r} has the size {size}. The archive is damaged. Make it anew.")
        if self.files is not None and self._number > self.files:
            raise ArchiveError(
                f"there are more than {self.files} files. source.max_files says how many there may be. "
                "Raise it if that is right."
            )
        if self.size is not None and self._bytes > self.size:
            raise self.too_large()

    def too_large(self) -> ArchiveError:
        return ArchiveError(
            f"there are more than {self.size} bytes. source.max_size says how many there may be. "
            "Raise it if that is right."
        )

    @property
    def stream(self) -> int | None:
        """Return how long what is unpacked may be, headers included."""
        return None if self.size is None else self.size + ROOM * (self.files or 0)


class Member(NamedTuple):
    """One member of an archive."""

    name: str
    kind: str
    size: int = 0
    executable: bool = False
    target: str = ""
    time: float | None = None


def unpack(archive: str, target: str, bounds: Bounds) -> None:
    """Unpack a tar or zip archive into a directory that is empty; raise ArchiveError when it is not fit for that."""
    try:
        os.makedirs(target, exist_ok=True)
        with open(archive, "rb") as stream:
            is_zip = stream.read(4) in (b"PK\3\4", b"PK\5\6")
        (_unpack_zip if is_zip else _unpack_tar)(archive, target, bounds)
    except DAMAGED as error:
        said = (str(error) or type(error).__name__).rstrip(".")
        if getattr(error, "errno", None):  # of the system, not of the archive
            raise ArchiveError(f"{said}.") from None
        raise ArchiveError(
            f"{said}. It is damaged, or no archive that is known here. Make it anew with `tar -czf` or `zip -r`."
        ) from None


def check_zip(archive: str, bounds: Bounds) -> None:
    """Refuse a zip archive that others are to unpack, such as a wheel, when it is not fit for that."""
    try:
        with zipfile.ZipFile(archive) as opened:
            _checked((member for _info, member in _of_zip(opened)), bounds)
    except DAMAGED as error:
        raise ArchiveError(f"{str(error).rstrip('.')}. It is damaged, or no zip archive. Make it anew.") from None


def small_files(archive: str, largest: int) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a checked zip archive's small files."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if 0 < info.file_size <= largest:
                    yield info.filename, opened.read(info)
    except DAMAGED as error:
        raise ArchiveError(f"{str(error).rstrip('.')}. It is damaged. Make it anew.") from None


# --- what may be in it


def _plain(name: str) -> str:
    """Return a name without the parts that say nothing; refuse one that leads elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise ArchiveError(f"it has {name[:200]!r}, which leads out of it. Make it anew without such a name.")
    if "\0" in name:
        raise ArchiveError(f"it has {name[:200]!r}, which no file can be named. Make it anew without such a name.")
    return "/".join(parts)


def _checked(members: Iterable[Member], bounds: Bounds) -> list[Member]:
    """Return all members; refuse them as a whole when one is not fit, or two do not go together."""
    kinds: dict[str, str] = {"": DIRECTORY}
    sizes: dict[str, int] = {}
    found = []
    for member in members:
        if member.kind == HARD_LINK:  # becomes a copy
            member = member._replace(size=sizes.get(_plain(member.target), 0))
        bounds.take(member.name, member.size)
        previous = kinds.get(member.name)
        if previous and (previous, member.kind) != (DIRECTORY, DIRECTORY):
            raise ArchiveError(f"it has {member.name!r} twice, so nobody knows which one counts. Make it anew.")
        if member.kind in (LINK, HARD_LINK):
            _check_link(member, kinds)
        kinds[member.name] = member.kind
        sizes[member.name] = member.size
        found.append(member)
    for name in kinds:
        parent = name
        while parent := os.path.dirname(parent):
            if kinds.get(parent, DIRECTORY) != DIRECTORY:
                raise ArchiveError(f"it has {name!r}, and {parent!r} is no directory. Make it anew.")
    return found


def _check_link(member: Member, kinds: dict[str, str]) -> None:
    said = f"it has the {member.kind} {member.name!r} to {member.target[:200]!r}"
    if member.kind == HARD_LINK:
        if kinds.get(_plain(member.target)) not in (FILE, HARD_LINK):
            raise ArchiveError(f"{said}, which is no file before it. Make it anew with plain files.")
        return
    place = os.path.normpath(os.path.join(os.path.dirname(member.name), member.target))
    if not member.target or "\0" in member.target or os.path.isabs(member.target) or place.split("/")[0] == "..":
        raise ArchiveError(f"{said}, which leads out of it. Make it anew without that link.")


# --- how it gets there


def _write(target: str, member: Member, content: IO[bytes]) -> None:
    """Write a file that is not there yet."""
    path = os.path.join(target, member.name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(content, stream, PIECE)
        if stream.tell() != member.size:
            raise ValueError(f"{member.name!r} has {stream.tell()} bytes, not {member.size}")
        os.fchmod(descriptor, 0o755 if member.executable else 0o644)
    if member.time is not None:
        with suppress(OverflowError, ValueError, OSError):  # a time that no file can have
            os.utime(path, (member.time, member.time))


def _make_directory(target: str, name: str) -> None:
    """Make a directory and those above it, closed to nobody."""
    made = target
    for part in filter(None, name.split("/")):
        made = os.path.join(made, part)
        with suppress(FileExistsError):
            os.mkdir(made)
            os.chmod(made, 0o755)


def _place(target: str, member: Member, content: IO[bytes] | None) -> None:
    """Put a directory or a file where it belongs; links come last, so nothing is written through one."""
    if member.kind == DIRECTORY:
        _make_directory(target, member.name)
    elif member.kind != LINK:
        _make_directory(target, os.path.dirname(member.name))
        if content:
            _write(target, member, content)
        else:
            shutil.copy2(os.path.join(target, _plain(member.target)), os.path.join(target, member.name))


def _link(target: str, members: list[Member]) -> None:
    real = os.path.realpath(target)
    links = [member for member in members if member.kind == LINK]
    for member in links:
        _make_directory(target, os.path.dirname(member.name))
        os.symlink(member.target, os.path.join(target, member.name))
    for member in links:  # one can lead out by another
        if os.path.commonpath([real, os.path.realpath(os.path.join(target, member.name))]) != real:
            os.unlink(os.path.join(target, member.name))
            raise ArchiveError(
                f"it has the link {member.name!r} to {member.target[:200]!r}, which leads out of it. "
                "Make it anew without that link."
            )


# --- tar


class _Forwards:
    """An archive's content, read forwards, in small pieces, and not without end."""

    def __init__(self, stream: Any, bounds: Bounds):
        self._stream = stream
        self._bounds = bounds
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= PIECE:
            raise ValueError(f"a header has {size} bytes")
        self._reach(self.tell() + size)
        self.last = self._stream.read(size)
        return self.last

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, position: int, _whence: int = 0) -> None:
        if position < self.tell():
            raise ValueError("a header leads backwards")
        self._reach(position)
        while (rest := position - self.tell()) and self._stream.read(min(rest, PIECE)):
            pass

    def _reach(self, position: int) -> None:
        if self._bounds.stream is not None and position > self._bounds.stream:
            raise self._bounds.too_large()


def _opened(archive: str) -> Any:
    with open(archive, "rb") as stream:
        begin = stream.read(6)
    for sign, opener in (
        (b"\x1f\x8b", gzip.open),
        (b"BZh", bz2.open),
        (b"\xfd7zXZ\0", lzma.open),
        (b"]\0\0", lzma.open),
    ):
        if begin.startswith(sign):
            return opener(archive)
    return open(archive, "rb")


def _of_tar(archive: str, bounds: Bounds) -> Iterator[tuple[Member, IO[bytes] | None]]:
    with _opened(archive) as stream:
        forwards = _Forwards(stream, bounds)
        with tarfile.open(fileobj=forwards, mode="r:") as tar:
            for info in tar:
                member = _tar_member(info)
                yield member, tar.extractfile(info) if member.kind == FILE else None
            # tarfile takes a header that it cannot read for the end.
            if any(forwards.last):
                raise ValueError("a header cannot be read")


def _tar_member(info: tarfile.TarInfo) -> Member:
    kinds = {info.isdir(): DIRECTORY, info.issym(): LINK, info.islnk(): HARD_LINK, info.isreg(): FILE}
    name, kind = _plain(info.name), kinds.get(True)
    if kind is None:
        raise ArchiveError(
            f"it has {info.name[:200]!r}, which is neither a file, a directory nor a link. Make it anew without that."
        )
    size = info.size if kind == FILE else min(info.size, 0)
    return Member(name, kind, size, bool(info.mode & 0o100), info.linkname, info.mtime)


def _unpack_tar(archive: str, target: str, bounds: Bounds) -> None:
    members = _checked((member for member, _content in _of_tar(archive, bounds)), bounds)
    for member, content in _of_tar(archive, bounds):
        _place(target, member, content)
    _link(target, members)


# --- zip


def _of_zip(archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, Member]]:
    for info in archive.infolist():
        if "\0" in info.orig_filename or "\\" in info.orig_filename:
            raise ArchiveError(
                f"it has {info.orig_filename[:200]!r}. Names in a zip archive have / between their parts. Make it anew."
            )
        if info.flag_bits & 1:
            raise ArchiveError(f"it has {info.filename[:200]!r}, which is encrypted. Make it anew without a password.")
        mode = info.external_attr >> 16
        kinds = {stat.S_IFLNK: LINK, stat.S_IFDIR: DIRECTORY, stat.S_IFREG: FILE, 0: FILE}
        kind = DIRECTORY if info.is_dir() else kinds.get(stat.S_IFMT(mode))
        name, target = _plain(info.filename), ""
        if kind is None:
            raise ArchiveError(
                f"it has {info.filename[:200]!r}, which is neither a file, a directory nor a link. "
                "Make it anew without that."
            )
        if kind == LINK:
            if info.file_size > LONGEST:
                raise ArchiveError(f"it has the link {name!r} with a target of {info.file_size} bytes. Make it anew.")
            target = os.fsdecode(archive.read(info))
        yield info, Member(name, kind, info.file_size if kind == FILE else 0, bool(mode & 0o100), target)


def _unpack_zip(archive: str, target: str, bounds: Bounds) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = _checked((member for _info, member in _of_zip(opened)), bounds)
        for info, member in _of_zip(opened):
            if member.kind == FILE:
                with opened.open(info) as content:
                    _place(target, member, content)
            else:
                _place(target, member, None)
        _link(target, members)
