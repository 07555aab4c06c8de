#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: build a release of an app beside what is live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_stage
short_description: Build a release of an app beside what is live
description:
  - Builds the release, lets the server's checker import it, and runs the hooks for that. The live release goes on.
  - A release is named by the digest of everything it is made of, so a second run with nothing new changes nothing.
  - The action of the same name reads O(app), O(config), O(index_url), O(uv), O(wheelhouse) and O(redeploy) on the
    controller. It asks the host with M(baremetal.web.release_stage_info), and gives this module the rest. Nothing else
    should.
extends_documentation_fragment: [baremetal.web.release.run, baremetal.web.release.lock]
options:
  app:
    description: One app as the filter P(baremetal.web.resolve_apps#filter) gives it.
    type: dict
    required: true
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  config:
    description: Text of the server's configuration, empty where it has none (action only).
    type: str
  socket_group:
    description: Group that may connect to the app's sockets.
    type: str
    required: true
  uv:
    description: Path of uv on the host (action only).
    type: path
  index_url:
    description: Package index, empty for the tool's own default.
    type: str
  proxy_url:
    description: Proxy through which the index is reached, empty for none.
    type: str
    default: ""
  no_proxy:
    description: Names, addresses and networks that are reached without the proxy.
    type: list
    elements: str
    default: []
  wheelhouse:
    description: Directory of the controller with wheels; when it is set, no index is asked (action only).
    type: path
  redeploy:
    description: Whether the same content is released once more, as a release of its own (action only).
    type: bool
    default: false
  wheels:
    description: SHA-256 of the wheels that may be needed, by name (the action gives it).
    type: dict
  wheels_archive:
    description: Path of an archive of wheels on the host (the action gives it).
    type: path
  release:
    description: Name of the release (the action gives it).
    type: str
  environment:
    description: Environment variables, as base64 of JSON (the action gives it).
    type: str
  archive:
    description: Path of the source's archive on the host (the action gives it).
    type: path
  files:
    description: Text of files in the release, by name (the action gives it).
    type: dict
    default: {}
  manifest:
    description: The facts to remember of the release (the action gives it).
    type: dict
    default: {}
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows which release would be built.
    support: full
  diff_mode:
    description: Shows the live and the wanted release; of the environment the names that are different.
    support: full
"""

EXAMPLES = r"""
- name: Stage the app beside what is live
  baremetal.web.release_stage:
    app: "{{ app }}"
    config: "{{ lookup('ansible.builtin.template', 'server.conf.j2') }}"
    socket_group: www-data
    uv: /opt/baremetal/bin/uv
    index_url: ""
  register: staged
"""

RETURN = r"""
release:
  description: The wanted release.
  type: str
  returned: success
current:
  description: The live release, empty when there is none.
  type: str
  returned: always
version:
  description: The version of the wanted release.
  type: str
  returned: success
commit:
  description: The commit of the wanted release.
  type: str
  returned: success
slots:
  description: How a web server reaches each of the two slots (C(protocol), and C(port), 0 for a unix socket).
  type: dict
  returned: success
endpoint_changed:
  description: >-
    Whether that is different from before, so that the web server has to know it before
    M(baremetal.web.release_activate).
  type: bool
  returned: success
converged:
  description: Whether the wanted release is live and healthy already.
  type: bool
  returned: success
hooks:
  description: Which values of C(run_once) the hooks of each list have.
  type: dict
  returned: success
step:
  description: The step that failed.
  type: str
  returned: failure
"""

from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import wheels
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.endpoints import published, slots_with
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import mutex
from ansible_collections.baremetal.web.plugins.module_utils._release.operation import (
    APP_OPTIONS,
    LOCK_OPTIONS,
    RUN_OPTIONS,
    Operation,
    perform,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import Staging, with_environment


class Build(Operation):
    """Build a release, let the server's checker import it, and run what comes after that."""

    def __init__(self, params: dict[str, Any]):
        self.app = with_environment(params["app"], params["environment"])
        self.app.update({key: params[key] for key in ("index_url", "proxy_url", "no_proxy")})
        self.app["wheels"] = "" if params["wheels"] is None else wheels.DIRECTORY
        super().__init__(self.app["name"], params)
        self.description = params["manifest"]["description"]

    def run(self) -> dict[str, Any]:
        self.step = "lock"
        self.home.create_directories(self.app["user"], self.params["socket_group"])
        self.take_lock(self.params["lock_wait"])
        new = False
        try:
            with mutex(self.home):
                new = not self.home.manifest(self.release).get("staged")
                staging = Staging(self.home, self.app, self.release)
                if new:
                    self._build(staging)
                else:
                    self._describe()
                activation = self.activation(self.release)
                self.step = "check"
                activation.check()
                if new:
                    self.step = "after_stage"
                    activation.hooks("after_stage", run_once=False, around=staging.opened)
                    staging.finish()
                self._note_endpoints()
        except BaseException as error:  # whatever it is, nothing of the release may stay behind
            self.refused("stage", str(error), new)
            raise
        return {"changed": True, "release": self.release, "current": self.home.current}

    def _build(self, staging: Staging) -> None:
        self.step = "stage"
        if self.params["wheels_archive"]:
            wheels.take(self.params["wheels_archive"], self.params["wheels"])
        manifest = {**self.params["manifest"], "by": self.params["by"], "run": self.params["run"]}
        staging.build(self.params["archive"], self.params["files"], manifest)

    def _describe(self) -> None:
        """Describe an existing release again: its content is the same, how it is probed and kept may not be."""
        replaced = self.home.manifest(self.release)["description"]
        if replaced != self.description:
            self.home.remember(self.release, description=self.description, replaced_description=replaced)

    def _note_endpoints(self) -> None:
        home, wanted = self.home, self.description["endpoint"]
        slots = slots_with(home, self.release, wanted)
        known = slots == published(home, wanted) and home.proxy_synced
        home.note_endpoints(slots, proxy_synced=known or not home.current)


def main() -> None:
    carry_out(
        {
            **RUN_OPTIONS,
            **LOCK_OPTIONS,
            "app": {"type": "dict", "required": True},
            "root": APP_OPTIONS["root"],
            "config": {"type": "str"},
            "socket_group": {"type": "str", "required": True},
            "uv": {"type": "path"},
            "index_url": {"type": "str", "no_log": True},
            "proxy_url": {"type": "str", "default": "", "no_log": True},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "wheelhouse": {"type": "path"},
            "redeploy": {"type": "bool", "default": False},
            "wheels": {"type": "dict"},
            "wheels_archive": {"type": "path"},
            "release": {"type": "str"},
            "environment": {"type": "str", "no_log": True},
            "archive": {"type": "path"},
            "files": {"type": "dict", "default": {}},
            "manifest": {"type": "dict", "default": {}},
        },
        lambda asked: perform(Build(asked.params), asked.check_mode),
    )


if __name__ == "__main__":
    main()
