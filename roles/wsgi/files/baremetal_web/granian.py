# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with granian."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from baremetal_web.launch import options


def main() -> None:
    """Let granian listen and serve."""
    from granian import Granian
    from granian.http import HTTP1Settings

    wanted = options()
    place = os.environ["APP_SOCKET"]
    if place.startswith("/"):
        Path(place).unlink(missing_ok=True)  # of one that was killed
        where: dict[str, Any] = {"uds": Path(place), "uds_permissions": 0o666}
    else:
        host, _colon, port = place.rpartition(":")
        where = {"address": host, "port": int(port)}
    threads = {"blocking_threads": wanted["threads"]} if "threads" in wanted else {}
    Granian(
        "baremetal_web.entry:application",
        **where,
        interface=os.environ["APP_INTERFACE"],
        workers=wanted["workers"],
        **threads,
        backlog=max(128, wanted["backlog"]),
        backpressure=wanted["worker_connections"],
        # nginx keeps an idle connection for 30 s, which is granian's own limit as well; this is its longest.
        http1_settings=HTTP1Settings(header_read_timeout=60_000),
        log_level=wanted["log_level"],
        log_access=wanted["access_log_enabled"],
        respawn_failed_workers=True,
        workers_kill_timeout=wanted["graceful_timeout"],
    ).serve()


if __name__ == "__main__":
    main()
