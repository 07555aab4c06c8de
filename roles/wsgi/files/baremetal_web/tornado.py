# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve a Tornado application, or a WSGI application in Tornado's WSGIContainer."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from baremetal_web.launch import listen, on_stop, options, serve


class Busy:
    """An application that knows how many requests it is answering."""

    def __init__(self) -> None:
        self.number = 0

    def native(self, application: Any) -> Any:
        """Count the requests of a Tornado application."""
        find, log = application.find_handler, application.log_request

        def find_handler(*arguments: Any, **keywords: Any) -> Any:
            self.number += 1
            return find(*arguments, **keywords)

        def log_request(handler: Any) -> None:
            self.number -= 1
            log(handler)

        application.find_handler, application.log_request = find_handler, log_request
        return application

    def contained(self, container: Any) -> Any:
        """Count the requests of a WSGI application."""

        async def handle(request: Any) -> None:
            self.number += 1
            try:
                await container.handle_request(request)
            finally:
                self.number -= 1

        return lambda request: asyncio.ensure_future(handle(request))


def main() -> None:
    """Listen, then serve in as many processes as wanted."""
    wanted = options()
    listener = listen(wanted["backlog"])
    listener.setblocking(False)
    logging.basicConfig(format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s", level=logging.INFO)
    if not wanted["access_log_enabled"]:
        logging.getLogger("tornado.access").setLevel(logging.ERROR)

    async def run() -> None:
        from tornado.httpserver import HTTPServer
        from tornado.wsgi import WSGIContainer

        from baremetal_web.entry import application

        busy = Busy()
        if os.environ["APP_INTERFACE"] == "tornado":
            answer = busy.native(application)
        else:
            answer = busy.contained(WSGIContainer(application, ThreadPoolExecutor(wanted["threads"])))
        server = HTTPServer(answer, idle_connection_timeout=wanted["keepalive"])
        server.add_socket(listener)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        on_stop(lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()
        server.stop()
        end = time.monotonic() + wanted["graceful_timeout"]
        while busy.number and time.monotonic() < end:
            await asyncio.sleep(0.05)
        await server.close_all_connections()

    serve(wanted["workers"], lambda: asyncio.run(run()))


if __name__ == "__main__":
    main()
