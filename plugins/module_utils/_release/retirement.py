# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the releases of an app end that are not live: the standby release stays warm for a while, no other does."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.module_utils._release.programs import Programs

# The least of ``releases.warm`` (roles/wsgi/meta/argument_specs.yml): a request that chose its slot a moment before the
# switch still has to be accepted.
LEAST_WARM_SECONDS = 5


def timer(home: Home) -> str:
    """Return the name of the unit that ends the standby release."""
    return f"baremetal-web-retire-{home.name}.timer"


class Retirement:
    """The end of releases that are not live, as the description of a release asks for it."""

    def __init__(self, home: Home, programs: Programs, description: Mapping[str, Any]):
        self.home = home
        self.programs = programs
        self.description = description

    def retire(self, live: str) -> None:
        """Let the standby release end when its time to be warm is over, others at once; keep the newest releases."""
        standby = self.home.standby
        for release in self.programs.releases():
            if release not in (live, standby):
                self.programs.remove(release)
        if standby in self.programs.releases():
            self.schedule(standby)
        self.home.prune(self.description["releases"]["keep"])

    def schedule(self, release: str) -> None:
        """Let systemd end a release later; until then it can be live again at once. A reboot does not start it."""
        supervisor, name = self.programs.supervisor, self.home.program(release)
        path, text = supervisor.path(name), supervisor.current_text(name) or ""
        write_file(path, text.replace("autostart = true", "autostart = false").encode(), 0o600)
        link = shlex.quote(self.home.current_link)
        script = (
            f'test "$(readlink {link})" = releases/{release} || '
            f"{{ rm -f {shlex.quote(path)}; {self.description['supervisorctl']} update {name}; "
            f"rm -f {shlex.quote(self.home.socket(release))}; }}"
        )
        seconds = max(LEAST_WARM_SECONDS, self.description["releases"]["warm"])
        self.cancel()
        done = subprocess.run(
            [
                *("systemd-run", "--quiet", "--collect", f"--unit={timer(self.home)}", f"--on-active={seconds:g}"),
                *("--timer-property=AccuracySec=1s", f"--description=End the standby release of {self.home.name}"),
                *("flock", os.path.join(self.home.path, ".lock"), "/bin/sh", "-c", script),
            ],
            check=False,
            capture_output=True,
            timeout=30,
        )
        if done.returncode:  # there is no later
            self.wait_for_requests()
            self.programs.remove(release)

    def cancel(self) -> None:
        """Let the standby release go on; a retirement that is under way holds the mutex, so there is none."""
        subprocess.run(["systemctl", "stop", timer(self.home)], check=False, capture_output=True, timeout=30)

    def clear_slot(self, slot: str) -> None:
        """End the release that had the slot, whose connections nginx keeps, and candidates that were left behind."""
        self.cancel()
        others = [name for name in self.programs.releases() if name != self.home.current]
        if others:  # what clients have sent to one of them is accepted by then
            since = time.time() - os.stat(self.home.slots).st_mtime
            time.sleep(min(LEAST_WARM_SECONDS, max(0, LEAST_WARM_SECONDS - since)))
        for release in others:
            self.programs.remove(release)
        if self.home.occupant(slot) != self.home.current:
            self.home.vacate(slot)

    @staticmethod
    def wait_for_requests() -> None:
        """Wait until the requests that chose a slot before a switch are accepted."""
        time.sleep(LEAST_WARM_SECONDS)
