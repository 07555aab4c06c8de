# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right to release an app on a host at the moment: the lock of a whole run, and the mutex of one change.

A run's lock expires after ``wsgi_lock_seconds``, which roles/wsgi/defaults/main.yml sets; a lock that was put there by
hand does not.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import AbstractContextManager, suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError, utc

GUARD_SECONDS = 10
MUTEX_SECONDS = 120


class AppLock:
    """The lock of one app on this host, as one run of Ansible sees it."""

    def __init__(self, home: Home, run: str, by: str):
        self.home = home
        self.run = run
        self.by = by
        self.path = os.path.join(home.path, "lock.json")

    def holder(self) -> dict[str, Any]:
        """Return who holds the lock: C(by), C(since), C(message), C(expires) (0 for never); empty for nobody."""
        with suppress(FileNotFoundError, ValueError), open(self.path, encoding="utf-8") as stream:
            holder = json.load(stream)
            if not holder["expires"] or holder["expires"] > time.time():
                return holder
        return {}

    def shown(self) -> dict[str, str]:
        """Return who holds the lock, for people."""
        holder = self.holder()
        if not holder:
            return {}
        return {
            "by": holder["by"],
            "since": utc(holder["since"]),
            "message": holder["message"],
            "expires": utc(holder["expires"]) if holder["expires"] else "never",
        }

    def take(self, seconds: float, wait: float = 0, message: str = "") -> None:
        """Take the lock for this run, or make it last longer; raise with who, when and why when another holds it."""
        end = time.monotonic() + wait
        while True:
            # Of two that find the lock expired only one may take it.
            with self._guard():
                holder = self.holder()
                if not holder or holder["run"] == self.run:
                    self._write(time.time() + seconds, message or holder.get("message", ""), holder.get("since"))
                    return
            if time.monotonic() >= end:
                raise ReleaseError(self._refusal(wait))
            time.sleep(0.5)

    def _guard(self) -> AbstractContextManager[None]:
        otherwise = ReleaseError(
            f"The lock {self.path} cannot be read within {GUARD_SECONDS} s. Another run is changing it. Run it again."
        )
        return file_lock(os.path.join(self.home.path, ".guard"), GUARD_SECONDS, otherwise)

    def freeze(self, message: str) -> None:
        """Lock by hand: nobody releases until it is taken away by hand."""
        with self._guard():
            if self.holder():
                raise ReleaseError(self._refusal(0))
            self.run = "by hand"
            self._write(0, message)

    def give_up(self) -> None:
        """Give the lock up, if it is this run's."""
        if self.holder().get("run") == self.run:
            self.remove()

    def remove(self) -> None:
        """Remove the lock, whoever holds it."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _write(self, expires: float, message: str, since: float | None = None) -> None:
        lock = {"run": self.run, "by": self.by, "since": since or time.time(), "expires": expires, "message": message}
        write_file(self.path, json.dumps(lock).encode(), 0o600)

    def _refusal(self, waited: float) -> str:
        shown = self.shown()
        why = f" ({shown['message']})" if shown.get("message") else ""
        locked = f"After {waited:g} s the app is still locked" if waited else "The app is locked"
        expires = shown.get("expires")
        end = "The lock has no end" if expires == "never" else f"The lock ends at {expires} at the latest"
        return (
            f"{locked} by {shown.get('by')} since {shown.get('since')}{why}. {end}. Wait with -e lock_wait=SECONDS, or "
            f"remove the lock: ansible-playbook baremetal.web.unlock -e app={self.home.name}."
        )


def mutex(home: Home) -> AbstractContextManager[None]:
    """Let no two changes of an app happen at the same time on this host."""
    otherwise = ReleaseError(
        f"Another release of this app is under way on this host. It holds {home.path}/.lock. Run it again when that "
        "one has ended."
    )
    return file_lock(os.path.join(home.path, ".lock"), MUTEX_SECONDS, otherwise)
