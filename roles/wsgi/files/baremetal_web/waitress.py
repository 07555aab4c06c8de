# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with waitress."""

from __future__ import annotations

import time

from baremetal_web.launch import listen, on_stop, options, serve

PROXY_HEADERS = {"clear_untrusted_proxy_headers": False}  # baremetal_web.entry reads them


def main() -> None:
    """Listen, then serve in as many processes as wanted."""
    wanted = options()
    listener = listen(wanted["backlog"])

    def work() -> None:
        import waitress

        from baremetal_web.entry import application

        server = waitress.create_server(
            application,
            sockets=[listener],
            threads=wanted["threads"],
            connection_limit=wanted["worker_connections"],
            channel_timeout=wanted["keepalive"],
            max_request_body_size=2**40,  # nginx has the limit
            ident=None,
            **PROXY_HEADERS,
        )
        end: list[float] = []
        on_stop(lambda: end.append(time.monotonic() + wanted["graceful_timeout"]))
        while not end:
            server.asyncore.loop(timeout=1, map=server._map, use_poll=True, count=1)
        server.del_channel()
        listener.close()
        while time.monotonic() < end[0] and any(
            channel.requests or channel.total_outbufs_len for channel in server.active_channels.values()
        ):
            server.asyncore.loop(timeout=0.1, map=server._map, use_poll=True, count=1)
        server.task_dispatcher.shutdown(timeout=0)

    serve(wanted["workers"], work)


if __name__ == "__main__":
    main()
