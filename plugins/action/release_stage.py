# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: stage a release. The controller's part; the host's are the modules release_stage_info and release_stage."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display

from ansible_collections.baremetal.web.plugins.module_utils._release.staging import (
    LAUNCHERS,
    SERVER,
    SERVER_LOCK,
    release_id,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.app_rules import BUILD_USER
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sources import (
    Tree,
    UnreachableError,
    app_requirements,
    open_app,
    wants_packages,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.release_actions import LOCK, this_run
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.surveyed import answered
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.uploads import UploadingAction
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.host_names import probed_name
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.requirements import REQUIREMENTS
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.wheelhouse import Wheelhouse
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT

FILES = os.path.join(COLLECTION_ROOT, "roles", "wsgi", "files")
# The action reads these.
OWN = ("config", "uv", "wheelhouse", "redeploy")
PASSED = ("app", "root", "socket_group", *LOCK, "index_url", "proxy_url", "no_proxy")


def description(app: dict[str, Any], uv: str) -> dict[str, Any]:
    """Return what it takes to run a release later, without the app's description: all but its environment."""
    return {
        "user": app["user"],
        "entrypoint": app["entrypoint"],
        "program": {**app["program"], "environment": {}},
        "limits": app["limits"],
        "private_tmp": app["private_tmp"],
        "programs": app["programs"],
        "hooks": app["hooks"],
        "health": {
            **app["health"],
            "host": app["health"]["host"] or probed_name(app["site"]["server_names"]),
            "prefix": app["site"]["prefix"],
        },
        "releases": app["releases"],
        "check": app["runner"]["check"],
        "endpoint": app["runner"]["endpoint"],
        "stats_port": app["runner"]["options"].get("stats_port", 0),
        "supervisorctl": os.path.join(os.path.dirname(uv), "supervisorctl"),
    }


def server_files(app: dict[str, Any], config: str) -> dict[str, str]:
    """Return what a release gets for its server: configuration or options, and the modules that it runs with."""
    runner = app["runner"]
    kind = app["server"]["kind"]
    modules = ["__init__", "entry"]
    if os.path.exists(os.path.join(FILES, LAUNCHERS, f"{kind}.py")):
        modules += ["launch", kind]
    files = {f"{SERVER}/{LAUNCHERS}/{name}.py": _read(LAUNCHERS, f"{name}.py") for name in modules}
    if runner["template"]:
        return {**files, f"{SERVER}/{runner['template']}": config}
    return {**files, f"{SERVER}/options.json": json.dumps(runner["options"], indent=1, sort_keys=True)}


def _read(*path: str) -> str:
    with open(os.path.join(FILES, *path), encoding="utf-8") as stream:
        return stream.read()


def _unread(name: str, error: AnsibleError) -> str:
    """Say that the source of an app cannot be had, and what to do."""
    away = isinstance(error, UnreachableError)
    advice = " Correct the entry's source, or run again when the controller can reach it." if away else ""
    return f"app {name}: stage: {str(error).rstrip('.')}.{advice} No host has changed for this app."


class UnreadError(AnsibleActionFail):
    """The source of an app cannot be had; the text says why."""


class Staged(NamedTuple):
    """A release as the controller has it: what the host is asked of it, and what it takes to build it there."""

    app: dict[str, Any]
    tree: Tree
    files: dict[str, str]
    house: Wheelhouse | None
    wanted: dict[str, Any]
    redeploy: bool

    def question(self) -> dict[str, Any]:
        """Return the arguments of the module release_stage_info."""
        return {**self.wanted, "redeploy": self.redeploy}


@contextlib.contextmanager
def staged(args: Mapping[str, Any]) -> Iterator[Staged]:
    """Provide the release that the arguments of a task describe; this needs no connection."""
    given = {key: value for key, value in args.items() if value is not None}
    own = {key: given.get(key) for key in OWN}
    app = json.loads(json.dumps(given["app"]))
    # The host needs to know neither where the source is nor any credentials in its address.
    with contextlib.ExitStack() as stack:
        try:
            tree = stack.enter_context(open_app(app, app.pop("search")))
        except AnsibleError as error:
            raise UnreadError(_unread(app["name"], error)) from None
        del app["source"]
        app["wheel"] = tree.wheel
        if (unread := app["runner"]["template"]) in tree.files():
            Display().warning(
                f"app {app['name']}: {unread} of the source is not read. A release has one of its own, made of "
                f"the keys of server. Set those; write what {unread} does beside that as hooks, or into the app."
            )
        requirements = _requirements(app, tree, offline=bool(own["wheelhouse"]))
        app["python"].pop("requirements_path", None)
        # The host gets what was checked, and never reads the file itself.
        app["python"]["requirements"] = REQUIREMENTS if requirements else ""
        environment = app["program"]["environment"]
        about = {
            "app": app["name"],
            "version": tree.version,
            "commit": tree.commit,
            "entrypoint": app["entrypoint"],
            "description": description(app, own["uv"]),
        }
        lock = _read("servers", app["runner"]["lock"])
        files = {**server_files(app, own["config"] or ""), SERVER_LOCK: lock, **requirements}
        identity = release_id(app, tree.digest(), files)
        app["program"]["environment"] = {}
        app.update(build_user=BUILD_USER, uv=own["uv"])
        wanted = {
            "app": app,
            "release": identity,
            # Encoded, so that censoring a short value does not censor every message that has it.
            "environment": base64.b64encode(json.dumps(environment).encode()).decode(),
            "manifest": about,
            **({"root": given["root"]} if "root" in given else {}),
        }
        house = Wheelhouse(own["wheelhouse"]) if own["wheelhouse"] else None
        if house:
            wanted["wheels"] = house.wanted(lock, requirements.get(REQUIREMENTS, ""))
        yield Staged(app, tree, files, house, wanted, boolean(own["redeploy"] or False))


def _requirements(app: dict[str, Any], tree: Tree, *, offline: bool) -> dict[str, str]:
    """Return the files that hosts install from, all lines decided."""
    if not wants_packages(app["python"]):
        return {}
    try:
        found = app_requirements(tree, app["python"], offline=offline)
    except AnsibleError as error:
        raise AnsibleActionFail("\n".join(f"app {app['name']}: {line}" for line in str(error).splitlines())) from None
    for sentence in dict.fromkeys(found.left_out):
        Display().warning(f"app {app['name']}: {sentence}")
    return found.files()


class ActionModule(UploadingAction):
    """Ask what the host has, and upload only what it lacks."""

    ASKS_BY = "release_stage_info"
    _VALID_ARGS = frozenset((*OWN, *PASSED))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        try:
            with staged(self._task.args) as release:
                return self._stage(release, task_vars)
        except UnreadError as error:
            return {"failed": True, "msg": str(error)}

    @staticmethod
    def host_args(args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the host is asked first, the arguments of release_stage_info; it needs no connection."""
        with staged(args) as release:
            return release.question()

    def _stage(self, release: Staged, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        question = release.question()
        before = answered(task_vars, self.ASKS_BY, question) or self._call(self.ASKS_BY, question, task_vars)
        if before.get("failed"):
            return before
        app, tree, house = release.app, release.tree, release.house
        answer = {
            "current": before["current"],
            "release": before["release"],
            "version": tree.version,
            "commit": tree.commit,
            "converged": before["converged"],
            "slots": before["slots"],
            "endpoint_changed": before["endpoint_changed"],
            "hooks": {kind: sorted({hook["run_once"] for hook in hooks}) for kind, hooks in app["hooks"].items()},
        }
        if answer["converged"]:
            return {**answer, "changed": False}
        if self._task.check_mode:
            return {**answer, "changed": True, "diff": self._plan(app, before, answer)}
        given = {key: value for key, value in self._task.args.items() if value is not None and key not in OWN}
        wanted = {**given, **this_run(), **release.wanted, "release": before["release"]}
        if not before["complete"]:
            wanted.update(
                files=release.files,
                archive=self._upload(tree.pack, "source.tar.gz"),
            )
            if house and (lacking := before["lacking"]):
                wanted["wheels_archive"] = self._upload(lambda path: house.pack(lacking, path), "wheels.tar")
        return {**answer, **self._call("release_stage", wanted, task_vars)}

    def _plan(self, app: dict[str, Any], before: dict[str, Any], answer: dict[str, Any]) -> dict[str, str]:
        """Show from what to what the app would go, and what would restart."""
        name = app["name"]

        def lines(release: str, version: str) -> list[str]:
            named = f"release {release} (version {version or 'unknown'})" if release else "no release"
            return [named, *([f"program {name}-{release}"] if release else [])]

        after = lines(answer["release"], answer["version"])
        after += [f"program {name}-{answer['release']}.{program['name']}" for program in app["programs"]]
        after += [f"environment {change}" for change in before["environment_names"]]
        after += [f"hook {kind}: {hook['name']}" for kind, hooks in app["hooks"].items() for hook in hooks]
        shown = {"before_header": name, "after_header": name}
        previous = lines(before["current"], before["current_version"])
        return {**shown, "before": "\n".join([*previous, ""]), "after": "\n".join([*after, ""])}

    def _call(self, module: str, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name=f"baremetal.web.{module}", module_args=args, task_vars=task_vars)
