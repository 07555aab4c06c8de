# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the environment variables of an app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Refused(NamedTuple):
    """Names that are refused, each as a whole or as a beginning with ``*`` after it."""

    names: tuple[str, ...]
    reason: str
    instead: str

    def has(self, name: str) -> bool:
        """Tell whether a name is one of these."""
        return any(re.fullmatch(each.replace("*", ".*"), name, re.DOTALL) for each in self.names)


# Names that are no app's own: servers, Python or the shell act upon them. docs/deploy.md has this table as well.
REFUSED = (
    Refused(
        (
            *("APP_SOCKET", "APP_LISTEN", "APP_STATS_PORT", "APP_RELEASE", "APP_ENTRYPOINT", "APP_INTERFACE"),
            *("APP_PROTOCOL", "APP_NAME"),
        ),
        "Each release sets it itself",
        "Choose another name",
    ),
    Refused(
        ("WEB_CONCURRENCY",),
        "Servers take it for their number of workers",
        "Set server.workers",
    ),
    Refused(
        ("GUNICORN_*", "UWSGI_*", "GRANIAN_*"),
        "The server takes it for an option, which may beat those of the app's entry",
        "Set the option in server",
    ),
    Refused(
        ("FORWARDED_ALLOW_IPS",),
        "Servers take it for the web server's address, which the collection sets",
        "Leave it out",
    ),
    Refused(
        ("SCRIPT_NAME",),
        "Servers take it for the prefix of the app's site",
        "Set site.prefix",
    ),
    Refused(
        ("WERKZEUG_*", "LISTEN_*", "NOTIFY_SOCKET", "SUPERVISOR_*"),
        "Servers and service managers set it themselves, for what they start",
        "Choose another name",
    ),
    Refused(
        ("PYTHONHOME", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV", "CONDA_PREFIX"),
        "Python would leave the release's virtual environment",
        "Set python.version, and list packages in python.requirements",
    ),
    Refused(
        (
            *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_NO_BINARY"),
            *("UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
        ),
        "Packages are installed without the app's environment",
        "Set python_index_url or python_wheelhouse",
    ),
    Refused(
        ("PYTHONSTARTUP", "PYTHONINSPECT"),
        "Python acts upon it for a person at a terminal, and an app has none",
        "Leave it out",
    ),
    Refused(
        ("HOME", "USER", "LOGNAME", "SHELL"),
        "It describes the app's account",
        "Set user, or choose another name",
    ),
    Refused(
        ("ENV", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "BASH_FUNC_*", "CDPATH"),
        "The shell changes how it runs commands",
        "Write it into the command of the hook or program",
    ),
    Refused(
        (
            "IFS",
            "PS1",
            "PS2",
            "PS4",
            "OPTIND",
            "PWD",
            "OLDPWD",
            "PPID",
            "UID",
            "EUID",
            "SHLVL",
            "BASH",
            "BASH_VERSINFO",
            "BASHPID",
            "RANDOM",
            "SRANDOM",
            "LINENO",
            "EPOCHSECONDS",
            "EPOCHREALTIME",
            "HISTCMD",
            "SECONDS",
            "GROUPS",
            "DIRSTACK",
            "FUNCNAME",
            "BASH_ARGC",
            "BASH_ARGV",
            "BASH_COMMAND",
            "BASH_LINENO",
            "BASH_SOURCE",
            "BASH_SUBSHELL",
            "_",
        ),
        "It is a variable of the shell itself",
        "Choose another name",
    ),
)


_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST_VARIABLE = 131072  # MAX_ARG_STRLEN, with the NUL at its end


def environment_problems(environment: Mapping[Any, Any]) -> Iterator[str]:
    """Find variables that cannot be, and those that would change more than the app."""
    for name, value in environment.items():
        if not isinstance(name, str):
            yield f"environment has the name {name!r}, which is no text; write the name in quotes"
        elif not _VARIABLE_NAME.fullmatch(name):
            yield f"environment has the name {name!r}; letters, digits and _ make a variable's name"
        if value is None:
            yield f'environment.{name} has no value; give it one, or "" for an empty text'
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            yield f"environment.{name} is neither text nor a number; write it in quotes"
        elif "\0" in str(value):
            yield f"environment.{name} has a NUL, which no variable can hold; take it out"
        elif (size := len(f"{name}={value}".encode(errors="surrogatepass"))) >= _LARGEST_VARIABLE:
            yield (
                f"environment.{name} makes {size} bytes with its name, and Linux takes fewer than {_LARGEST_VARIABLE}; "
                "put the value into a file"
            )
    yield from _refused(environment)


def _refused(environment: Mapping[Any, Any]) -> Iterator[str]:
    """Find variables that would change more than the app; no value is shown, because it may be secret."""
    for name in map(str, environment):
        for refused in REFUSED:
            if refused.has(name):
                yield f"environment.{name} is refused. {refused.reason}. {refused.instead}"
    path = environment.get("PATH", "/")
    if isinstance(path, (str, int, float)) and not re.fullmatch(r"/[^$:\0\n]*(:/[^$:\0\n]*)*", str(path)):
        yield (
            "environment.PATH is no list of absolute directories with : between them. No $ is expanded there. Write "
            "your own directories alone, because those of the release and the system are added"
        )
