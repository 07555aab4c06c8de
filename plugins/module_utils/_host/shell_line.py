# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a line of a shell as it is meant, by the program itself where that is clear: a signal then reaches it."""

from __future__ import annotations

import re
import shlex

# Every sign begins one alternative only, so that no line takes long.
_SUBSTITUTION = r"""\$\([^()'"`\\]*\)|`[^`'"\\]*`"""
_PART = rf"""(?:\\.|'[^']*'|"(?:\\.|[^"\\`$]|\$(?!\()|{_SUBSTITUTION})*"|{_SUBSTITUTION}|[^\s\\'"`;&|()<>])"""
_REDIRECTION = r"(?:>[>&|]?|<[>&]?(?!<))"
_TEXT = rf"(?:\s|{_REDIRECTION}|{_PART})*"
_SIMPLE = re.compile(
    rf"(?P<steps>(?:{_TEXT}(?:&&|;))*)\s*"
    rf"(?P<assignments>(?:[A-Za-z_]\w*={_PART}*\s+)*)"
    rf"(?P<command>(?P<first>{_PART}+)(?:[\s<>]{_TEXT})?)"
)
_STEP = re.compile(rf"({_TEXT})(?:&&|;)")
# A program in the place of the shell would end these early, or leave out what they ask for.
_KEYWORDS = re.compile(
    r"!|\[\[|\{|\}|case|do|done|elif|else|esac|fi|for|function|if|select|then|time|trap|until|while",
)
_BUILTINS = re.compile(
    r"\.|:|alias|bg|break|builtin|cd|command|continue|declare|eval|exec|exit|export|fg|getopts|hash|jobs|let|local|read|"
    r"readonly|return|set|shift|source|times|type|typeset|ulimit|umask|unalias|unset|wait"
)


def shell_command(line: str) -> str:
    """Return a line of a shell as one command that may follow ``&&``; what runs last takes the shell's place."""
    found = _SIMPLE.fullmatch(line.strip())
    if not found or not _is_clear(found):
        return f"eval {shlex.quote(line)}"
    steps, command = found["steps"], f"{found['assignments']}exec {found['command']}"
    return f"eval {shlex.quote(f'{steps} {command}')}" if steps else command


def _is_clear(found: re.Match[str]) -> bool:
    """Tell whether the last command is one program, and no step before it is about what follows."""
    words = [step.split(maxsplit=1)[:1] for step in _STEP.findall(found["steps"])]
    first = found["first"]
    return (
        all(word and not _KEYWORDS.fullmatch(word[0]) for word in words)
        and not _KEYWORDS.fullmatch(first)
        and not _BUILTINS.fullmatch(first)
        and not re.match(r"#|[A-Za-z_]\w*=", first)
    )
