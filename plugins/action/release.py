# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: bring a release of an app to a host and make it live; the host's part is the module of the same name."""

from __future__ import annotations

import base64
import getpass
import json
import os
import socket
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.baremetal.web.plugins.module_utils.releases import SERVER_LOCK, release_id
from ansible_collections.baremetal.web.plugins.plugin_utils.apps import BUILD_USER, COLLECTION_ROOT
from ansible_collections.baremetal.web.plugins.plugin_utils.sources import Tree, open_source
from ansible_collections.baremetal.web.plugins.plugin_utils.uploads import UploadingAction
from ansible_collections.baremetal.web.plugins.plugin_utils.wheelhouse import Wheelhouse

LOCKS = os.path.join(COLLECTION_ROOT, "roles", "wsgi", "files", "servers")


class ActionModule(UploadingAction):
    """Ask what the host has; upload and activate only what it lacks."""

    _VALID_ARGS = frozenset(("app", "config", "socket_group", "uv", "index_url", "wheelhouse"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = self._task.args
        app = json.loads(json.dumps(args["app"]))
        name = app["name"]
        with open(os.path.join(LOCKS, app["server"]["lock"]), encoding="utf-8") as stream:
            lock = stream.read()
        # The host needs to know neither where the source is nor any credentials in its address.
        with open_source(app.pop("source"), app.pop("search")) as tree:
            self._check_requirements(app, tree)
            release = release_id(app, tree.digest(), args["config"], lock)
            environment = app["program"].pop("environment")
            app.update(
                build_user=BUILD_USER,
                uv=args["uv"],
                deployer=f"{getpass.getuser()}@{socket.gethostname()}",
            )
            wanted = {
                "app": app,
                "release": release,
                # Encoded, so that censoring a short value does not censor every message that has it.
                "environment": base64.b64encode(json.dumps(environment).encode()).decode(),
                "index_url": args["index_url"],
                "socket_group": args["socket_group"],
            }
            house = Wheelhouse(args["wheelhouse"]) if args.get("wheelhouse") else None
            if house:
                own = tree.read(app["python"]["requirements"]) if app["python"]["requirements"] else ""
                wanted["wheels"] = house.wanted(lock, own)
            before = self._call("inspect", wanted, task_vars)
            if before.get("failed") or before["settled"]:
                return before
            if self._task.check_mode:
                shown = {"before_header": name, "after_header": name}
                return {
                    **before,
                    "changed": True,
                    "diff": {**shown, "before": f"{before['current']}\n", "after": f"{release}\n"},
                }
            if not before["staged"]:
                wanted.update(
                    files={app["server"]["config"]: args["config"], SERVER_LOCK: lock},
                    manifest={"app": name, "version": tree.version, "entrypoint": app["entrypoint"]},
                    archive=self._upload(tree.pack, "source.tar.gz"),
                )
                if house and (lacking := before["lacking"]):
                    wanted["wheels_archive"] = self._upload(lambda path: house.pack(lacking, path), "wheels.tar")
            return self._call("activate", wanted, task_vars)

    def _check_requirements(self, app: dict[str, Any], tree: Tree) -> None:
        file = app["python"]["requirements"]
        if file and not os.path.isfile(os.path.join(tree.root, file)):
            raise AnsibleActionFail(
                f"app {app['name']}: python.requirements names {file!r}, which the source does not have."
            )

    def _call(self, phase: str, wanted: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(
            module_name="baremetal.web.release", module_args={**wanted, "phase": phase}, task_vars=task_vars
        )
