# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with granian."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from baremetal_web.launch import inherited, options


def main() -> None:
    """Let granian listen and serve."""
    from granian import Granian
    from granian.http import HTTP1Settings
    from granian.net import SocketHolder

    wanted = options()
    place = os.environ["APP_SOCKET"]
    if place.startswith("/"):
        where: dict[str, Any] = {"uds": Path(place)}
    else:
        host, _colon, port = place.rpartition(":")
        where = {"address": host, "port": int(port)}
    threads = {"blocking_threads": wanted["threads"]} if "threads" in wanted else {}
    backlog = max(128, wanted["backlog"])

    class Server(Granian):
        """Listens on the socket that was handed over; granian has no option for that."""

        def _init_shared_socket(self) -> None:
            if not self.bind_uds:
                super()._init_shared_socket()
                return
            self._sso = inherited()
            self._sso.set_inheritable(True)
            self._ssp, self._sfd = None, self._sso.fileno()
            self._shd = SocketHolder(self._sfd, True, backlog)

        def _unlink_pidfile(self) -> None:
            """Leave the path of the socket, which is root's."""

    Server(
        "baremetal_web.entry:application",
        **where,
        interface=os.environ["APP_INTERFACE"],
        workers=wanted["workers"],
        **threads,
        backlog=backlog,
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
