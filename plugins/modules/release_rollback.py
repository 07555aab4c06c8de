#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: make an earlier release of an app the live one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_rollback
short_description: Make an earlier release of an app the live one
description:
  - Goes by what is on the host alone, so it needs neither the description of the app nor its secrets. A release that
    still runs is live again at once; another one proves itself first, as at a deploy.
  - It ends what it has begun even when the controller or the connection is gone.
extends_documentation_fragment: [baremetal.web.release, baremetal.web.release.run, baremetal.web.release.lock]
options:
  to:
    description: >-
      The release to roll back (or forward) to: V(previous), the name of a release or its beginning, or a version.
      Empty, with O(withdraw), ends the live release, so that none is live.
    type: str
    default: previous
  force:
    description: Whether irreversible migrations are crossed.
    type: bool
    default: false
  withdraw:
    description: >-
      Whether the release that is left is withdrawn, so that V(previous) never means it again until it is deployed
      again.
    type: bool
    default: false
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows which release would go live.
    support: full
  diff_mode:
    description: Shows the live and the wanted release.
    support: full
"""

EXAMPLES = r"""
- name: Go back
  baremetal.web.release_rollback:
    name: shop
"""

RETURN = r"""
release:
  description: The wanted release.
  type: str
  returned: always
current:
  description: The live release, empty when there is none.
  type: str
  returned: when the release did not go live
previous:
  description: The release that was live before.
  type: str
  returned: success
version:
  description: The version of the release.
  type: str
  returned: when another release went live
warm:
  description: Whether the release still ran.
  type: bool
  returned: when another release went live
seconds:
  description: How long each step took.
  type: dict
  returned: success
step:
  description: The step that failed.
  type: str
  returned: failure
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import crossed
from ansible_collections.baremetal.web.plugins.module_utils._release.home import ReleaseError
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import mutex
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    LOCK_OPTIONS,
    RUN_OPTIONS,
    Switch,
    perform,
)


class Rollback(Switch):
    """Make a release live that was live before."""

    def wanted(self) -> str:
        """Return the release to go to, or refuse it with the reason."""
        home = self.home
        if not home.current:
            raise ReleaseError("There is nothing to roll back. No release of the app is live. Deploy one.")
        release = self._found()
        manifest = home.manifest(release)
        if not manifest:
            raise ReleaseError(
                f"Cannot roll back to {release}. Its files are gone, because releases.keep keeps the newest. Choose "
                f"one of {', '.join(home.staged())}."
            )
        if not manifest.get("healthy"):
            raise ReleaseError(f"Cannot roll back to {release}. It was never healthy. Choose another release.")
        home.refuse_data_of_another(manifest["description"]["user"])
        self.refuse_unreachable(self.activation(release))
        if (migrations := crossed(home, release)) and not self.params["force"]:
            raise ReleaseError(
                f"Cannot roll back to {release}. Between {release} and {home.current} are irreversible migrations: "
                f"{', '.join(migrations)}. If its code works with the data after them, add -e force=true."
            )
        return release

    def _found(self) -> str:
        """Return the one release that the option C(to) means."""
        home, to = self.home, self.params["to"]
        if to == "previous":
            if not (release := home.previous()):
                raise ReleaseError(
                    "There is no previous release. No other release has been live before. Name a release or a version "
                    "with -e to=RELEASE."
                )
            return release
        staged = {name: home.manifest(name) for name in home.staged()}
        by_version = [
            name for name, found in staged.items() if to and found.get("version") == to and found.get("healthy")
        ]
        # A version before a beginning: 7 begins one of sixteen releases.
        found = [to] if to in staged else by_version[-1:] or [name for name in staged if name.startswith(to)]
        if len(found) != 1:
            there = ", ".join(
                f"{name} ({manifest.get('version') or 'no version'})" for name, manifest in staged.items()
            )
            several = "is the beginning of several releases" if found else "is neither a release nor a version"
            raise ReleaseError(f"{to!r} {several} on this host. It has {there or 'none'}. Choose one of these.")
        return found[0]

    @property
    def deactivates(self) -> bool:
        return not self.params["to"] and self.params["withdraw"]

    def run(self) -> dict[str, Any]:
        self.step = "rollback"
        self.release = self.params["to"]
        self.refuse_missing_app()
        if self.deactivates:
            return self._deactivate()
        self.release = release = self.wanted()
        if release == self.home.current and not self.activation(release).health_problem():
            return {"changed": False, "release": release, "previous": release, "warm": True, "seconds": {}}
        warm = self.home.standby == release and not self.activation(release).health()
        self.take_lock(self.params["lock_wait"])
        return self.go_live("rollback", release, withdraw=self.params["withdraw"], warm=warm)

    def _deactivate(self) -> dict[str, Any]:
        """Let no release be live, as before the first one."""
        self.release = release = self.home.current
        if release:
            self.take_lock(self.params["lock_wait"])
            try:
                with mutex(self.home):
                    self.activation(release).deactivate()
                    self.home.remember(release, withdrawn=True)
                self.log("rollback", "withdrawn", release=release, message=self.params["reason"])
            finally:
                self.lock.give_up()
        return {"changed": bool(release), "release": "", "previous": release}

    def preview(self) -> dict[str, Any]:
        current = self.home.current
        release = "" if self.deactivates else self.wanted()
        versions = {name: self.home.manifest(name).get("version", "") for name in (current, release)}
        before, after = (f"release {name} (version {versions[name]})\n" for name in (current, release))
        shown = {"before_header": self.home.name, "after_header": self.home.name}
        return {
            "changed": release != current,
            "release": release,
            "previous": current,
            "version": versions[release],
            "diff": {**shown, "before": before, "after": after},
        }


def main() -> None:
    carry_out(
        {
            **APP_OPTIONS,
            **RUN_OPTIONS,
            **LOCK_OPTIONS,
            "to": {"type": "str", "default": "previous"},
            "force": {"type": "bool", "default": False},
            "withdraw": {"type": "bool", "default": False},
        },
        lambda asked: perform(Rollback(asked.params["name"], asked.params), asked.check_mode),
    )


if __name__ == "__main__":
    main()
