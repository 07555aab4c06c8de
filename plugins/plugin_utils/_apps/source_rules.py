# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for where the code and the requirements of an app come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.downloads import file_name, packed_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import find_path, looked_in
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.forms import form_problems, least_problems
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.secrets import without_credentials
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.sizes import SIZE

# ansible-core brings it; the environment of its import test does not.
with suppress(ImportError):
    from packaging.utils import parse_wheel_filename

SOURCES = ("path", "git", "archive", "wheel")
_FORMS = {"source.max_size": (SIZE, "a number of bytes, or of k, m or g, for example 500m")}
_LEAST = {"source.max_files": 1}


def source_problems(app: Mapping[str, Any], search: list[str]) -> Iterator[str]:
    """Find what is wrong with an app's source and its requirements, as far as the description alone shows it."""
    yield from form_problems(app, _FORMS)
    yield from least_problems(app, _LEAST)
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
        yield f"python.requirements_path names {own!r}, which is no file on the controller {looked_in(search)}"
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
            yield f"source.path {value!r} is no directory on the controller {looked_in(search)}"
    elif kind == "git":
        yield from _repository_problems(value["repo"])
        signers = value["signers"]
        if signers and not os.path.isfile(find_path(signers, search) or ""):
            yield f"source.git.signers {signers!r} is no file on the controller {looked_in(search)}"
    else:
        yield from packed_problems(f"source.{kind}", value, search)
        if kind == "wheel":
            yield from _wheel_problems(value)
        if kind == "wheel" and requirements and not os.path.isfile(find_path(requirements, search) or ""):
            yield (
                f"python.requirements names {requirements!r}, which is no file on the controller {looked_in(search)}; "
                f"a wheel does not bring its own, so put it there, {way_out}"
            )


def _wheel_problems(packed: Mapping[str, Any]) -> Iterator[str]:
    """Find a name that is no wheel's, where it is clear which one is meant."""
    place = "url" if packed.get("url") is not None else "path"
    if not packed.get(place) or (packed.get("path") is None) == (packed.get("url") is None):
        return
    try:
        wheel_version(file_name(packed))
    except ValueError as error:
        yield (
            f"source.wheel.{place} ends in {file_name(packed)!r}, which is no wheel that a host can install: {error}. "
            "Give the wheel the name that it was built with, such as hello_flask-1.2-py3-none-any.whl."
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


def number_problems(git: Mapping[str, Any]) -> Iterator[str]:
    """Find a version that is a number in the description, because it may have lost zeros before it is read."""
    version = plain(git.get("version"))
    if isinstance(version, (int, float)):
        yield (
            f"source.git.version is the number {version}, and YAML reads 1.10 as 1.1 and 0123 as 83. Write the "
            "version in quotes"
        )


def wheel_version(name: str) -> str:
    """Return the version in a wheel's name; raise ValueError, with the reason, when no host could install it."""
    _name, version, _build, tags = parse_wheel_filename(name)
    if not any(re.match(r"(py|cp)3", tag.interpreter) and re.match(r"any|(many)?linux", tag.platform) for tag in tags):
        raise ValueError(f"it is for {', '.join(sorted(map(str, tags)))}, not for Python 3 on Linux")
    return str(version)
