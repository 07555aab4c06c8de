# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a service is to have, beside those that other people made on the same host."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Entry
from ansible_collections.baremetal.web.plugins.module_utils._host.generated_secrets import generated_secret, substitute
from ansible_collections.baremetal.web.plugins.module_utils._host.ownership import is_foreign, is_packaged
from ansible_collections.baremetal.web.plugins.module_utils._host.services import Refused
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked


class WantedFiles:
    """The entries of a transaction, and the paths that must not exist; ``kept`` stay as somebody else made them."""

    def __init__(self, asked: Asked):
        self.asked = asked
        self.wanted: dict[str, Any] = asked.params
        self.known = change_record.read().get("file", {})
        self.account_paths = {options["path"] for options in self.wanted["account_files"]}
        self.kept = [options["path"] for options in self._described() if self._is_kept(options)]
        self.kept += self._kept_for_their_content()
        self.secrets = {options["name"]: generated_secret(options) for options in self.wanted["secrets"]}
        self.absent = [*self.wanted["absent"], *self._packaged(), *self._exclusive()]

    def entries(self) -> list[Entry]:
        """Return what is to be written, in the order of writing."""
        return [
            *self._files("account_files"),
            *(Entry.directory(options) for options in self.wanted["directories"]),
            *self._files("files"),
            *self.secrets.values(),
            *self._secret_files(),
        ]

    def conflict(self, changed: list[str]) -> str:
        """Return what stands in the way in files of others; empty when nothing does."""
        for options in self._described():
            path = options["path"]
            if options["foreign"] == "refuse" and path in changed and is_foreign(path):
                return f"{path} was not written by this collection. Move it away if it is not needed."
        ours = {*self.known, *(options["path"] for options in self.wanted["files"]), *self.absent}
        for rule in self.wanted["conflicts"]:
            for path in sorted({path for pattern in rule["files"] for path in glob.glob(pattern)} - ours):
                with suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
                    if re.search(rule["regex"], stream.read(), re.MULTILINE):
                        return f"{path} {rule['explanation']}"
        return ""

    def _described(self) -> list[dict[str, Any]]:
        """Return the options of all files."""
        return [*self.wanted["account_files"], *self.wanted["files"], *self.wanted["secret_files"]]

    def _files(self, option: str) -> Iterator[Entry]:
        return (Entry.file(options) for options in self.wanted[option] if options["path"] not in self.kept)

    def _secret_files(self) -> Iterator[Entry]:
        for options in self.wanted["secret_files"]:
            if options["path"] not in self.kept:
                # Not in place: Ansible shows a module's parameters, and knows their secrets as they were given.
                content = substitute(options["content"], self.secrets)
                yield Entry.file({**options, "content": content}, secret=True)

    def _is_kept(self, options: dict[str, Any]) -> bool:
        """Tell whether a file stays as somebody else made it, or needs it."""
        path = options["path"]
        if options["foreign"] != "keep" or not os.path.lexists(path) or path in self.known:
            return False
        return any(glob.glob(pattern) for pattern in options["kept_with"]) or is_foreign(path)

    def _kept_for_their_content(self) -> Iterator[str]:
        """Yield the files that would lose what they are to keep; refuse those that need the change as well."""
        for options in self.wanted["files"]:
            lost, gained = self._lost_and_gained(options)
            said = (
                f"{options['path']} stays as it is, because it is to keep {', '.join(lost)} "
                "until another file has that."
            )
            if lost and gained:
                raise Refused(f"{said} So it does not get {', '.join(gained)} either.")
            if lost:
                self.asked.warnings.append(said)
                yield options["path"]

    def _lost_and_gained(self, options: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Return what a file is to keep and would lose, and what it would gain."""
        regex = self.wanted["keeps"]
        if not regex or not os.path.exists(options["path"]):
            return [], []
        with open(options["path"], encoding="utf-8", errors="replace") as stream:
            now, then = ({*re.findall(regex, text, re.MULTILINE)} for text in (stream.read(), options["content"]))
        return sorted(now - then), sorted(then - now)

    def _packaged(self) -> Iterator[str]:
        return (path for path in self.wanted["absent_if_packaged"] if is_packaged(path))

    def _exclusive(self) -> Iterator[str]:
        """Yield the files of this collection that match a pattern and are not wanted any more."""
        ours = self.known.keys() - {options["path"] for options in self._described()}
        return (path for pattern in self.wanted["exclusive"] for path in sorted(glob.glob(pattern)) if path in ours)
