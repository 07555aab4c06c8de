# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of the launchers: the options, the socket, and processes that serve it together."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

START_SECONDS = 5
LISTEN_FD = 3  # the first one of systemd's protocol


def options() -> dict[str, Any]:
    """Return the options of the server, which stand beside this package."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "options.json")
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


def listen(backlog: int) -> socket.socket:
    """Listen where APP_SOCKET says: on a path, whose socket was handed over, or on ADDRESS:PORT."""
    place = os.environ["APP_SOCKET"]
    if place.startswith("/"):
        listener = inherited()
    else:
        host, _colon, port = place.rpartition(":")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What is accepted inherits it: an answer of two writes waits for no acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, int(port)))
    listener.listen(backlog)
    return listener


def inherited() -> socket.socket:
    """Return the bound socket that was handed over; the app's own programs get none."""
    for name in ("LISTEN_FDS", "LISTEN_PID"):
        os.environ.pop(name, None)
    os.set_inheritable(LISTEN_FD, False)
    return socket.socket(fileno=LISTEN_FD)


def on_stop(act: Callable[[], Any]) -> None:
    """Act when the process is asked to end; once, though supervisord and the parent both ask."""

    def stop(*_: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        act()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def serve(number: int, work: Callable[[], Any]) -> None:
    """Let so many processes do the work, which listen on one socket; one that ends is replaced."""
    if number == 1:
        work()
    else:
        Processes(work).run(number)


class Processes:
    """Processes that do the same."""

    def __init__(self, work: Callable[[], Any]):
        self.work = work
        self.running: set[int] = set()
        self.stopping = False
        self.begun = time.monotonic()

    def run(self, number: int) -> None:
        """Keep so many of them until asked to stop; raise SystemExit when the first ones cannot start."""
        on_stop(self.stop)
        while self.running or not self.stopping:
            while len(self.running) < number and not self.stopping:
                self._start()
            process, status = os.wait()
            self.running.discard(process)
            if status and not self.stopping:
                print(f"Process {process} ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr, flush=True)
                if time.monotonic() < self.begun + START_SECONDS:
                    self.stop()
                    raise SystemExit(1)
                time.sleep(1)

    def stop(self) -> None:
        self.stopping = True
        for process in self.running:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    def _start(self) -> None:
        # A signal waits until the process that it is for is known.
        signals = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        if process := os.fork():
            self.running.add(process)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        else:
            self._work(signals)

    def _work(self, signals: set[signal.Signals]) -> NoReturn:
        status = 1
        try:
            for number in signals:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            self.work()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
