# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module release_stage_info."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import wheels
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked
from ansible_collections.baremetal.web.plugins.module_utils._release.endpoints import published, slots_with
from ansible_collections.baremetal.web.plugins.module_utils._release.fitness import refuse_limits, refuse_private_tmp
from ansible_collections.baremetal.web.plugins.module_utils._release.home import UnfitHostError
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    REFUSALS,
    Operation,
    perform,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import (
    ENVIRONMENT,
    Staging,
    changed_names,
    read_environment,
    with_environment,
)

ARGUMENTS = {
    "app": {"type": "dict", "required": True},
    "root": APP_OPTIONS["root"],
    "release": {"type": "str", "required": True},
    "redeploy": {"type": "bool", "default": False},
    "environment": {"type": "str", "required": True, "no_log": True},
    "manifest": {"type": "dict", "required": True},
    "wheels": {"type": "dict"},
}
# Variables of the release itself, which are never those of the app.
OWN_VARIABLES = frozenset(
    (
        *("APP_RELEASE", "APP_SOCKET", "APP_ENTRYPOINT", "APP_INTERFACE", "APP_PROTOCOL"),
        *("PATH", "USER", "LOGNAME", "SHELL"),
    )
)


class Inspection(Operation):
    """The parts of a release that are there, and those that are lacking."""

    def __init__(self, params: dict[str, Any]):
        self.app = with_environment(params["app"], params["environment"])
        super().__init__(self.app["name"], params)
        self.description = params["manifest"]["description"]

    def run(self) -> dict[str, Any]:
        home = self.home
        home.refuse_data_of_another(self.app["user"])
        refuse_limits(self.app)
        refuse_private_tmp(self.app)
        release, current = self._name(), home.current
        manifest = home.manifest(release)
        as_described = release == current and manifest.get("description") == self.description
        converged = as_described and not self.activation(release).drift()
        slots = self._slots(release, converged)
        return {
            "release": release,
            "current": current,
            "current_version": home.manifest(current).get("version", "") if current else "",
            "complete": bool(manifest.get("staged")),
            "converged": converged,
            "slots": slots,
            "endpoint_changed": bool(current) and not converged and not self._knows(slots),
            "environment_names": self._environment_changes(release),
            "lacking": wheels.lacking(self.params["wheels"] or {}),
        }

    def preview(self) -> dict[str, Any]:
        """Answer in check mode also on a host that lacks what a run brings before."""
        try:
            return self.run()
        except UnfitHostError:
            raise
        except REFUSALS:
            unknown = {
                "current": "",
                "current_version": "",
                "complete": False,
                "converged": False,
                "endpoint_changed": False,
            }
            return {**unknown, "release": self.release, "slots": {}, "environment_names": [], "lacking": []}

    def _name(self) -> str:
        """Return the newest release with the wanted content, or the name of a new one."""
        home, wanted = self.home, self.release
        same = home.same(wanted)
        if home.current in same:
            same.append(home.current)
        # One that runs is never built again, though its manifest may be broken.
        runs = [name for name in (home.current, home.standby) if name.partition(".")[0] == wanted]
        if (same or runs) and (self.params["redeploy"] or not same):
            last = max(int(name.partition(".")[2] or 1) for name in [*same, *runs])
            return f"{wanted}.{last + 1}"
        return same[-1] if same else wanted

    def _slots(self, release: str, converged: bool) -> dict[str, Any]:
        wanted = self.description["endpoint"]
        return published(self.home, wanted) if converged else slots_with(self.home, release, wanted)

    def _knows(self, slots: dict[str, Any]) -> bool:
        """Tell whether the web server is configured for these slots."""
        return slots == published(self.home, self.description["endpoint"]) and self.home.proxy_synced

    def _environment_changes(self, release: str) -> list[str]:
        live: dict[str, str] = {}
        if current := self.home.current:
            # Those of the first versions of this collection were the app's to change.
            with suppress(OSError, ValueError):
                live = read_environment(os.path.join(self.home.release(current), ENVIRONMENT))
        wanted = Staging(self.home, self.app, release).environment()
        return [change for change in changed_names(live, wanted) if change[2:] not in OWN_VARIABLES]


def work(asked: Asked) -> dict[str, Any]:
    """Gather what the host has and lacks of the release."""
    return perform(Inspection(asked.params), asked.check_mode)
