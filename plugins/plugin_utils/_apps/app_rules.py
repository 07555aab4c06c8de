# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for an app by itself: its names, account, environment, health probe and shared paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.environment import environment_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import HostNameError, host_header
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.forms import form_problems, least_problems, repeated

FORMS = {
    "name": (r"[a-z][a-z0-9_-]{0,26}", "a lower-case letter, then up to 26 lower-case letters, digits, - or _"),
    "entrypoint": (
        r"[A-Za-z_][\w.]*(?<!\.py):[A-Za-z_][\w.]*(\(.*\))?",
        "module:callable or module:factory(), for example hello_flask:create_app(), with dots between packages and "
        "without .py",
    ),
    "user": (r"|[a-z_][a-z0-9_-]{0,31}", "a user name of at most 32 lower-case letters, digits, - or _"),
    "python.version": (
        r"auto|3\.([6-9]|[1-9]\d)",
        'auto, or a version such as "3.12", in quotes, because YAML reads 3.10 without them as 3.1',
    ),
    "health.path": (
        r"/(?!/)(?!([^?]*/)?\.{1,2}([/?]|$))[!\"$-~]*",
        "a path of plain ASCII that starts with one /, with no #, .. or . in it, for example /healthz",
    ),
}


_LEAST = {
    "health.timeout": 1,
    "health.stable": 0,
    "releases.keep": 2,  # the live one and the one before
    "releases.warm": 0,
}


# Names whose user, program or log would be somebody else's.
_RESERVED_NAMES = frozenset(("build", "nginx", "stack", "supervisord"))


BUILD_USER = "wsgi-build"


_RESERVED_USERS = frozenset(("root", BUILD_USER))


def app_problems(app: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with an app by itself."""
    yield from form_problems(app, FORMS)
    yield from least_problems(app, _LEAST)
    yield from _health_problems(app["health"])
    yield from environment_problems(app["environment"])
    if app["name"] in _RESERVED_NAMES:
        yield f"name is {app['name']!r}, which the stack uses itself"
    if app["user"] in _RESERVED_USERS:
        yield f"user is {app['user']!r}, with whose rights no app may run"
    yield from _shared_problems(app["shared"])


def _health_problems(health: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with the health probe."""
    try:
        host_header(health["host"] or "localhost")
    except HostNameError as error:
        yield f"health.host is {error}"
    for status in health["statuses"]:
        if not re.fullmatch(r"[2-5]([0-9][0-9]|xx)", status):
            yield f"health.statuses has {status!r}; it must be a status from 200 to 599, or 2xx, 3xx, 4xx or 5xx"
    if not health["statuses"]:
        yield "health.statuses is empty, so no answer could be healthy; write [2xx], or leave it out"


def _shared_problems(shared: Mapping[str, list[str]]) -> Iterator[str]:
    """Find what is wrong with the paths that releases share."""
    paths = [(kind, path) for kind, paths in shared.items() for path in paths]
    for path in repeated(path for _kind, path in paths):
        yield f"shared has {path!r} twice; leave one of them out"
    for kind, path in paths:
        if not re.fullmatch(r"[A-Za-z0-9._+@-]+(/[A-Za-z0-9._+@-]+)*", path) or {".", ".."} & set(path.split("/")):
            yield f"shared.{kind} has {path!r}; give a path in the source, such as instance/uploads"
        elif path.split("/")[0] == "venv" and not path.startswith("venv/var/"):
            yield (
                f"shared.{kind} has {path!r}; venv is the release's environment, which the app cannot change, so only "
                "paths below venv/var can be shared, such as venv/var/shop-instance"
            )
        elif any(other != path and f"{path}/".startswith(f"{other}/") for _kind, other in paths):
            yield f"shared.{kind} has {path!r}, which is in another shared directory already"
