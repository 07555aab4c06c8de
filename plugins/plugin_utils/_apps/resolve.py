# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve ``wsgi_apps``: check it, apply the defaults of the role's argument spec, derive what follows from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._apps.app_rules import BUILD_USER, app_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.command_rules import command_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.host_rules import relation_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.limits import limit_problems, limits_of
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import endpoint, servers
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.site_rules import site_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.source_rules import number_problems, source_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.dictionaries import complete
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import host_header, host_names
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.site_rules import own_names
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import DescriptionError, apply_options
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.secrets import conceal, vaulted


def fingerprint(*inputs: Any) -> str:
    """Return a text that is another one for other inputs, in whatever ansible-core wraps them."""
    return hashlib.sha256(repr([plain(each) for each in inputs]).encode()).hexdigest()


def examine(
    apps: Any, search: list[str], names: list[str], open_files: int | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the apps with all defaults, and a sentence for each problem.

    ``names`` are the host's own, ``open_files`` is what its supervisord may open, where that is known.
    """
    options = role_options("wsgi")["wsgi_apps"]["options"]
    if apps is None:
        return [], ["wsgi_apps is not defined for this host; is it misspelt? A host without apps has wsgi_apps: []"]
    if not isinstance(apps, list):
        return [], [f"wsgi_apps is {type(apps).__name__}; it must be a list of apps, each starting with - name:"]
    sound: list[dict[str, Any]] = []
    problems: list[str] = []
    for index, app in enumerate(apps):
        if not isinstance(app, Mapping):
            problems.append(f"wsgi_apps[{index}] is {app!r}; it must be a dictionary with name, source, entrypoint")
            continue
        label = f"app {app.get('name', index)}"
        completed, errors = apply_options(options, app)
        found = [*(_outdated(app) or errors)] or [
            *servers().complete(completed),
            *app_problems(completed),
            *command_problems(completed),
            *limit_problems(completed, open_files),
            *site_problems(completed, search),
            *source_problems(completed, search),
            *number_problems(app["source"].get("git") or {}),
        ]
        if not found and names and not (completed["site"]["server_names"] or own_names(names)):
            found = ["site.server_names is empty, and the host has no name in the inventory that a client can send"]
        if not found:
            if host := completed["health"]["host"]:
                completed["health"]["host"] = host_header(host)
            completed["site"]["server_names"] = host_names(completed["site"]["server_names"]) or own_names(names)
            sound.append(completed)
        problems += [f"{label}: {problem}" for problem in found]
    return sound, conceal([*problems, *relation_problems(sound)], vaulted(apps))


def _outdated(app: Mapping[str, Any]) -> list[str]:
    """Say what to use in place of settings of the server that older tutorials have."""
    server = app.get("server")
    if not isinstance(server, Mapping):
        return []
    named = {f"worker_class {server['worker_class']}": "", **server} if "worker_class" in server else server
    return [refusal for key in named if (refusal := servers().refusal(named, key))]


def _program(app: Mapping[str, Any], variant: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the app in supervisord's words; the release module fills in $release, and adds to the environment."""
    return complete(
        {
            "name": app["name"],
            "command": variant["command"],
            "directory": os.path.normpath(os.path.join("$release/app", app["server"]["chdir"])),
            "user": app["user"],
            "environment": {
                "HOME": os.path.join(app["home"], "data"),
                "PYTHONUNBUFFERED": "1",
                "APP_NAME": app["name"],
                **{str(key): str(value) for key, value in app["environment"].items()},
            },
            "stopsignal": variant["stop_signal"],
            "stopwaitsecs": app["server"].get("graceful_timeout", 0) + 10,
            # Whether it is stable is judged by its answers, and for longer.
            "startsecs": 1,
            "log_name": app["name"],
        },
        "supervisor",
        "program",
        "supervisor_program",
    )


def resolve(
    apps: Any,
    *,
    root: str,
    names: list[str],
    cpus: int,
    memory: int,
    machine: str,
    python: str,
    search: list[str],
    conda: Mapping[str, Any] | None = None,
    open_files: int | None = None,
    checked: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the apps with nothing left to guess, and what they share; raise DescriptionError for what cannot work.

    A description that is the ``checked`` one is not examined once more.
    """
    if checked and not checked["problems"] and checked["fingerprint"] == fingerprint(apps, search, names, open_files):
        resolved, problems = plain(checked["apps"]), []
    else:
        resolved, problems = examine(apps, search, names, open_files)
    if problems:
        raise DescriptionError("\n".join(problems))
    for app in resolved:
        server = app["server"]
        variant = servers().variant(server["kind"], server["worker_class"], app["interface"])
        app["user"] = app["user"] or f"wsgi-{app['name']}"
        app["home"] = os.path.join(root, app["name"])
        app["search"] = search
        if app["python"]["version"] == "auto":  # by its number, so that a new one is a new release
            app["python"]["version"] = python
        if app["python"].pop("provider") == "conda":
            place = complete(conda or {}, "python", "main", "python_conda")["prefix"]
            app["python"]["interpreter"] = f"{place}/envs/python{app['python']['version']}/bin/python"
        if "workers" in server:
            server["workers"] = servers().workers(server, variant, cpus, memory)
        app["runner"] = {
            **{key: variant[key] for key in ("lock", "template", "check")},
            "options": {option: server[option] for option in variant["options"]},
            "endpoint": endpoint(server),
        }
        for program in app["programs"]:
            program["limits"] = limits_of(app, program["limits"])
        app["limits"] = limits_of(app, {})
        app["program"] = _program(app, variant)
        del app["environment"]  # from here on it stands in the program alone, so that one place has to be kept secret
    if lacking := list(filter(None, (servers().lacking_wheels(app, machine) for app in resolved))):
        raise DescriptionError("\n".join(lacking))
    users = sorted({app["user"] for app in resolved} | {BUILD_USER})
    proxy = next((app["site"]["proxy"] for app in resolved), "nginx")
    return {"apps": resolved, "users": users, "proxy": proxy}
