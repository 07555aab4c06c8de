# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with gevent's WSGIServer."""

from __future__ import annotations

import sys
from typing import Any

from baremetal_web.launch import listen, on_stop, options, serve


def main() -> None:
    """Listen, then serve in as many processes as wanted."""
    wanted = options()
    listener = listen(wanted["backlog"])

    def work() -> None:
        # In the process that serves, before anything that it changes is imported: the app first of all.
        from gevent import monkey

        monkey.patch_all()
        import gevent
        from gevent import pool, pywsgi, socket

        from baremetal_web.entry import application

        waiting: set[Any] = set()

        class Handler(pywsgi.WSGIHandler):
            def handle_one_request(self) -> Any:
                """Let other connections have their turn: one whose next request is there already would go on and on."""
                result = super().handle_one_request()
                if result is True:
                    gevent.sleep(1e-9)  # after sleep(0) gevent goes on for 5 ms before it looks for them
                return result

            def read_requestline(self) -> Any:
                """Wait for the next request; when the server stops, there is none."""
                if server.closed:
                    return ""
                waiting.add(gevent.getcurrent())
                try:
                    return super().read_requestline()
                finally:
                    waiting.discard(gevent.getcurrent())

        server = pywsgi.WSGIServer(
            socket.socket(fileno=listener.detach()),
            application,
            spawn=pool.Pool(wanted["worker_connections"]),
            log=sys.stdout if wanted["access_log_enabled"] else None,
            handler_class=Handler,
        )

        def stop() -> None:
            server.close()
            gevent.killall(list(waiting), block=False)

        on_stop(lambda: gevent.spawn(stop))
        server.serve_forever(stop_timeout=wanted["graceful_timeout"])

    serve(wanted["workers"], work)


if __name__ == "__main__":
    main()
