# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mark, on the host, files that are written but not applied yet: the run after one that was cut off applies them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

# A boot applies every configuration, so nothing is pending after it.
DIRECTORY = "/run/baremetal.web"


class PendingMarker:
    """The marker of a set of files."""

    def __init__(self, paths: Iterable[str]):
        digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()
        self.path = os.path.join(DIRECTORY, digest[:16])

    @property
    def is_set(self) -> bool:
        return os.path.exists(self.path)

    def set(self) -> None:
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
        with open(self.path, "w", encoding="utf-8"):
            pass

    def clear(self) -> None:
        os.unlink(self.path)
