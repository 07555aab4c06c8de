# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve ``wsgi_apps``: check it, apply the defaults of the role's argument spec, derive what follows from it."""

from __future__ import annotations

import copy
import functools
import ipaddress
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.baremetal.web.plugins.module_utils._host import index_proxy
from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import KINDS
from ansible_collections.baremetal.web.plugins.plugin_utils._apps import environment
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.servers import PORTS, endpoint, place_slots, servers
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.lfs import is_pointer_file
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import (
    EVERY,
    HostNameError,
    host_header,
    host_names,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.keys_and_types import value_problems, without_empty

# ansible-core brings it; the environment of its import test does not.
with suppress(ImportError):
    from packaging.utils import parse_wheel_filename

COLLECTION_ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
BUILD_USER = "wsgi-build"
SOURCES = ("path", "git", "archive", "wheel")

_PATTERNS = {
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
    "site.prefix": (r"/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", "/ or a path such as /shop, without a slash at its end"),
    "site.max_body_size": (r"\d+[kKmMgG]?", "a size in nginx's notation, for example 10m"),
    "health.path": (
        r"/(?!/)(?!([^?]*/)?\.{1,2}([/?]|$))[!\"$-~]*",
        "a path of plain ASCII that starts with one /, with no #, .. or . in it, for example /healthz",
    ),
    "source.max_size": (r"[1-9]\d*[kKmMgG]?", "a number of bytes, or of k, m or g, for example 500m"),
    "server.bind": (
        r"unix|(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+",
        "unix, or ADDRESS:PORT such as 127.0.0.1:5000, [::1]:5000 or localhost:5000; with any other name, nginx could "
        "not start while that name has no address",
    ),
}
# What stands in headers and in the configuration of a web server.
_CORS = {
    "origins": (r"\*|[a-z][a-z0-9+.-]*://[A-Za-z0-9.:\[\]_-]+", "* or an origin such as https://shop.example.com"),
    "methods": (r"[A-Z]+", "a method in capitals, such as PUT"),
    "headers": (r"\*|[A-Za-z0-9_-]+", "the name of a header, such as Content-Type"),
}
_UPSTREAM_SERVER = r"[A-Za-z0-9_.:/\[\]@-]+( [a-z_]+(=[A-Za-z0-9.]+)?)*"
# The nginx and supervisord roles' own dictionaries, which may come from anybody.
_DICTIONARY_PATTERNS = {
    "nginx_site": {
        "name": r"[A-Za-z0-9._+-]+",
        "address": r"|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]",
        "prefix": _PATTERNS["site.prefix"][0],
        "servers": _UPSTREAM_SERVER,
        "backups": _UPSTREAM_SERVER,
        "file": r"(/[A-Za-z0-9._@+~-]+)+",
        "max_body_size": _PATTERNS["site.max_body_size"][0],
    },
    "supervisor_program": {
        "name": r"[A-Za-z0-9._-]+",
        "log_name": r"[A-Za-z0-9._-]*",
        "user": r"[A-Za-z0-9_.-]+\$?",
        "umask": r"[0-7]{3,4}",
        "log_maxbytes": r"\d+(KB|MB|GB)?",
    },
    "python_conda": {"prefix": r"(/[A-Za-z0-9._+-]+)+", "channels": r"[A-Za-z0-9/][!-~]*"},
    "python_path": {"name": r"[A-Za-z0-9._-]+", "directories": r"[A-Za-z0-9._/*-]+"},
}
# Ports on which no site can do what somebody expects of it.
_TAKEN_PORTS = {
    22: "Logins by ssh listen there; choose another port, such as 80",
    443: "Visitors would expect TLS there, which sites do not have yet; choose another port, such as 80",
}
# Names whose user, program or log would be somebody else's.
_RESERVED_NAMES = frozenset(("build", "nginx", "stack", "supervisord"))
_RESERVED_USERS = frozenset(("root", BUILD_USER))
_LEAST = {
    "source.max_files": 1,
    "health.timeout": 1,
    "health.stable": 0,
    "releases.keep": 2,  # the live one and the one before
    "releases.warm": 0,
}
_HOOK_NAME = re.compile(r"[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*")
# What supervisord replaces in a command of its own; here a shell gets it as it is.
_SUPERVISOR_VALUES = re.compile(r"%\((process_num|program_name|group_name|host_node_name|numprocs|ENV_\w+)\)\d*[sd]")
_PROGRAM_NAME = re.compile(r"[a-z][a-z0-9_-]{0,26}")
# What stands for signs of a host name in the name of a file.
_FILE_SIGNS = str.maketrans({"*": "+", ":": "_", "[": None, "]": None})
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEAST_MEMORY = 16 << 20
_MOST_OPEN_FILES = 1 << 20  # fs.nr_open
_LARGEST_VARIABLE = 131072  # MAX_ARG_STRLEN, with the NUL at its end
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


class AppsError(ValueError):
    """The description cannot work; the text has one sentence for each problem."""


@functools.cache
def role_options(role: str, entry_point: str = "main") -> dict[str, Any]:
    """Return the options of a role's entry point, as its argument spec has them."""
    return read_role(role, "meta", "argument_specs.yml")["argument_specs"][entry_point]["options"]


@functools.cache
def read_role(role: str, *path: str) -> dict[str, Any]:
    """Return what a file of a role holds."""
    with open(os.path.join(COLLECTION_ROOT, "roles", role, *path), encoding="utf-8") as stream:
        return yaml_load(stream)


def _plain(value: Any) -> Any:
    """Return a value as Python's own types, out of what any ansible-core wraps it in.

    The validator would copy a templating engine with a lazy container, and takes encrypted text for no text.
    """
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, str) or hasattr(value, "_ciphertext"):
        return str.__str__(str(value))
    return next((kind(value) for kind in (bool, int, float) if isinstance(value, kind)), value)


def _vaulted(value: Any) -> Iterator[str]:
    """Return the texts that come from a vault, as far as ansible-core still knows."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _vaulted(item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _vaulted(item)
    elif hasattr(value, "_ciphertext") or "VaultedValue" in (
        tag.__name__ for tag in getattr(value, "_ansible_tags_mapping", ())
    ):
        yield _plain(value)


def _conceal(problems: list[str], secrets: Iterable[str]) -> list[str]:
    """Take what comes from a vault out of sentences."""
    forms = {form for secret in secrets for form in (secret, repr(secret)[1:-1]) if form}
    # A short one alone is replaced as a word of its own only, for it is in other words as well.
    words = [re.escape(form) if len(form) > 3 else rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms]
    pattern = "|".join(sorted(words, key=len, reverse=True))
    return [re.sub(pattern, "(from a vault)", problem) for problem in problems] if pattern else problems


def apply_options(options: Mapping[str, Any], value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Validate a dictionary against options; return it with its defaults, and the errors."""
    plain = _plain(value)
    if errors := [without_credentials(error) for error in value_problems(options, plain)]:
        return plain, errors
    # Copied, for the validator hands out the very defaults of the options.
    result = ArgumentSpecValidator(copy.deepcopy(dict(options))).validate(without_empty(options, plain))
    return result.validated_parameters, list(map(str, result.errors.errors))


def complete(value: Mapping[str, Any], role: str, entry_point: str, option: str) -> dict[str, Any]:
    """Complete a typed dictionary with the defaults of a role's entry point, and refuse what is out of shape."""
    if not isinstance(value, Mapping):
        raise AppsError(f"{option} is no dictionary; write one, such as {option}: {{KEY: VALUE}}")
    options = role_options(role, entry_point)[option]["options"]
    completed, errors = apply_options(options, value)
    errors = errors or list(_dictionary_problems(options, completed, _DICTIONARY_PATTERNS.get(option, {})))
    if option == "python_proxy" and value and not errors:
        errors = list(index_proxy.problems(completed["url"] or "", completed["no_proxy"]))
    if option == "nginx_site" and not errors:
        errors = [*_page_problems(completed["error_pages"]), *_name_problems(completed["server_names"])]
        errors += [error for place in completed["locations"] for error in _front_problems(place, place["protocol"])]
    if errors:
        raise AppsError("; ".join(f"{option}: {error}" for error in errors))
    if option == "nginx_site":
        names = host_names(completed["server_names"])
        completed["server_names"] = [] if names == [EVERY] else names
    return completed


def _dictionary_problems(
    options: Mapping[str, Any], value: Mapping[str, Any], patterns: Mapping[str, str]
) -> Iterator[str]:
    """Find values of known keys that are not in their form; the keys of an environment are nobody's but the app's."""
    for key, option in options.items():
        item = value.get(key)
        for element in item if isinstance(item, list) else [item]:
            if isinstance(element, Mapping):
                yield from _dictionary_problems(option.get("options") or {}, element, patterns)
            elif element is not None and key in patterns and not re.fullmatch(patterns[key], str(element)):
                yield f"{key} is {element!r}, which has not the form {patterns[key]}"


def _name_problems(names: list[str]) -> Iterator[str]:
    problems = []
    for name in names:
        try:
            host_names([name])
        except HostNameError as error:
            problems.append(f"server_names has {error}")
    if not problems:
        try:
            host_names(names)
        except HostNameError as error:
            problems.append(f"server_names has {error}")
    yield from problems


def _own_names(names: Iterable[str]) -> list[str]:
    """Return those of a host's names in the inventory that a client can send."""
    found = []
    for name in sorted(filter(None, names)):
        with suppress(HostNameError):
            found += host_names([name])
    return list(dict.fromkeys(found))


def _front_problems(place: Mapping[str, Any], protocol: str) -> Iterator[str]:
    """Find what a web server cannot do for a location, or for an app's site."""
    if place["websocket_enabled"] and protocol == "uwsgi":
        yield "websocket_enabled is true, and the server's protocol is uwsgi, which has no WebSockets; choose one"
    if not (cors := place["cors"]):
        return
    for key, (pattern, wanted) in _CORS.items():
        for value in cors[key]:
            if not re.fullmatch(pattern, value):
                yield f"cors.{key} has {value!r}; it must be {wanted}"
    if not cors["origins"] or ("*" in cors["origins"] and len(cors["origins"]) > 1):
        yield f"cors.origins is {cors['origins']!r}; name the origins, or * alone for every one"
    if "*" in cors["origins"] and cors["credentials_enabled"]:
        yield "cors.credentials_enabled is true with the origin *, which browsers refuse; name the origins"
    if cors["max_age"] < 0:
        yield f"cors.max_age is {cors['max_age']}; it must be 0 or more seconds"


def _page_problems(pages: list[dict[str, Any]]) -> Iterator[str]:
    for page in pages:
        for code in page["codes"]:
            if not 400 <= code <= 599 or code in (444, 499):
                yield f"error_pages has the code {code!r}; it must be from 400 to 599, and neither 444 nor 499"
        if not page["codes"]:
            yield f"error_pages has no code for {page['path']!r}; say for which statuses it is"
    for code in _repeated(code for page in pages for code in page["codes"]):
        yield f"error_pages has two pages for {code}; leave one of them out"


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
    if not 1 <= app["site"]["listen"] <= 65535:
        yield f"site.listen is {app['site']['listen']}; a port is a number from 1 to 65535"
    if reason := _TAKEN_PORTS.get(app["site"]["listen"]):
        yield f"site.listen is {app['site']['listen']}. {reason}"
    yield from (f"site.{problem}" for problem in _name_problems(app["site"]["server_names"]))
    if EVERY in app["site"]["server_names"] and not app["site"]["catch_all_enabled"]:
        yield (
            "site.server_names is ['*'] with site.catch_all_enabled false, so another site of the port answers unknown "
            "names. Leave catch_all_enabled out, or list the names"
        )
    yield from _health_problems(app["health"])
    for name, value in app["environment"].items():
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
    yield from environment.problems(app["environment"])
    if app["name"] in _RESERVED_NAMES:
        yield f"name is {app['name']!r}, which the stack uses itself"
    if app["user"] in _RESERVED_USERS:
        yield f"user is {app['user']!r}, with whose rights no app may run"


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


class _Bind(NamedTuple):
    """An address and a port of nginx for one app alone."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @classmethod
    def of(cls, app: Mapping[str, Any]) -> _Bind | None:
        """Return what ``server.bind`` says, None where the app has its unix socket alone."""
        host, _colon, port = app["server"]["bind"].rpartition(":")
        if not host:
            return None
        if host.startswith("["):
            return cls(ipaddress.IPv6Address(host[1:-1]), int(port))
        return cls(ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host), int(port))

    def overlaps(self, other: _Bind) -> bool:
        """Tell whether a connection could be meant for either."""
        alike = self.address.version == other.address.version and self.port == other.port
        everywhere = self.address.is_unspecified or other.address.is_unspecified
        return alike and (everywhere or self.address == other.address)


def _part_problems(app: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with what belongs to the app: shared paths, hooks, background programs."""
    paths = [(kind, path) for kind, paths in app["shared"].items() for path in paths]
    for path in _repeated(path for _kind, path in paths):
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
    for kind in KINDS:
        for name in _repeated(hook["name"] for hook in app["hooks"][kind]):
            yield f"hooks.{kind} has two hooks named {name!r}; give them different names, for messages name them"
        for hook in app["hooks"][kind]:
            if not re.fullmatch(_HOOK_NAME, hook["name"]):
                yield f"hooks.{kind} has the name {hook['name']!r}; it must be one line of text, for messages name it"
            if not re.fullmatch(_PATTERNS["user"][0], hook["user"]):
                yield f"hooks.{kind}: user of {hook['name']} is {hook['user']!r}; it must be {_PATTERNS['user'][1]}"
            yield from _command_problems(f"hooks.{kind}", hook)
            yield from _syntax_problems(f"hooks.{kind}", hook)
            if hook["timeout"] < 1:
                yield f"hooks.{kind}: timeout of {hook['name']} is {hook['timeout']}; it must be 1 or more seconds"
    for name in _repeated(program["name"] for program in app["programs"]):
        yield f"programs has two programs named {name!r}; every program of an app needs its own name"
    for program in app["programs"]:
        yield from _command_problems("programs", program)
        if not _PROGRAM_NAME.fullmatch(program["name"]):
            yield f"programs has the name {program['name']!r}; it must be {_PATTERNS['name'][1]}"
        if found := _SUPERVISOR_VALUES.search(program["command"]):
            yield (
                f"programs: command of {program['name']} is {program['command']!r}; {found[0]} is a value of "
                "supervisord's own configuration, which nothing replaces here: write its value, or a variable such as "
                "$APP_NAME"
            )
        elif re.search(r"(^|\s)[;#]|%\(here\)s", program["command"]):
            yield (
                f"programs: command of {program['name']} is {program['command']!r}; supervisord takes a ; or # at its "
                "start or after a space for a comment, and %(here)s for a place: put it into a script"
            )
        else:
            yield from _syntax_problems("programs", program)
        if re.search(r"(?<![&>])&\s*$", program["command"]):
            yield (
                f"programs: command of {program['name']} is {program['command']!r}; the & at its end sends it to the "
                "background, where supervisord loses it: leave the & out"
            )
        if not 1 <= program["number"] <= 100:
            yield f"programs: number of {program['name']} is {program['number']}; it must be from 1 to 100"
        if not 1 <= program["stop_timeout"] <= 900:
            yield f"programs: stop_timeout of {program['name']} is {program['stop_timeout']}; it must be from 1 to 900"


def _limit_problems(app: Mapping[str, Any], open_files: int) -> Iterator[str]:
    """Find limits that are out of range."""
    places = {
        "limits": app["limits"],
        **{f"programs: limits of {each['name']}": each["limits"] for each in app["programs"]},
    }
    for place, limits in places.items():
        memory, processes, files = (limits[key] or 0 for key in ("memory", "processes", "open_files"))
        if memory not in (0, "0") and not _is_memory(memory):
            yield f"{place}: memory is {memory!r}; it must be 16m or more, such as 512m or 2g"
        if processes < 0:
            yield f"{place}: processes is {processes}; it must be 1 or more, or 0 for no limit"
        if files and not 64 <= files <= open_files:
            yield (
                f"{place}: open_files is {files}; it must be from 64 to {open_files} (supervisor_open_files), or 0 for "
                "as many as that"
            )


def _is_memory(size: str) -> bool:
    return bool(re.fullmatch(_PATTERNS["source.max_size"][0], size)) and in_bytes(size) >= _LEAST_MEMORY


def _limits(app: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of a program as numbers; what is none of its own is the app's."""
    limits = {**app["limits"], **{key: value for key, value in own.items() if value is not None}}
    return {**limits, "memory": in_bytes(limits["memory"] or "0")}


def _repeated(names: Iterable[Any]) -> list[Any]:
    return [name for name, number in Counter(names).items() if number > 1]


def _command_problems(where: str, item: Mapping[str, Any]) -> Iterator[str]:
    if not item["command"].strip() or re.search(r"[\x00-\x1f]", item["command"]):
        yield f"{where}: command of {item['name']} is {item['command']!r}; it must be one line of a shell"


def _syntax_problems(where: str, item: Mapping[str, Any]) -> Iterator[str]:
    """Find a line that no shell of the controller can read; nothing of it runs."""
    shells = list(filter(shutil.which, ("sh", "bash")))  # a host's sh may be either
    if shells and not any(_can_read(shell, item["command"]) for shell in shells):
        yield (
            f"{where}: command of {item['name']} is {item['command']!r}, which a shell cannot read; a quote, a bracket "
            "or a word after an operator is missing or too much"
        )


@functools.cache
def _can_read(shell: str, command: str) -> bool:
    """Tell whether the syntax of a line is right; what the shell says is not shown, for it may quote a secret."""
    line = command.encode(errors="replace")
    return not subprocess.run([shell, "-n"], input=line, capture_output=True, check=False).returncode


def _bind_problems(app: Mapping[str, Any]) -> Iterator[str]:
    text = app["server"]["bind"]
    if not re.fullmatch(_PATTERNS["server.bind"][0], text):
        return
    try:
        bind = _Bind.of(app)
    except ValueError:
        yield f"server.bind is {text!r}, which has no IP address before its port"
    else:
        if bind and not 1024 <= bind.port <= 65535:
            yield (
                f"server.bind is {text!r}; the port must be from 1024 to 65535. "
                "nginx takes a lower one for a site (site.listen)"
            )


def _site_problems(app: Mapping[str, Any], search: list[str]) -> Iterator[str]:
    """Find what is wrong with how the app is published."""
    site, protocol = app["site"], app["server"].get("protocol", "http")
    for problem in (*_front_problems(site, protocol), *_page_problems(site["error_pages"])):
        yield f"site.{problem}"
    for page in site["error_pages"]:
        found = find_path(page["path"], search) or ""
        if not os.path.isfile(found):
            yield f"site.error_pages names {page['path']!r}, which is no file on the controller {_looked_in(search)}"
        elif is_pointer_file(found):
            yield f"site.error_pages names {page['path']!r}, a pointer of Git LFS; run `git lfs pull` beside it"


def without_credentials(text: str) -> str:
    """Return a text whose URLs show neither a login nor a query, which may hold a token."""
    return re.sub(r"(\w://)([^/?\s'\"]*@)?([^?\s'\"]*)(\?[^\s'\"]*)?", r"\1\3", text)


def in_bytes(size: str) -> int:
    """Return the number of bytes that a size such as 500m is."""
    return int(size.rstrip("kKmMgG")) << {"k": 10, "m": 20, "g": 30}.get(size[-1].lower(), 0)


def file_name(packed: Mapping[str, Any]) -> str:
    """Return the name of an archive or a wheel that has a path or a URL."""
    path = unquote(re.split(r"[?#]", packed["url"])[0]) if packed.get("url") else packed["path"]
    return path.rpartition("/")[2]


def wheel_version(name: str) -> str:
    """Return the version in a wheel's name; raise ValueError, with the reason, when no host could install it."""
    _name, version, _build, tags = parse_wheel_filename(name)
    if not any(re.match(r"(py|cp)3", tag.interpreter) and re.match(r"any|(many)?linux", tag.platform) for tag in tags):
        raise ValueError(f"it is for {', '.join(sorted(map(str, tags)))}, not for Python 3 on Linux")
    return str(version)


def _source_problems(app: Mapping[str, Any], search: list[str]) -> Iterator[str]:
    given = {key: app["source"][key] for key in SOURCES if app["source"].get(key) is not None}
    if len(given) != 1:
        yield f"source has {' and '.join(sorted(given)) or 'no key'}; give exactly one of path, git, archive, wheel"
        return
    ((kind, value),) = given.items()
    yield from _empty_problems(f"source.{kind}", value)
    requirements, own = app["python"]["requirements"], app["python"]["requirements_path"]
    default = role_options("wsgi")["wsgi_apps"]["options"]["python"]["options"]["requirements"]["default"]
    way_out = (
        "or name a file of the controller in python.requirements_path. "
        'For an app without dependencies set requirements: ""'
    )
    if own and requirements not in ("", default):
        yield f"python.requirements is {requirements!r} and python.requirements_path {own!r}; give one of them"
    if own and not os.path.isfile(find_path(own, search) or ""):
        yield f"python.requirements_path names {own!r}, which is no file on the controller {_looked_in(search)}"
    if own:
        requirements = ""
    if kind != "wheel" and (os.path.isabs(requirements) or ".." in requirements.split("/")):
        yield (
            f"python.requirements is {requirements!r}; it must be a path inside the source, such as requirements.txt, "
            f"{way_out}"
        )
    elif kind == "path":
        found = find_path(value, search)
        if found is None or not os.path.isdir(found):
            yield f"source.path {value!r} is no directory on the controller {_looked_in(search)}"
    elif kind == "git":
        yield from _repository_problems(value["repo"])
        signers = value["signers"]
        if signers and not os.path.isfile(find_path(signers, search) or ""):
            yield f"source.git.signers {signers!r} is no file on the controller {_looked_in(search)}"
    else:
        yield from packed_problems(f"source.{kind}", value, search)
        if kind == "wheel" and requirements and not os.path.isfile(find_path(requirements, search) or ""):
            yield (
                f"python.requirements names {requirements!r}, which is no file on the controller {_looked_in(search)}; "
                f"a wheel does not bring its own, so put it there, {way_out}"
            )


def _repository_problems(repo: str) -> Iterator[str]:
    """Find what git would take for something else than the repository that is meant."""
    shown = without_credentials(repo)
    if repo.startswith("git+"):
        yield f"source.git.repo is {shown!r}, as pip writes it; git takes it without git+: {shown[4:]}"
    elif repo and not os.path.isabs(repo) and ":" not in repo and not os.path.isdir(repo):
        yield (
            f"source.git.repo is {shown!r}, which is no directory on the controller (looked in {os.getcwd()}); an "
            "address starts with https:// or ssh://, or with git@HOST:"
        )


def _empty_problems(place: str, value: Any) -> Iterator[str]:
    """Find texts of a source that are empty, where an undefined variable may have left nothing."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in ("signers", "checksum"):
                yield from _empty_problems(f"{place}.{key}", item)
    elif value == "":
        yield f"{place} is empty; give it a value"


def packed_problems(kind: str, packed: Mapping[str, Any], search: list[str]) -> Iterator[str]:
    """Find what keeps an archive or a wheel from being read."""
    given = {key: value for key, value in packed.items() if value is not None}
    if ("path" in given) == ("url" in given):
        yield f"{kind} needs exactly one of path and url"
        return
    place = "url" if "url" in given else "path"
    shown = without_credentials(given[place])
    if place == "url" and not re.match(r"(https?|ftp|file)://.", given["url"]):
        yield f"{kind}.url is {shown!r}; it must be an address such as https://files.example.com/shop-1.0.tar.gz"
    if place == "path" and not os.path.isfile(find_path(given["path"], search) or ""):
        yield f"{kind}.path {shown!r} is no file on the controller {_looked_in(search)}"
    if "checksum" not in given:
        yield f"{kind}.{place} {shown!r} needs a checksum: sha256: and what sha256sum says of the file"
    elif not _CHECKSUM.fullmatch(given["checksum"]):
        yield f"{kind}.checksum is {given['checksum']!r}; it must be sha256: and 64 hexadecimal digits"
    if kind == "source.wheel":
        try:
            wheel_version(file_name(given))
        except ValueError as error:
            yield (
                f"{kind}.{place} ends in {file_name(given)!r}, which is no wheel that a host can install: {error}; "
                "a wheel keeps the name that it was built with, such as hello_flask-1.2-py3-none-any.whl"
            )


def _looked_in(search: list[str]) -> str:
    return f"(looked in {', '.join([*search, COLLECTION_ROOT])})"


def _relation_problems(apps: list[dict[str, Any]]) -> Iterator[str]:
    """Find apps that are fine alone and cannot stand together on one host."""
    names: set[str] = set()
    places: dict[tuple, str] = {}
    binds: list[tuple[_Bind, str, str]] = []
    listens = {app["site"]["listen"]: app["name"] for app in reversed(apps)}
    sites: dict[tuple[int, str], tuple[frozenset[str], str]] = {}
    proxies: dict[str, str] = {}
    ports: dict[int, tuple[str, str]] = {}
    pages: dict[tuple[int, frozenset[str], int], tuple[str, str]] = {}
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
        proxies.setdefault(site["proxy"], name)
        for page in site["error_pages"]:
            for code in page["codes"]:
                path, owner = pages.setdefault((site["listen"], server_names, code), (page["path"], name))
                if path != page["path"]:
                    yield (
                        f"app {name}: site.error_pages has {page['path']!r} for {code}, and {owner}, which shares its "
                        f"site, {path!r}; choose one of them"
                    )
        for option, port in _server_ports(app):
            said = f"app {name}: server.{option} {app['server'][option]} uses {port}"
            if other := listens.get(port):
                yield f"{said}, the port of the site of {other} (site.listen); choose another one"
            if port in ports:
                yield f"{said}, as {ports[port][1]} of {ports[port][0]} does; choose another one"
            ports.setdefault(port, (name, f"server.{option}"))
        if bind := _Bind.of(app):
            said = f"app {name}: server.bind {app['server']['bind']}"
            if other := listens.get(bind.port):
                yield f"{said} has the port of the site of {other} (site.listen); choose another port for one of them"
            for place, text, other in binds:
                if bind.overlaps(place):
                    yield f"{said} cannot stand beside {text} of {other}; choose another port for one of them"
            binds.append((bind, app["server"]["bind"], name))
    for bind, text, name in binds:
        if bind.port in ports:
            other, option = ports[bind.port]
            yield f"app {name}: server.bind {text} has a port that {option} of {other} uses; choose another one"
    if len(proxies) > 1:
        first, second = (f"site.proxy of {name} is {proxy}" for proxy, name in proxies.items())
        yield f"{first}, and {second}; one host has one web server for all its apps, so choose one of them"


def _server_ports(app: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Return the ports that the app's server listens on, two for each option that has one."""
    for option in PORTS:
        if port := app["server"].get(option, 0):
            yield from ((option, port), (option, port + 1))


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
            *_shape_problems(completed),
            *_part_problems(completed),
            *_limit_problems(completed, open_files or _MOST_OPEN_FILES),
            *_bind_problems(completed),
            *_site_problems(completed, search),
            *_source_problems(completed, search),
            *_number_problems(app["source"].get("git") or {}),
        ]
        if not found and names and not (completed["site"]["server_names"] or _own_names(names)):
            found = ["site.server_names is empty, and the host has no name in the inventory that a client can send"]
        if not found:
            if host := completed["health"]["host"]:
                completed["health"]["host"] = host_header(host)
            completed["site"]["server_names"] = host_names(completed["site"]["server_names"]) or _own_names(names)
            sound.append(completed)
        problems += [f"{label}: {problem}" for problem in found]
    return sound, _conceal([*problems, *_relation_problems(sound)], _vaulted(apps))


def _number_problems(git: Mapping[str, Any]) -> Iterator[str]:
    """Find a version that is no text in the description, for it may have lost zeros before anybody reads it."""
    version = _plain(git.get("version"))
    if isinstance(version, (int, float)):
        yield (
            f"source.git.version is the number {version}, and YAML reads 1.10 as 1.1 and 0123 as 83. Write the "
            "version in quotes"
        )


def _outdated(app: Mapping[str, Any]) -> list[str]:
    """Say what to use in place of settings of the server that guides of former years have."""
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


def sites(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gather the apps of one server (same port, same names) into one site of nginx."""
    groups: dict[tuple[int, frozenset[str]], list[dict[str, Any]]] = defaultdict(list)
    for app in apps:
        groups[app["site"]["listen"], frozenset(app["site"]["server_names"])].append(app)
    ports: set[int] = set()
    shared = {app["site"]["listen"] for app in apps if not app["site"]["catch_all_enabled"]}
    every = {app["site"]["listen"] for app in apps if app["site"]["server_names"] == [EVERY]}
    found = []
    for (port, server_names), members in sorted(groups.items(), key=_site_order):
        found.append(
            {
                # By its place, not by an app: apps come, go, and change their order.
                "name": f"{port}-{min(server_names, key=_names_first).translate(_FILE_SIGNS)}",
                "listen": port,
                "catch_all_enabled": EVERY in server_names or port not in ports | shared | every,
                "server_names": [name for name in members[0]["site"]["server_names"] if name != EVERY],
                "error_pages": _pages(members),
                "locations": [_location(app) for app in sorted(members, key=lambda app: app["site"]["prefix"])],
            }
        )
        ports.add(port)
    return [*found, *(_bind_site(app, bind) for app in apps if (bind := _Bind.of(app)))]


def _bind_site(app: Mapping[str, Any], bind: _Bind) -> dict[str, Any]:
    """Describe a site for one app alone, whatever the host name."""
    address = str(bind.address)
    return {
        "name": f"bind-{bind.port}-{address.replace(':', '_')}",
        "address": f"[{address}]" if bind.address.version == 6 else address,
        "listen": bind.port,
        "server_names": [],
        "error_pages": _pages([app]),
        # A dot is in no app's name, so this is no other app's.
        "locations": [{**_location(app), "name": f"wsgi-{app['name']}.bind", "prefix": "/"}],
    }


def _pages(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the error pages of a site that apps share, each once, with the places where they are."""
    pages = ((app["search"], page) for app in apps for page in app["site"]["error_pages"])
    found = [{**page, "path": find_path(page["path"], search)} for search, page in pages]
    return [page for index, page in enumerate(found) if page not in found[:index]]


def _site_order(group: tuple[tuple[int, frozenset[str]], Any]) -> tuple[int, bool, list[str]]:
    """Exact names come first: the first site of a port is before all others, where httpd looks from top to bottom."""
    port, server_names = group[0]
    return port, any("*" in name for name in server_names), sorted(server_names)


def _names_first(server_name: str) -> tuple[bool, str]:
    return server_name[0].isdigit(), server_name


def _location(app: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"wsgi-{app['name']}",
        "prefix": app["site"]["prefix"],
        **place_slots(app["home"], dict.fromkeys("ab", endpoint(app["server"]))),
        "max_body_size": app["site"]["max_body_size"],
        **{key: app["site"][key] for key in ("websocket_enabled", "cors", "intercept_errors_enabled")},
        "read_timeout": max(60, app["server"]["timeout"] + 5),
    }


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
) -> dict[str, Any]:
    """Return ``apps`` and ``sites`` with nothing left to guess; raise AppsError where the description cannot work."""
    resolved, problems = examine(apps, search, names, open_files)
    if problems:
        raise AppsError("\n".join(problems))
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
            program["limits"] = _limits(app, program["limits"])
        app["limits"] = _limits(app, {})
        app["program"] = _program(app, variant)
        del app["environment"]  # from here on it stands in the program alone, so that one place has to be kept secret
    if lacking := list(filter(None, (servers().lacking_wheels(app, machine) for app in resolved))):
        raise AppsError("\n".join(lacking))
    users = sorted({app["user"] for app in resolved} | {BUILD_USER})
    proxy = next((app["site"]["proxy"] for app in resolved), "nginx")
    return {"apps": resolved, "sites": sites(resolved), "users": users, "proxy": proxy}
