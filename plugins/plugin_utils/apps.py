# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve ``wsgi_apps``: check it, apply the defaults of the role's argument spec, derive what follows from it."""

from __future__ import annotations

import copy
import difflib
import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.errors import UnsupportedError

COLLECTION_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD_USER = "wsgi-build"

_PATTERNS = {
    "name": (r"[a-z][a-z0-9_-]{0,26}", "a lower-case letter, then up to 26 lower-case letters, digits, - or _"),
    "entrypoint": (
        r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(.*\))?",
        "module:callable or module:factory(), for example hello_flask:create_app()",
    ),
    "user": (r"|[a-z_][a-z0-9_-]{0,31}", "a user name of at most 32 lower-case letters, digits, - or _"),
    "python.version": (r"auto|3\.\d+", 'auto, or a version such as "3.12" (in quotes)'),
    "server.workers": (r"auto|[1-9]\d*", "auto, or a whole number from 1 up"),
    "site.prefix": (r"/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", "/ or a path such as /shop, without a slash at its end"),
    "site.max_body_size": (r"\d+[kKmMgG]?", "a size in nginx's notation, for example 10m"),
    "health.path": (r"/[!-~]*", "a path of plain ASCII that starts with /, for example /healthz"),
    "server.bind": (
        r"unix|([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]+",
        "unix, or HOST:PORT such as 127.0.0.1:5000",
    ),
}
_SERVER_NAME = r"[A-Za-z0-9_*]([A-Za-z0-9_.:*-]*[A-Za-z0-9_*])?\.?"
# The nginx and supervisord roles' own dictionaries, which may come from anybody.
_DICTIONARY_PATTERNS = {
    "nginx_site": {
        "name": r"[A-Za-z0-9._+-]+",
        "server_names": _SERVER_NAME,
        "prefix": _PATTERNS["site.prefix"][0],
        "servers": r"[A-Za-z0-9_.:/\[\]@-]+( [a-z_]+(=[A-Za-z0-9.]+)?)*",
        "max_body_size": _PATTERNS["site.max_body_size"][0],
    },
    "supervisor_program": {
        "name": r"[A-Za-z0-9._-]+",
        "log_name": r"[A-Za-z0-9._-]*",
        "user": r"[A-Za-z0-9_.-]+\$?",
        "umask": r"[0-7]{3,4}",
        "log_maxbytes": r"\d+(KB|MB|GB)?",
    },
    "python_venv": {"name": r"[A-Za-z0-9._-]+"},
    "python_path": {"name": r"[A-Za-z0-9._-]+", "directories": r"[A-Za-z0-9._/*-]+"},
}
# Names whose user, program or log would be somebody else's.
_RESERVED_NAMES = frozenset(("build", "stack", "supervisord"))
_RESERVED_USERS = frozenset(("root", BUILD_USER))
_LEAST = {
    "server.threads": 1,
    "server.worker_connections": 1,
    "server.timeout": 1,
    "server.graceful_timeout": 1,
    "server.keepalive": 31,  # longer than the 30 s that nginx keeps an idle connection
    "server.backlog": 1,
    "server.max_requests": 0,
    "server.max_requests_jitter": 0,
    "health.timeout": 1,
    "releases_kept": 1,
}
_MOST = {
    "server.graceful_timeout": 900,  # systemd gives supervisord 930 s to stop everything
}
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


class AppsError(ValueError):
    """The description cannot work; the text has one sentence for each problem."""


@functools.cache
def role_options(role: str, entry_point: str = "main") -> dict[str, Any]:
    """Return the options of a role's entry point, as its argument spec has them."""
    return read_role(role, "meta", "argument_specs.yml")["argument_specs"][entry_point]["options"]


def server_table() -> dict[str, Any]:
    """Return what is known of each server."""
    return read_role("wsgi", "vars", "main.yml")["__wsgi_servers"]


@functools.cache
def read_role(role: str, *path: str) -> dict[str, Any]:
    """Return what a file of a role holds."""
    with open(os.path.join(COLLECTION_ROOT, "roles", role, *path), encoding="utf-8") as stream:
        return yaml_load(stream)


def _plain(value: Any) -> Any:
    """Return a value without Ansible's lazy containers: the validator would copy a templating engine with each."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _unknown_key(options: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """Say which key is unknown, which one may be meant, and which there are."""
    for key in path[:-1]:
        options = options[key]["options"]
    near = difflib.get_close_matches(path[-1], options, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown key {'.'.join(path)}{meant}; known here: {', '.join(sorted(options))}"


def apply_options(options: Mapping[str, Any], value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Validate a dictionary against options; return it with its defaults, and the errors."""
    # Copied, for the validator hands out the very defaults of the options.
    result = ArgumentSpecValidator(copy.deepcopy(dict(options))).validate(_plain(value))
    paths = [path if isinstance(path, tuple) else (path,) for path in result.unsupported_parameters]
    errors = [_unknown_key(options, path) for path in sorted(paths)]
    errors += [str(error) for error in result.errors.errors if not isinstance(error, UnsupportedError)]
    return result.validated_parameters, errors


def complete(value: Mapping[str, Any], role: str, entry_point: str, option: str) -> dict[str, Any]:
    """Complete a typed dictionary with the defaults of a role's entry point, and refuse what is out of shape."""
    completed, errors = apply_options(role_options(role, entry_point)[option]["options"], value)
    errors = errors or list(_dictionary_problems(completed, _DICTIONARY_PATTERNS.get(option, {})))
    if errors:
        raise AppsError("; ".join(f"{option}: {error}" for error in errors))
    return completed


def _dictionary_problems(value: Mapping[str, Any], patterns: Mapping[str, str]) -> Iterator[str]:
    for key, item in value.items():
        for element in item if isinstance(item, list) else [item]:
            if isinstance(element, Mapping):
                yield from _dictionary_problems(element, patterns)
            elif key in patterns and not re.fullmatch(patterns[key], str(element)):
                yield f"{key} is {element!r}, which has not the form {patterns[key]}"


def search_path(inventory_directory: str | None) -> list[str]:
    """Return where relative paths of the controller are looked up before the collection itself."""
    return [os.getcwd(), *([inventory_directory] if inventory_directory else [])]


def find_path(path: str, search: list[str]) -> str | None:
    """Return the first existing place of a path of the controller."""
    for base in [*search, COLLECTION_ROOT]:
        candidate = os.path.normpath(os.path.join(base, os.path.expanduser(path)))
        if os.path.exists(candidate):
            return candidate
    return None


def _value(app: Mapping[str, Any], dotted: str) -> Any:
    value: Any = app
    for key in dotted.split("."):
        value = value[key]
    return value


def _shape_problems(app: Mapping[str, Any]) -> Iterator[str]:
    for key, (pattern, wanted) in _PATTERNS.items():
        value = _value(app, key)
        if not re.fullmatch(pattern, value):
            yield f"{key} is {value!r}; it must be {wanted}"
    for key, least in _LEAST.items():
        value = _value(app, key)
        if value < least:
            yield f"{key} is {value}; it must be {least} or more"
    for key, most in _MOST.items():
        value = _value(app, key)
        if value > most:
            yield f"{key} is {value}; it must be {most} or less"
    if not 1 <= app["site"]["listen"] <= 65535:
        yield f"site.listen is {app['site']['listen']}; a port is a number from 1 to 65535"
    for name in app["site"]["server_names"]:
        if not re.fullmatch(_SERVER_NAME, name):
            yield f"site.server_names has {name!r}, which is no host name"
    for name, value in app["environment"].items():
        if not _VARIABLE_NAME.fullmatch(str(name)):
            yield f"environment has the name {name!r}; letters, digits and _ make a variable's name"
        if value is None:
            yield f'environment.{name} has no value; give it one, or "" for an empty text'
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)) or "\0" in str(value):
            yield f"environment.{name} is neither text nor a number; write it in quotes"
    if app["name"] in _RESERVED_NAMES:
        yield f"name is {app['name']!r}, which the stack uses itself"
    if app["user"] in _RESERVED_USERS:
        yield f"user is {app['user']!r}, with whose rights no app may run"


def _bind_problems(app: Mapping[str, Any]) -> Iterator[str]:
    bind = app["server"]["bind"]
    if re.fullmatch(_PATTERNS["server.bind"][0], bind) and bind != "unix":
        port = int(bind.rpartition(":")[2])
        if not 1024 <= port <= 65535:
            yield (
                f"server.bind is {bind!r}; the port must be from 1024 to 65535, "
                "for the app runs without the right to take a lower one"
            )


def _source_problems(app: Mapping[str, Any], search: list[str]) -> Iterator[str]:
    given = {key: value for key, value in app["source"].items() if value is not None}
    if len(given) != 1:
        yield f"source has {' and '.join(sorted(given)) or 'no key'}; give exactly one of path, git, archive"
        return
    looked_at = ", ".join([*search, COLLECTION_ROOT])
    if "path" in given:
        found = find_path(given["path"], search)
        requirements = app["python"]["requirements"]
        if found is None or not os.path.isdir(found):
            yield f"source.path {given['path']!r} is no directory on the controller (looked in {looked_at})"
        elif requirements and not os.path.isfile(os.path.join(found, requirements)):
            yield (
                f"python.requirements names {requirements!r}, which is not in {found}; "
                'create it, or set requirements: "" for an app without dependencies'
            )
    if "archive" in given:
        archive = {key: value for key, value in given["archive"].items() if value is not None}
        if ("path" in archive) == ("url" in archive):
            yield "source.archive needs exactly one of path and url"
        elif "url" in archive and "checksum" not in archive:
            yield f"source.archive.url {archive['url']!r} needs a checksum (sha256:…)"
        elif "path" in archive and find_path(archive["path"], search) is None:
            yield f"source.archive.path {archive['path']!r} is not on the controller (looked in {looked_at})"
        if not _CHECKSUM.fullmatch(archive.get("checksum", "sha256:" + "0" * 64)):
            yield f"source.archive.checksum is {archive['checksum']!r}; it must be sha256: and 64 hexadecimal digits"


def _relation_problems(apps: list[dict[str, Any]]) -> Iterator[str]:
    """Find apps that are fine alone and cannot stand together on one host."""
    names: set[str] = set()
    places: dict[tuple, str] = {}
    binds: dict[str, str] = {}
    sites: dict[tuple[int, str], tuple[frozenset[str], str]] = {}
    for app in apps:
        name, site = app["name"], app["site"]
        if name in names:
            yield f"app {name}: the name is used twice; every app of a host needs its own"
        names.add(name)
        server_names = frozenset(site["server_names"])
        place = (site["listen"], server_names, site["prefix"])
        where = f"port {site['listen']}, prefix {site['prefix']}"
        if other := places.get(place):
            yield f"app {name}: {other} already has the same site ({where}); give one of them another prefix or name"
        places[place] = name
        for server_name in server_names:
            others, owner = sites.setdefault((site["listen"], server_name), (server_names, name))
            if others != server_names:
                yield (
                    f"app {name}: {server_name} on port {site['listen']} belongs to the site of {owner} as well; "
                    "list the same server_names for both, so that they share it"
                )
        bind = app["server"]["bind"]
        if bind != "unix" and (other := binds.get(bind)):
            yield f"app {name}: server.bind {bind} is taken by app {other}"
        binds[bind] = name


def examine(apps: Any, search: list[str], names: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the apps with all defaults, and a sentence for each problem; ``names`` are the host's own."""
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
        found = errors or [
            *_shape_problems(completed),
            *_bind_problems(completed),
            *_source_problems(completed, search),
        ]
        problems += [f"{label}: {problem}" for problem in found]
        if not found:
            wanted = completed["site"]["server_names"] or sorted(name for name in names if name)
            completed["site"]["server_names"] = list(dict.fromkeys(name.lower() for name in wanted))
            sound.append(completed)
    return sound, [*problems, *_relation_problems(sound)]


def _workers(server: Mapping[str, Any], formula: Mapping[str, int], cpus: int) -> int:
    if server["workers"] != "auto":
        return int(server["workers"])
    return max(formula["least"], formula["per_cpu"] * cpus + formula["extra"])


def _program(app: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the app in supervisord's words; the release module fills in $release, and adds to the environment."""
    return complete(
        {
            "name": app["name"],
            "command": server["command"],
            "directory": "$release/app",
            "user": app["user"],
            "environment": {
                "HOME": os.path.join(app["home"], "data"),
                "PYTHONUNBUFFERED": "1",
                "APP_NAME": app["name"],
                **{str(key): str(value) for key, value in app["environment"].items()},
            },
            "stopsignal": server["stop_signal"],
            "stopwaitsecs": app["server"]["graceful_timeout"] + 10,
            "log_name": app["name"],
        },
        "supervisor",
        "program",
        "supervisor_program",
    )


def _sites(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gather the apps of one server (same port, same names) into one site of nginx."""
    groups: dict[tuple[int, frozenset[str]], list[dict[str, Any]]] = defaultdict(list)
    for app in apps:
        groups[app["site"]["listen"], frozenset(app["site"]["server_names"])].append(app)
    ports: set[int] = set()
    shared = {app["site"]["listen"] for app in apps if not app["site"]["catch_all_enabled"]}
    sites = []
    for (port, server_names), members in sorted(groups.items(), key=lambda group: (group[0][0], sorted(group[0][1]))):
        sites.append(
            {
                # By its place, not by an app: apps come, go, and change their order.
                "name": f"{port}-{min(server_names, key=_names_first).replace('*', '+').replace(':', '_')}",
                "listen": port,
                "catch_all_enabled": port not in ports | shared,
                "server_names": members[0]["site"]["server_names"],
                "locations": [_location(app) for app in sorted(members, key=lambda app: app["site"]["prefix"])],
            }
        )
        ports.add(port)
    return sites


def _names_first(server_name: str) -> tuple[bool, str]:
    return server_name[0].isdigit(), server_name


def _location(app: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"wsgi-{app['name']}",
        "prefix": app["site"]["prefix"],
        "servers": [f"unix:{app['home']}/current.sock"],
        "max_body_size": app["site"]["max_body_size"],
        "read_timeout": max(60, app["server"]["timeout"] + 5),
    }


def resolve(
    apps: Any, *, root: str, servers: Mapping[str, Any], names: list[str], cpus: int, python: str, search: list[str]
) -> dict[str, Any]:
    """Return ``apps`` and ``sites`` with nothing left to guess; raise AppsError where the description cannot work."""
    resolved, problems = examine(apps, search, names)
    if problems:
        raise AppsError("\n".join(problems))
    for app in resolved:
        server = servers[app["server"]["kind"]]
        worker_class = server["worker_classes"][app["server"]["worker_class"]]
        app["user"] = app["user"] or f"wsgi-{app['name']}"
        app["home"] = os.path.join(root, app["name"])
        app["search"] = search
        if app["python"]["version"] == "auto":  # by its number, so that a new one is a new release
            app["python"]["version"] = python
        app["server"]["workers"] = _workers(app["server"], worker_class["workers"], cpus)
        app["server"]["lock"] = worker_class["lock"]
        app["server"]["config"] = server["config"]
        app["server"]["check"] = server["check"]
        app["program"] = _program(app, server)
        del app["environment"]  # from here on it stands in the program alone, so that one place has to be kept secret
    users = sorted({app["user"] for app in resolved} | {BUILD_USER})
    return {"apps": resolved, "sites": _sites(resolved), "users": users}
