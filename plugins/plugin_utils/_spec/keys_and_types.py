# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and values that do not fit the options of a dictionary, each told in a sentence with its whole path."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_dict,
    check_type_float,
    check_type_int,
    check_type_list,
)

_WANTED = {
    "bool": "true or false",
    "int": "a number, whole and without a unit",
    "float": "a number without a unit",
    "list": "a list",
}
_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "bool": check_type_bool,
    "int": check_type_int,
    "float": check_type_float,
    "list": check_type_list,
    "dict": check_type_dict,
}


def value_problems(options: Mapping[str, Any], value: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Find what Ansible's validator would refuse in words of its own, or take for something else."""
    for key in value:
        if key not in options:
            yield _unknown(options, str(key), path)
    for key, option in options.items():
        place = f"{path}{key}"
        if value.get(key) is not None:
            yield from _problems(option, value[key], place)
        elif option.get("required"):
            yield f"{place} has no value; give it one" if key in value else f"{place} is missing; add it"
        elif key in value and option.get("default") not in (None, ""):
            yield f"{place} has no value; give it one, or leave it out"


def without_empty(options: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary without the keys that have no value: ansible-core before 2.19 takes none for a wrong one."""
    return {key: _without_empty(options[key].get("options"), item) for key, item in value.items() if item is not None}


def _without_empty(options: Mapping[str, Any] | None, value: Any) -> Any:
    if options and isinstance(value, Mapping):
        return without_empty(options, value)
    if options and isinstance(value, list):
        return [_without_empty(options, item) for item in value]
    return value


def _unknown(options: Mapping[str, Any], key: str, path: str) -> str:
    """Say which key is unknown, which one may be meant, and which there are."""
    near = difflib.get_close_matches(key, options, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown key {path}{key}{meant}; known here: {', '.join(sorted(options))}"


def _problems(option: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    """Find what is wrong with a value that is there."""
    kind, inner = option.get("type", "str"), option.get("options")
    if not _fits(kind, value) or (kind == "list" and inner and not isinstance(value, list)):
        yield f"{place} is {_shown(option, value)}; it must be {_wanted(kind, inner, value)}"
    elif kind == "list":
        element = {**option, "type": option.get("elements", "raw")}
        for index, item in enumerate(check_type_list(value)):
            if item is None:
                yield f"{place}[{index}] has no value; give it one, or leave it out"
            else:
                yield from _problems(element, item, f"{place}[{index}]")
    elif kind == "dict" and inner:
        yield from value_problems(inner, check_type_dict(value), f"{place}.")
    elif (choices := option.get("choices")) and value not in choices:
        known = ", ".join(str(choice) for choice in choices if choice != "")
        yield f"{place} is {value!r}; it must be one of {known}"


def _fits(kind: str, value: Any) -> bool:
    """Tell whether a value is of a type, or can become one without a guess."""
    if kind in ("str", "path"):
        return isinstance(value, (str, int, float)) and not isinstance(value, bool)
    if kind in ("int", "float") and isinstance(value, bool):
        return False
    if kind == "dict" and not isinstance(value, (str, Mapping)):
        return False
    with suppress(TypeError, ValueError):
        _CONVERTED.get(kind, bool)(value)
        return True
    return False


def _wanted(kind: str, inner: Mapping[str, Any] | None, value: Any) -> str:
    if kind == "dict":
        return f"a dictionary with keys such as {next(iter(inner))}" if inner else "a dictionary"
    if kind == "list" and inner:
        return "a list of dictionaries, each starting with -"
    return _WANTED.get(kind, "text, in quotes" if isinstance(value, bool) else "text")


def _shown(option: Mapping[str, Any], value: Any) -> str:
    """Return a value as a sentence may show it; a dictionary without known keys may hold secrets."""
    if option.get("no_log") or (option.get("type") == "dict" and not option.get("options")):
        return f"a {type(value).__name__}"
    return str(value).lower() if isinstance(value, bool) else repr(value)[:100]
