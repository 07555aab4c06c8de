# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve an ASGI application with uvicorn."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from baremetal_web.launch import listen, on_stop, options, serve


def main() -> None:
    """Listen, then serve in as many processes as wanted."""
    wanted = options()
    listener = listen(wanted["backlog"])

    def work() -> None:
        import uvicorn

        from baremetal_web.entry import application

        class Server(uvicorn.Server):
            def capture_signals(self) -> Any:
                """Leave signals to the launcher; uvicorn would end by the signal itself."""
                return nullcontext()

        server = Server(
            uvicorn.Config(
                application,
                interface="asgi3",
                backlog=wanted["backlog"],
                timeout_keep_alive=wanted["keepalive"],
                timeout_graceful_shutdown=wanted["graceful_timeout"],
                log_level=wanted["log_level"],
                access_log=wanted["access_log_enabled"],
                proxy_headers=False,  # baremetal_web.entry reads them
                server_header=False,
            )
        )
        on_stop(lambda: setattr(server, "should_exit", True))
        server.run(sockets=[listener])
        if not server.started:
            raise SystemExit(1)

    serve(wanted["workers"], work)


if __name__ == "__main__":
    main()
