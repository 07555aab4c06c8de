# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module apache_ports_info."""

from __future__ import annotations

import fnmatch
import glob
import os
import re

from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked

ARGUMENTS = {
    "configuration": {"type": "list", "elements": "str", "required": True},
    "owner": {"type": "str", "required": True},
}
_LISTEN = re.compile(r"^\s*(Listen\s.*\S)", re.IGNORECASE)


def work(asked: Asked) -> dict:
    """Return the lines of the files that the sites of an owner are not in; a file that cannot be read has none."""
    own = [f"{place}{asked.params['owner']}-*" for place in ("", "000-")]
    lines = []
    for path in (path for pattern in asked.params["configuration"] for path in sorted(glob.glob(pattern))):
        if not any(fnmatch.fnmatch(os.path.basename(path), name) for name in own) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                lines += [match[1] for line in stream if (match := _LISTEN.match(line))]
    return {"changed": False, "listen": lines}
