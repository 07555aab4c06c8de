# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell where a file of a host comes from: its package, this collection, or somebody else."""

from __future__ import annotations

import hashlib
import os
import shutil

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, commands
from ansible_collections.baremetal.web.plugins.module_utils._host.files import read_state

# rpm names no algorithm with a file's digest; the length tells it.
_RPM_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


def is_packaged(path: str) -> bool:
    """Tell whether a file, or what a link leads to, is as its package installed it."""
    target = os.path.realpath(path)
    state = read_state(target)
    if state is None or state.content is None:
        return False
    return any(
        hashlib.new(algorithm, state.content, usedforsecurity=False).hexdigest() == digest
        for algorithm, digest in (*_dpkg_digests(target), *_rpm_digests(target))
    )


def _dpkg_digests(path: str) -> list[tuple[str, str]]:
    """Return what dpkg knows of a configuration file; it keeps no digest of a diverted or obsolete one that counts."""
    if not shutil.which("dpkg-query"):
        return []
    owner = commands.run(["dpkg-query", "--search", path])[1].partition(":")[0]
    if not owner:
        return []
    listing = commands.run(["dpkg-query", "--show", "--showformat=${Conffiles}", owner])[1]
    known = [line.split() for line in listing.splitlines()]
    return [("md5", words[1]) for words in known if words[:1] == [path]]


def _rpm_digests(path: str) -> list[tuple[str, str]]:
    if not shutil.which("rpm"):
        return []
    query = ["rpm", "--query", "--file", "--queryformat", "[%{FILENAMES}\\t%{FILEDIGESTS}\\n]", path]
    known = [line.rpartition("\t") for line in commands.run(query)[1].splitlines()]
    return [(_RPM_ALGORITHMS[len(digest)], digest) for name, _tab, digest in known if name == path and digest]


def has_package(path: str) -> bool:
    """Tell whether a package brought a file, or what a link leads to."""
    target = os.path.realpath(path)
    asked = {"dpkg-query": ["--search", target], "rpm": ["--query", "--file", target]}
    return any(
        shutil.which(program) and commands.run([program, *arguments])[0] == 0 for program, arguments in asked.items()
    )


def is_foreign(path: str) -> bool:
    """Tell whether a file is neither this collection's nor as its package installed it."""
    return path not in change_record.read().get("file", {}) and os.path.lexists(path) and not is_packaged(path)
