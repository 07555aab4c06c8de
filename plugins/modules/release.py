#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a release of an app on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Release one app on a host
description:
  - Builds the wanted release beside the live one, lets the server's checker import it, starts it on a socket of
    its own,
    probes its health over that socket, and only then makes it the live one. Whatever fails before that leaves the live
    release as it is.
  - A release is named by the digest of everything it is made of, so a second run with nothing new changes nothing.
  - The action of the same name reads O(app), O(config), O(socket_group), O(uv), O(index_url) and O(wheelhouse) on the
    controller and calls this module with the rest; nothing else should.
options:
  app:
    description: One app as the filter P(baremetal.web.resolve_apps#filter) gives it.
    type: dict
    required: true
  config:
    description: Text of the server's configuration (action only).
    type: str
  socket_group:
    description: Group that may connect to the app's sockets.
    type: str
    required: true
  uv:
    description: Path of uv on the host (action only).
    type: path
  index_url:
    description: Package index, empty for the tool's own default (action only).
    type: str
  wheelhouse:
    description: Directory of the controller with wheels; when it is set, no index is asked (action only).
    type: path
  wheels:
    description: SHA-256 of the wheels that may be needed, by name.
    type: dict
  wheels_archive:
    description: Path of an archive of wheels on the host.
    type: path
  phase:
    description: What to do.
    type: str
    choices: [inspect, activate]
    default: inspect
  release:
    description: Name of the release.
    type: str
  environment:
    description: Environment variables, as base64 of JSON.
    type: str
  archive:
    description: Path of the source's archive on the host.
    type: path
  files:
    description: Text of files in the release, by name.
    type: dict
    default: {}
  manifest:
    description: What to remember of the release.
    type: dict
    default: {}
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
- name: Release the app
  baremetal.web.release:
    app: "{{ app }}"
    config: "{{ lookup('ansible.builtin.template', 'gunicorn.conf.py.j2') }}"
    socket_group: www-data
    uv: /opt/baremetal/bin/uv
    index_url: ""
"""

RETURN = r"""
release:
  description: The wanted release.
  type: str
  returned: always
current:
  description: The live release, empty when there is none.
  type: str
  returned: always
"""

import base64
import copy
import json
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils import wheels
from ansible_collections.baremetal.web.plugins.module_utils.releases import ReleaseError, Releases
from ansible_collections.baremetal.web.plugins.module_utils.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils.venv import VenvError


def activate(releases: Releases, wanted: dict) -> None:
    """Make the wanted release live; raise, with everything put back, when it is not fit for that."""
    release = wanted["release"]
    releases.make_room(wanted["socket_group"])
    with releases.lock():
        new = not releases.manifest(release)
        try:
            if new:
                releases.stage(release, wanted["archive"], wanted["files"], wanted["manifest"])
            releases.check(release)
            releases.start(release)
        except Exception as error:  # whatever it is, nothing of the release may stay behind
            releases.log(release, "refused")
            with suppress(SupervisorError):  # it may be the very reason
                releases.discard(release, with_files=new)
            if isinstance(error, (ReleaseError, VenvError, SupervisorError)):
                raise
            raise ReleaseError(f"{type(error).__name__}: {error}") from error
        releases.switch(release)
        releases.log(release, "live")
        releases.retire(release)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "config": {"type": "str"},
            "socket_group": {"type": "str", "required": True},
            "uv": {"type": "path"},
            "index_url": {"type": "str", "no_log": True},
            "wheelhouse": {"type": "path"},
            "wheels": {"type": "dict"},
            "wheels_archive": {"type": "path"},
            "phase": {"type": "str", "choices": ["inspect", "activate"], "default": "inspect"},
            "release": {"type": "str"},
            "environment": {"type": "str", "no_log": True},
            "archive": {"type": "path"},
            "files": {"type": "dict", "default": {}},
            "manifest": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    # A copy, for Ansible shows the parameters of a module that is run with -vvv.
    app, release = copy.deepcopy(wanted["app"]), wanted["release"]
    app["index_url"] = wanted["index_url"]
    app["wheels"] = "" if wanted["wheels"] is None else wheels.DIRECTORY
    app["program"]["environment"] = json.loads(base64.b64decode(wanted["environment"]))
    current = ""
    releases = None
    try:
        releases = Releases(app, Supervisor())
        current = releases.current or ""
        if wanted["phase"] == "inspect":
            module.exit_json(
                changed=False,
                release=release,
                current=current,
                staged=bool(releases.manifest(release)),
                settled=releases.is_settled(release),
                lacking=wheels.lacking(wanted["wheels"] or {}),
            )
        if wanted["wheels_archive"]:
            wheels.take(wanted["wheels_archive"], wanted["wheels"])
        activate(releases, wanted)
    except (ReleaseError, VenvError, SupervisorError) as error:
        if module.check_mode:
            module.exit_json(changed=False, release=release, current=current, staged=False, settled=False)
        current = (releases and releases.current) or ""
        kept = f"The live release is {current}." if current else "No release is live."
        module.fail_json(msg=f"app {app['name']}: release {release}: {error}\n{kept}", release=release, current=current)
    module.exit_json(changed=True, release=release, current=release)


if __name__ == "__main__":
    main()
