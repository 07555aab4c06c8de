# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the controller or of the web that a checksum says the content of."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from ansible import constants
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.module_utils._host import archives
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import find_path, found_file, looked_in
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.lfs import is_pointer_file
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.secrets import without_credentials

_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


class UnreachableError(AnsibleError):
    """A source that is elsewhere cannot be had."""


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
        yield f"{kind}.path {shown!r} is no file on the controller {looked_in(search)}"
    if "checksum" not in given:
        yield f"{kind}.{place} {shown!r} needs a checksum: sha256: and what sha256sum says of the file"
    elif not _CHECKSUM.fullmatch(given["checksum"]):
        yield f"{kind}.checksum is {given['checksum']!r}; it must be sha256: and 64 hexadecimal digits"


def file_name(packed: Mapping[str, Any]) -> str:
    """Return the name of an archive or a wheel that has a path or a URL."""
    path = unquote(re.split(r"[?#]", packed["url"])[0]) if packed.get("url") else packed["path"]
    return path.rpartition("/")[2]


def fetch_once(packed: dict[str, Any], search: list[str], bounds: archives.Bounds) -> str:
    """Return the path of a file whose checksum is right; a URL is asked once in a run, for all hosts."""
    key = hashlib.sha256(json.dumps([packed, search], sort_keys=True).encode()).hexdigest()[:16]
    place = os.path.join(constants.DEFAULT_LOCAL_TMP, "baremetal.web", key)
    os.makedirs(place, mode=0o700, exist_ok=True)
    done = os.path.join(place, "path")
    with file_lock(f"{place}.lock"):
        if not os.path.exists(done):
            path = fetch(packed, search, place, bounds)
            with open(done, "w", encoding="utf-8") as stream:
                stream.write(path)
    with open(done, encoding="utf-8") as stream:
        return stream.read()


def fetch(packed: dict[str, Any], search: list[str], directory: str, bounds: archives.Bounds) -> str:
    """Return the path of an archive or a wheel whose checksum is right."""
    name = file_name(packed)
    if packed.get("url"):
        # Imported where they are used, as they take long and every process for a host would do it.
        from http.client import HTTPException

        from ansible.module_utils.urls import open_url

        path = os.path.join(directory, name or "archive")
        try:
            with open_url(packed["url"]) as response, open(path, "wb") as stream:
                while piece := response.read(archives.PIECE):
                    stream.write(piece)
                    if stream.tell() > bounds.size:
                        raise bounds.too_large()
        except (OSError, ValueError, HTTPException) as error:
            said = without_credentials(str(error))
            raise UnreachableError(f"{without_credentials(packed['url'])} cannot be fetched: {said}") from None
        except archives.ArchiveError as error:
            raise AnsibleError(f"{without_credentials(packed['url'])} cannot be used: {error}") from None
    else:
        path = found_file(packed["path"], search)
    if is_pointer_file(path):
        raise AnsibleError(
            f"{name} is a pointer of Git LFS, not the file itself. Run `git lfs pull` where it comes from, then "
            "give the checksum of the file."
        )
    with open(path, "rb") as stream:
        actual = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != packed["checksum"]:
        raise AnsibleError(f"{name} has the checksum {actual}, not {packed['checksum']}; nothing of it was used.")
    return path
