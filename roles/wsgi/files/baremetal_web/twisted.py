# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the app with Twisted: ``twist web``, with a pool of as many threads as wanted."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from baremetal_web.launch import LISTEN_FD, listen, options


def site() -> Any:
    """Return the resource that answers; ``twist web --wsgi`` has no option for the size of its pool."""
    from twisted.internet import address, defer, reactor, unix
    from twisted.python.threadpool import ThreadPool
    from twisted.web.wsgi import WSGIResource

    from baremetal_web.entry import application

    wanted = options()
    pool = ThreadPool(minthreads=min(5, wanted["threads"]), maxthreads=wanted["threads"], name="wsgi")
    answering: set[Any] = set()

    class Site(WSGIResource):
        def render(self, request: Any) -> Any:
            # The ends of a unix socket have neither host nor port, and WSGIResource asks for both.
            request.client = request.host = address.IPv4Address("TCP", "127.0.0.1", 0)
            answering.add(request)
            request.notifyFinish().addBoth(lambda _: answering.discard(request))
            return super().render(request)

    def drain() -> Any:
        """Let what is being answered end; a thread that writes when the reactor is gone would wait for ever."""
        ended = defer.DeferredList([request.notifyFinish() for request in answering], consumeErrors=True)
        reactor.callLater(wanted["graceful_timeout"], lambda: ended.called or ended.callback(None))
        return ended

    # Twisted would open the socket's path to everybody, and remove it in the end; the path is root's.
    unix._inFilesystemNamespace = lambda _path: False
    reactor.callWhenRunning(pool.start)
    # Twisted listens once more, with a backlog of 50.
    listener = socket.socket(fileno=os.dup(LISTEN_FD))
    reactor.callWhenRunning(listener.listen, wanted["backlog"])
    reactor.addSystemEventTrigger("before", "shutdown", drain)
    reactor.addSystemEventTrigger("after", "shutdown", pool.stop)
    return Site(reactor, pool, application)


def main() -> None:
    """Listen, then become ``twist``."""
    wanted = options()
    listener = listen(wanted["backlog"])
    family = "UNIX" if os.environ["APP_SOCKET"].startswith("/") else "INET"
    if listener.fileno() == LISTEN_FD:
        os.set_inheritable(LISTEN_FD, True)
    else:
        os.dup2(listener.fileno(), LISTEN_FD)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="web")
    command = [sys.executable, "-m", "twisted", "--log-format", "text", "web"]
    command += ["--listen", f"systemd:domain={family}:index=0", "--class", "baremetal_web.twisted.site"]
    command += [] if wanted["access_log_enabled"] else ["--logfile", os.devnull]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
