# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pointers of Git LFS: small text files that stand where the real ones are not."""

from __future__ import annotations

import re

# A pointer is smaller, says its specification.
LARGEST = 1024
_POINTER = re.compile(rb"version https?://(git-lfs|hawser)\.github\.com/spec/v\d\r?\n(.+\n)*oid \w+:[0-9a-f]+\r?\n")


def is_pointer(data: bytes) -> bool:
    """Tell whether a file that begins with ``data`` is a pointer."""
    return bool(_POINTER.match(data))


def is_pointer_file(path: str) -> bool:
    """Tell whether a file is a pointer."""
    with open(path, "rb") as stream:
        return is_pointer(stream.read(LARGEST))
