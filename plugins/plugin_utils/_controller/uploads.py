# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring an archive of the controller to a host."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from ansible.plugins.action import ActionBase


class UploadingAction(ActionBase):
    """An action whose module takes archives."""

    TRANSFERS_FILES = True

    def _upload(self, pack: Callable[[str], None], name: str) -> str:
        """Let an archive be written and bring it into the host's temporary directory; return where it is."""
        with tempfile.NamedTemporaryFile(prefix="baremetal-web-") as archive:
            pack(archive.name)
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, name)
            self._transfer_file(archive.name, remote)
            self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return remote
