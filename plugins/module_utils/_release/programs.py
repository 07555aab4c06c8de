# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of an app's releases in supervisord: one server for each release, and background programs."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor
from ansible_collections.baremetal.web.plugins.module_utils._release.home import RELEASE, Home


class Programs:
    """The programs of an app in supervisord."""

    def __init__(self, home: Home, supervisor: Supervisor):
        self.home = home
        self.supervisor = supervisor

    def releases(self) -> list[str]:
        """Return the releases that have a program."""
        pattern = re.compile(re.escape(self.home.name) + rf"-({RELEASE})(?:\.[a-z].*)?")
        return sorted({found[1] for found in map(pattern.fullmatch, self.supervisor.programs()) if found})

    def of(self, release: str) -> list[str]:
        """Return the names of a release's programs that have a file, the server's first."""
        main = self.home.program(release)
        return sorted(
            name
            for name in self.supervisor.programs()
            if name == main or re.fullmatch(re.escape(main) + r"\.[a-z].*", name)
        )

    def background(self, release: str) -> list[str]:
        """Return the names of a release's background programs that have a file."""
        return [name for name in self.of(release) if name != self.home.program(release)]

    def remove(self, release: str) -> None:
        """Stop and remove everything of a release that runs, background programs first."""
        self.supervisor.remove(*self.background(release))
        self.supervisor.remove(self.home.program(release))
        with suppress(FileNotFoundError):
            os.unlink(self.home.socket(release))
