# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates compiled once in a run: Jinja compiles a text each time, and Ansible has a process for each host."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from jinja2 import Environment, TemplateError

_COMPILED: dict[Hashable, Any] = {}
# As Jinja has it.
_compile = Environment.compile


def _once(self: Environment, source: Any, *args: Any, **options: Any) -> Any:
    """Compile a text that was not compiled before with the same settings."""
    if not isinstance(source, str) or args or options:
        return _compile(self, source, *args, **options)
    key = _key(self, source)
    if key in _COMPILED:
        return _COMPILED[key]
    compiled = _compile(self, source)
    # In a value, and not in the text of a file, Ansible takes a backslash for itself.
    if "\\" not in source:
        _COMPILED[key] = compiled
    return compiled


def _key(environment: Environment, source: str) -> Hashable:
    signs = (environment.variable_start_string, environment.variable_end_string, environment.comment_start_string)
    blanks = (environment.trim_blocks, environment.lstrip_blocks, environment.keep_trailing_newline)
    return type(environment), source, signs, blanks


def compile_once(environment: Environment, values: Iterable[str], files: Iterable[str]) -> None:
    """Compile values and the texts of files before the processes for the hosts begin.

    One that cannot be compiled is left to its task.
    """
    for value in values:
        with contextlib.suppress(TemplateError):
            _once(environment, value)
    for text in files:
        with contextlib.suppress(TemplateError):
            _COMPILED[_key(environment, text)] = _compile(environment, text)


@contextlib.contextmanager
def reuse() -> Iterator[None]:
    """Let the templates of this process be compiled once; it is for a process that ends soon."""
    Environment.compile = _once
    try:
        yield
    finally:
        Environment.compile = _compile
