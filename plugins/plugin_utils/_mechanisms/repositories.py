# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check package repositories and their keys on the controller, and complete them for a host."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import CACHE, find_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.openpgp import KeyFileError, checked
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.defaults import apply_options
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options

_NAME = r"[a-z0-9][a-z0-9._-]*"
_FINGERPRINT = r"[0-9A-Fa-f]{40}"


class RepositoriesError(ValueError):
    """The repositories cannot work; the text has one sentence for each problem."""


def examine(repositories: Any, search: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the repositories with all defaults and the text of their keys, and a sentence for each problem."""
    options = role_options("packages")["packages_repositories"]["options"]
    if not isinstance(repositories, list):
        return [], [f"packages_repositories is {type(repositories).__name__}; it must be a list of repositories."]
    sound: list[dict[str, Any]] = []
    problems: list[str] = []
    names: set[tuple[str, str]] = set()
    for index, repository in enumerate(repositories):
        if not isinstance(repository, Mapping):
            problems.append(f"packages_repositories[{index}] is no dictionary; it must have at least name and url.")
            continue
        label = f"repository {repository.get('name', index)}"
        completed, found = apply_options(options, repository)
        found = found or list(_problems(completed))
        if not found:
            try:
                completed["key"] = read_key(completed["key"], completed["fingerprints"], search)
            except (KeyFileError, OSError) as error:
                found = [f"the file of its keys, {completed['key']}, is refused: {error}"]
        if not found:
            places = {(completed["name"], family) for family in completed["families"]}
            found = ["the name is used twice for hosts of one family"] if places & names else []
            names |= places
            sound.append(completed)
        problems += [f"{label}: {problem}" for problem in found]
    return sound, problems


def _problems(repository: Mapping[str, Any]) -> Iterator[str]:
    if not re.fullmatch(_NAME, repository["name"]):
        yield f"name is {repository['name']!r}; it must be of lower-case letters, digits, dots, _ and -"
    url = urllib.parse.urlsplit(repository["url"])
    if url.scheme not in ("http", "https", "file"):
        yield f"url is {repository['url']!r}; it must start with http://, https:// or file:///"
    if "@" in url.netloc:
        yield "url holds a login, which every user of the host could read; give it as username and password"
    if re.search(r"\s", repository["url"]):
        yield f"url is {repository['url']!r}; it must be one address, without spaces"
    if repository["key"] and not repository["fingerprints"]:
        yield (
            f"key is {repository['key']} without fingerprints; list those that the publisher names, 40 hexadecimal "
            "digits each"
        )
    for fingerprint in repository["fingerprints"]:
        if not re.fullmatch(_FINGERPRINT, "".join(fingerprint.split())):
            yield f"{fingerprint!r} is no fingerprint; it must have 40 hexadecimal digits"
    if repository["password"] and not repository["username"]:
        yield "password is given without a username"


def read_key(place: str, fingerprints: list[str], search: list[str]) -> str:
    """Return the text of a key file that holds exactly the keys of these fingerprints; empty for none."""
    if not place:
        return ""
    if not place.startswith(("http://", "https://")):
        path = find_path(place, search)
        if path is None:
            raise KeyFileError(f"it is not on the controller (looked in {', '.join(search)})")
        with open(path, "rb") as stream:
            return checked(stream.read(), fingerprints)
    # Fetched once: what it holds is checked whenever it is used.
    digest = hashlib.sha256("\n".join([place, *fingerprints]).encode()).hexdigest()[:16]
    cached = os.path.join(CACHE, f"key-{digest}.asc")
    if not os.path.exists(cached):
        # Imported where it is used, as it takes long and every process for a host would do it.
        from ansible.module_utils.urls import open_url

        with open_url(place, timeout=30) as response:
            text = checked(response.read(), fingerprints)
        os.makedirs(CACHE, mode=0o700, exist_ok=True)
        temporary = f"{cached}.{os.getpid()}"
        with open(temporary, "w", encoding="ascii") as stream:
            stream.write(text)
        os.replace(temporary, cached)
    with open(cached, "rb") as stream:
        return checked(stream.read(), fingerprints)


def resolve(repositories: Any, facts: Mapping[str, Any], search: list[str]) -> list[dict[str, Any]]:
    """Return the repositories of a host, in the words of the module packages."""
    completed, problems = examine(repositories, search)
    if problems:
        raise RepositoriesError("\n".join(problems))
    # A key without a value is none, so that an empty password censors nothing.
    words = ("name", "url", "suites", "components", "key", "signature", "preferred", "username", "password")
    return [
        {
            word: value
            for word, value in {
                **one,
                "suites": one["suites"] or [facts["distribution_release"]],
                "preferred": one["preferred_enabled"],
            }.items()
            if word in words and value
        }
        for one in completed
        if facts["os_family"] in one["families"]
    ]
