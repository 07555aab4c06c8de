#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: gather what a host has and lacks of a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_stage_info
short_description: Gather what a host has and lacks of a release that is to be staged
description:
  - The action M(baremetal.web.release_stage) calls it, and nothing else should. Changes nothing.
options:
  app:
    description: One app as the filter P(baremetal.web.resolve_apps#filter) gives it.
    type: dict
    required: true
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  release:
    description: Name of the release by its content.
    type: str
    required: true
  redeploy:
    description: Whether the same content is released once more, as a release of its own.
    type: bool
    default: false
  environment:
    description: Environment variables, as base64 of JSON.
    type: str
    required: true
  manifest:
    description: The facts to remember of the release.
    type: dict
    required: true
  wheels:
    description: SHA-256 of the wheels that may be needed, by name.
    type: dict
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same; it also answers where a run has yet to bring what it needs.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask what the host has
  baremetal.web.release_stage_info:
    app: "{{ app }}"
    release: 1571b0ae6c8c
    environment: e30=
    manifest: "{{ manifest }}"
"""

RETURN = r"""
release:
  description: The release to build, or the one that is there with the same content.
  type: str
  returned: success
current:
  description: The live release, empty when there is none.
  type: str
  returned: success
current_version:
  description: The version of the live release.
  type: str
  returned: success
complete:
  description: Whether the release is built already.
  type: bool
  returned: success
converged:
  description: Whether the release is live and healthy already.
  type: bool
  returned: success
slots:
  description: How a web server has to reach each of the two slots (C(protocol), and C(port), 0 for a unix socket).
  type: dict
  returned: success
endpoint_changed:
  description: Whether the web server has to be configured for that before the release goes live.
  type: bool
  returned: success
environment_names:
  description: Names of the variables that the live release has not, or has with another value.
  type: list
  elements: str
  returned: success
lacking:
  description: Names of the wheels that the host lacks.
  type: list
  elements: str
  returned: success
"""

import os
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import wheels
from ansible_collections.baremetal.web.plugins.module_utils._release.endpoints import published, slots_with
from ansible_collections.baremetal.web.plugins.module_utils._release.fitness import refuse_limits, refuse_private_tmp
from ansible_collections.baremetal.web.plugins.module_utils._release.home import UnfitHostError
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    REFUSALS,
    Operation,
    carry_out,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import (
    ENVIRONMENT,
    Staging,
    changed_names,
    read_environment,
    with_environment,
)

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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "root": APP_OPTIONS["root"],
            "release": {"type": "str", "required": True},
            "redeploy": {"type": "bool", "default": False},
            "environment": {"type": "str", "required": True, "no_log": True},
            "manifest": {"type": "dict", "required": True},
            "wheels": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    carry_out(module, Inspection(module.params))


if __name__ == "__main__":
    main()
