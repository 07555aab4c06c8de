# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes in bytes, as people write them."""

from __future__ import annotations

# A number of bytes, or of k, m or g.
SIZE = r"[1-9]\d*[kKmMgG]?"


def in_bytes(size: str) -> int:
    """Return the number of bytes that a size such as 500m is."""
    return int(size.rstrip("kKmMgG")) << {"k": 10, "m": 20, "g": 30}.get(size[-1].lower(), 0)
