# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of values and least numbers, which an argument spec cannot say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def _value(values: Mapping[str, Any], dotted: str) -> Any:
    found: Any = values
    for key in dotted.split("."):
        found = found[key]
    return found


def repeated(names: Iterable[Any]) -> list[Any]:
    """Return what occurs more than once."""
    return [name for name, number in Counter(names).items() if number > 1]


def form_problems(values: Mapping[str, Any], forms: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Find texts that have not the form of their dotted key."""
    for key, (pattern, wanted) in forms.items():
        value = _value(values, key)
        if not re.fullmatch(pattern, value):
            yield f"{key} is {value!r}; it must be {wanted}"


def least_problems(values: Mapping[str, Any], least: Mapping[str, int]) -> Iterator[str]:
    """Find numbers that are below the least one of their dotted key."""
    for key, number in least.items():
        value = _value(values, key)
        if value < number:
            yield f"{key} is {value}; it must be {number} or more"
