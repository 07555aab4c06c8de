# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks of the kernel, by files: they end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator


@contextlib.contextmanager
def file_lock(
    path: str, seconds: float | None = None, otherwise: Exception | None = None, create: bool = True
) -> Iterator[None]:
    """Hold a lock file while the block runs; wait for it without end, or so long and raise ``otherwise``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT if create else os.O_RDONLY, 0o600)
    try:
        if create:  # closed to others: whoever can open it could hold the lock
            os.fchmod(descriptor, 0o600)
        if seconds is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            _wait(descriptor, time.monotonic() + seconds, otherwise)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, end: float, otherwise: Exception | None) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise (otherwise or TimeoutError("another process holds the lock")) from None
            time.sleep(0.1)
