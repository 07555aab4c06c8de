# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as Python's own types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as Python's own types, out of what any ansible-core wraps it in.

    The validator would copy a templating engine with a lazy container, and takes encrypted text for no text.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, str) or hasattr(value, "_ciphertext"):
        return str.__str__(str(value))
    return next((kind(value) for kind in (bool, int, float) if isinstance(value, kind)), value)


def whole_number(value: Any) -> int | None:
    """Return a number, of which ansible-core makes text up to 2.18; none where it is no whole number."""
    return int(value) if str(value).isdigit() else None
