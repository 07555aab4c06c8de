#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the releases of an app on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Stage, activate, roll back and lock the releases of one app on a host
description:
  - A release is built beside the live one, checked, started on a socket of its own, and probed over that socket until
    it has
    proved to be stable. Only then visitors get it, by one atomic change of a file. Whatever fails before leaves the
    live
    release as it is; what fails after is reverted.
  - A release is named by the digest of everything it is made of, so a second run with nothing new changes nothing.
  - V(activate) and V(rollback) end what they have begun even when the controller or the connection is gone.
  - The action of the same name reads O(app), O(config), O(uv), O(index_url), O(wheelhouse) and O(redeploy) on the
    controller, adds
    O(by) and O(run), and calls this module with the rest; nothing else should.
options:
  name:
    description: Name of the app; that of O(app) when not given.
    type: str
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  phase:
    description:
      - What to do. V(inspect) and V(build) are what the action makes of V(stage). V(told) notes that the web server
        knows what RV(slots) said.
    type: str
    choices: [inspect, build, stage, hooks, told, activate, abandon, rollback, lock, unlock, history]
    default: stage
  app:
    description: One app as the filter P(baremetal.web.resolve_apps#filter) gives it.
    type: dict
  config:
    description: Text of the server's configuration, empty where it has none (action only).
    type: str
  socket_group:
    description: Group that may connect to the app's sockets.
    type: str
  uv:
    description: Path of uv on the host (action only).
    type: path
  index_url:
    description: Package index, empty for the tool's own default (action only).
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
    description: Whether the same content is released once more, as a release of its own.
    type: bool
    default: false
  wheels:
    description: SHA-256 of the wheels that may be needed, by name.
    type: dict
  wheels_archive:
    description: Path of an archive of wheels on the host.
    type: path
  release:
    description: Name of the release.
    type: str
  current:
    description: >-
      The release that was live when O(release) was staged; when another is live by now, O(phase=activate) refuses.
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
  hooks:
    description: The list of hooks that O(phase=hooks) runs.
    type: str
    choices: [after_stage, migrate, before_activate, after_activate]
  run_once:
    description: Whether O(phase=hooks) runs the hooks for the whole fleet, or those for each host.
    type: bool
    default: true
  to:
    description: >-
      The release to go back (or forward) to: V(previous), the name of a release or its beginning, or a version. Empty,
      with O(withdraw), takes the live release back so that none is live.
    type: str
    default: previous
  force:
    description: Whether a rollback crosses irreversible migrations.
    type: bool
    default: false
  withdraw:
    description: >-
      Whether the release that a rollback leaves is withdrawn, so that V(previous) never means it again until it is
      deployed again.
    type: bool
    default: false
  reason:
    description: Why; it stands in the lock and in the audit log.
    type: str
    default: ""
  lock_wait:
    description: Seconds to wait for a lock that somebody else holds.
    type: float
    default: 0
  lock_seconds:
    description: Seconds after which the lock of a run that was cut off expires.
    type: float
    default: 900
  lines:
    description: How many lines of the audit log O(phase=history) returns; 0 for all.
    type: int
    default: 20
  by:
    description: Who does it, and on which controller (the action gives it).
    type: str
    default: ""
  run:
    description: The run of Ansible that does it (the action gives it).
    type: str
    default: ""
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Shows which release would go live.
    support: full
  diff_mode:
    description: Shows the live and the wanted release; of the environment the names that are different.
    support: full
"""

EXAMPLES = r"""
- name: Stage the app beside what is live
  baremetal.web.release:
    app: "{{ app }}"
    config: "{{ lookup('ansible.builtin.template', 'server/gunicorn.conf.py.j2') }}"
    socket_group: www-data
    uv: /opt/baremetal/bin/uv
    index_url: ""
  register: staged

- name: Let visitors have it
  baremetal.web.release:
    phase: activate
    name: shop
    release: "{{ staged.release }}"

- name: Go back
  baremetal.web.release:
    phase: rollback
    name: shop
"""

RETURN = r"""
release:
  description: The wanted release.
  type: str
  returned: O(phase=stage), O(phase=activate), O(phase=rollback)
current:
  description: The live release, empty when there is none.
  type: str
  returned: O(phase=stage), and when a release did not go live
previous:
  description: The release that was live before.
  type: str
  returned: O(phase=activate), O(phase=rollback)
slots:
  description: How a web server reaches each of the two slots (C(protocol), and C(port), 0 for a unix socket).
  type: dict
  returned: O(phase=stage)
moved:
  description: Whether that is different from before, so that the web server has to know it before O(phase=activate).
  type: bool
  returned: O(phase=stage)
settled:
  description: Whether the wanted release is live and healthy already.
  type: bool
  returned: O(phase=stage)
hooks:
  description: Which values of C(run_once) the hooks of each list have.
  type: dict
  returned: O(phase=stage)
ran:
  description: Names of the hooks that were run.
  type: list
  elements: str
  returned: O(phase=hooks)
warm:
  description: Whether the release still ran.
  type: bool
  returned: O(phase=rollback)
seconds:
  description: How long each step took.
  type: dict
  returned: O(phase=activate), O(phase=rollback)
rows:
  description: Lines of the audit log, newest last.
  type: list
  elements: dict
  returned: O(phase=history)
lock:
  description: Who holds the lock (C(by), C(since), C(message), C(expires)); empty for nobody.
  type: dict
  returned: O(phase=lock), O(phase=unlock), O(phase=history)
"""

import base64
import copy
import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._host import wheels
from ansible_collections.baremetal.web.plugins.module_utils._host.detached import detached
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    CONTROLLERS,
    Supervisor,
    SupervisorError,
    host_controllers,
    mount_problem,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import (
    Activation,
    Programs,
    crossed,
    mutex,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.home import (
    SLOTS,
    Home,
    ReleaseError,
    UnfitHostError,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.hooks import KINDS
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import (
    ENVIRONMENT,
    Staging,
    changed_names,
    read_environment,
)

REFUSALS = (ReleaseError, VenvError, SupervisorError, OSError)


def refuse_limits(app: dict[str, Any]) -> None:
    """Refuse limits that this host cannot hold: they would have no effect."""
    wanted = {
        CONTROLLERS[key]: key
        for limits in (app["limits"], *(program["limits"] for program in app["programs"]))
        for key, value in limits.items()
        if value and key in CONTROLLERS
    }
    if not wanted:
        return
    try:
        offered = Supervisor().controllers()
    except SupervisorError:  # before the first run there is none
        offered = host_controllers()
    for controller in sorted(wanted.keys() - offered):
        raise ReleaseError(
            f"limits has {wanted[controller]}, which this host cannot hold: supervisord's control groups have no "
            f"controller {controller}. It needs control groups of version 2 (the kernel's parameter "
            "systemd.unified_cgroup_hierarchy=1), and a container needs them delegated. Else leave the limit out"
        )


def said(error: Exception, path: str) -> str:
    """Return what to say of an error; of a full disk also what to do."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}. The disk of {path} is full. Make room, or lower releases.keep, and run again"
    return str(error)


def refuse_private_tmp(app: dict[str, Any]) -> None:
    """Refuse an app whose programs would not start, because nothing can be mounted for them alone."""
    problem = mount_problem()
    if problem and app["private_tmp"]:
        raise UnfitHostError(
            f"private_tmp is true, and this host cannot give the app a /tmp of its own: {problem}. A container needs "
            "CAP_SYS_ADMIN, and no profile of AppArmor that denies mount. Or set private_tmp: false, and the app "
            "shares /tmp, /var/tmp and /dev/shm with all accounts of the host"
        )
    # Before the first run there is none. Where nobody can mount, supervisord has the host's /tmp anyway.
    with suppress(SupervisorError):
        if not problem and not Supervisor().can_mount():
            raise ReleaseError(
                "supervisord of this host may not mount, which private_tmp needs: it was set up by a former version of "
                "this collection. Run site.yml first: it brings supervisord up to date"
            )


class Worker:
    """One phase of one app on this host."""

    def __init__(self, params: dict[str, Any]):
        self.params = params
        # A copy, for Ansible shows the parameters of a module that is run with -vvv.
        self.app = copy.deepcopy(params["app"] or {})
        self.home = Home(params["name"] or self.app["name"], params["root"])
        self.lock = AppLock(self.home, params["run"], params["by"])
        self.step = ""
        self.release = params["release"] or ""
        if params["phase"] in ("inspect", "build"):
            for key in ("index_url", "proxy_url", "no_proxy"):
                self.app[key] = params[key]
            self.app["wheels"] = "" if params["wheels"] is None else wheels.DIRECTORY
            self.app["program"]["environment"] = json.loads(base64.b64decode(params["environment"]))

    def log(self, action: str, result: str, **values: Any) -> None:
        """Add to the audit log; a disk that is full does not keep anything else from being done."""
        with suppress(OSError):
            self.home.log(action, result, by=self.params["by"], run=self.params["run"], **values)

    def take_lock(self, wait: float = 0, longest: float = 0) -> None:
        if not os.path.isdir(self.home.path):
            raise ReleaseError(f"this host has no app {self.home.name} ({self.home.path} is missing)")
        self.lock.take(max(self.params["lock_seconds"], longest + 60), wait, self.params["reason"])

    # Phases

    def inspect(self) -> dict[str, Any]:
        """Tell what there is and what is lacking."""
        home = self.home
        home.refuse_data_of_another(self.app["user"])
        refuse_limits(self.app)
        refuse_private_tmp(self.app)
        same = [*home.same(self.release), *([home.current] if home.current in home.same(self.release) else [])]
        release = same[-1] if same else self.release
        # One that runs is never built again, though its manifest may be broken.
        runs = [name for name in (home.current, home.former) if name.partition(".")[0] == self.release]
        if (same or runs) and (self.params["redeploy"] or not same):
            last = max(int(name.partition(".")[2] or 1) for name in [*same, *runs])
            release = f"{self.release}.{last + 1}"
        manifest = home.manifest(release)
        complete = bool(manifest.get("staged"))
        as_described = manifest.get("description") == self.params["manifest"]["description"]
        former: dict[str, str] = {}
        with suppress(OSError, ValueError):  # those of former versions of this collection were the app's to change
            former = read_environment(os.path.join(home.release(home.current), ENVIRONMENT)) if home.current else {}
        wanted = Staging(home, self.app, release).environment()
        own = {
            "APP_RELEASE",
            "APP_SOCKET",
            "APP_ENTRYPOINT",
            "APP_INTERFACE",
            "APP_PROTOCOL",
            "PATH",
            "USER",
            "LOGNAME",
            "SHELL",
        }
        settled = as_described and release == home.current and Activation(home, Supervisor(), release).is_settled()
        slots = self._slots(release, settled)
        return {
            "slots": slots,
            "moved": bool(home.current) and not settled and (slots != self._published() or not home.endpoints_are_told),
            "release": release,
            "current": home.current,
            "current_version": home.manifest(home.current).get("version", "") if home.current else "",
            "complete": complete,
            "settled": settled,
            "environment_names": [change for change in changed_names(former, wanted) if change[2:] not in own],
            "lacking": wheels.lacking(self.params["wheels"] or {}),
        }

    def _published(self) -> dict[str, Any]:
        """Return how the web server reaches each slot; as the live release is reached, where nothing is noted."""
        if noted := self.home.endpoints():
            return noted
        if self.home.manifest(self.home.current).get("description") if self.home.current else None:
            return dict.fromkeys(SLOTS, Activation(self.home, Supervisor(), self.home.current).endpoint)
        return dict.fromkeys(SLOTS, self.params["manifest"]["description"]["endpoint"])

    def _slots(self, release: str, settled: bool) -> dict[str, Any]:
        """Return how the web server has to reach each slot before the release goes live in one of them."""
        if settled:
            return self._published()
        return {**self._published(), self.home.slot_of(release): self.params["manifest"]["description"]["endpoint"]}

    def build(self) -> dict[str, Any]:
        """Build the release, let the server's checker import it, and run what comes after that."""
        self.step = "lock"
        self.home.make_room(self.app["user"], self.params["socket_group"])
        self.take_lock(self.params["lock_wait"])
        new = False
        try:
            with mutex(self.home):
                new = not self.home.manifest(self.release).get("staged")
                if new:
                    self.step = "stage"
                    if self.params["wheels_archive"]:
                        wheels.take(self.params["wheels_archive"], self.params["wheels"])
                    staging = Staging(self.home, self.app, self.release)
                    staging.build(self.params["archive"], self.params["files"], self._manifest())
                else:  # the content is the same; how it is probed and kept may have changed
                    former, wanted = (
                        self.home.manifest(self.release)["description"],
                        self.params["manifest"]["description"],
                    )
                    if former != wanted:
                        self.home.remember(self.release, description=wanted, former_description=former)
                activation = Activation(self.home, Supervisor(), self.release)
                self.step = "check"
                activation.check()
                if new:
                    self.step = "after_stage"
                    activation.hooks("after_stage", run_once=False, around=staging.opened)
                    staging.finish()
                slots = self._slots(self.release, settled=False)
                known = slots == self._published() and self.home.endpoints_are_told
                self.home.note_endpoints(slots, told=known or not self.home.current)
        except BaseException as error:  # whatever it is, nothing of the release may stay behind
            self._refused("stage", str(error), new)
            raise
        return {"changed": True, "release": self.release, "current": self.home.current}

    def told(self) -> dict[str, Any]:
        """Note that the web server knows where the releases are."""
        changed = not self.home.endpoints_are_told
        self.home.note_endpoints(self.home.endpoints(), told=True)
        return {"changed": changed}

    def _refuse_the_unreachable(self, activation: Activation) -> None:
        """Refuse a release that the web server would not reach in its slot."""
        home = self.home
        if not home.current or activation.release == home.current:
            return
        known = home.endpoints().get(activation.slot, activation.endpoint)
        if activation.endpoint != known:
            raise ReleaseError(
                f"{activation.release} speaks {spoken(activation.endpoint)}, and the web server {spoken(known)}; set "
                "server.protocol and server.port as they were, and deploy that version"
            )
        if not home.endpoints_are_told and activation.endpoint != Activation(home, Supervisor(), home.current).endpoint:
            raise ReleaseError(
                f"it speaks {spoken(activation.endpoint)}, and the run that was to tell the web server did not get "
                "there; run the deploy again"
            )

    def _manifest(self) -> dict[str, Any]:
        return {**self.params["manifest"], "by": self.params["by"], "run": self.params["run"]}

    def _refused(self, action: str, message: str, drop: bool) -> None:
        """Drop what was staged, or keep it for a look, and give up the lock."""
        keep = self.app.get("releases", {}).get("keep_failed_enabled")
        description = self.home.manifest(self.release).get("description")
        if description:
            keep = description["releases"]["keep_failed_enabled"]
        if drop and not keep and self.release not in (self.home.current, self.home.former):
            with suppress(OSError):
                self.home.drop(self.release)
        self._put_back_description()
        self.lock.give_up()
        self.log(action, "refused", release=self.release, step=self.step, message=message.partition("\n")[0])

    def _put_back_description(self) -> None:
        """Let a release that was there before be described as it was."""
        if former := self.home.manifest(self.release).get("former_description"):
            with suppress(OSError):
                self.home.remember(self.release, description=former, former_description=None)

    def hooks(self) -> dict[str, Any]:
        """Run the hooks of a step that waits for all hosts of the run: those for the whole fleet, or for each host."""
        self.step = kind = self.params["hooks"]
        activation = Activation(self.home, Supervisor(), self.release)
        seconds = sum(hook["timeout"] for hook in activation.description["hooks"][kind])
        self.take_lock(longest=seconds)
        try:
            with mutex(self.home):
                activation.hooks(kind, run_once=self.params["run_once"])
        finally:
            if self.release == self.home.current:  # no step follows
                self.lock.give_up()
            # Also those before one that failed: what they made of the data is there.
            if ran := activation.ran:
                irreversible = [hook for hook in ran if kind == "migrate" and hook in activation.irreversible()]
                self.log("hooks", "ran", release=self.release, hooks=ran, irreversible=irreversible)
        return {"changed": bool(ran), "ran": ran}

    def activate(self) -> dict[str, Any]:
        self.step = "lock"
        complete = "staged" in self.home.manifest(self.release)
        longest = Activation(self.home, Supervisor(), self.release).longest() if complete else 0
        self.take_lock(self.params["lock_wait"], longest)
        return detached(f"release-{self.home.name}", lambda: self._activate("deploy", self.release))

    def _activate(self, action: str, release: str, **more: Any) -> dict[str, Any]:
        """Activate to the end; failures are returned, for nobody may be there to catch them."""
        activation = None
        try:
            with mutex(self.home):
                activation = Activation(self.home, Supervisor(), release)
                self._refuse_a_late_comer(release)
                self._refuse_the_unreachable(activation)
                unproved = activation.manifest.get("healthy") is None
                try:
                    done = activation.run()
                except BaseException as error:
                    self.step = activation.step
                    self.release = release
                    self._refused(action, str(error), unproved)
                    raise
                if {"former_description", "withdrawn"} & activation.manifest.keys():
                    self.home.remember(release, former_description=None, withdrawn=None)
                if self.params["withdraw"] and done["previous"] not in ("", release):
                    self.home.remember(done["previous"], withdrawn=True)
                self.log(
                    action,
                    "live",
                    release=release,
                    previous=done["previous"],
                    version=activation.manifest.get("version", ""),
                    commit=activation.manifest.get("commit", ""),
                    message=self.params["reason"],
                    seconds=done["seconds"]["total"],
                    irreversible=activation.irreversible(),
                )
        except Exception as error:
            self.step = activation.step if activation else "activate"
            known = isinstance(error, REFUSALS)
            return {
                "msg": said(error, self.home.path) if known else f"{type(error).__name__}: {error}",
                "step": self.step,
            }
        finally:
            self.lock.give_up()
        return {"changed": True, "version": activation.manifest.get("version", ""), **done, **more}

    def _refuse_a_late_comer(self, release: str) -> None:
        """Refuse to take back what somebody has released since this release was staged, when its lock had expired."""
        staged_beside, current = self.params["current"], self.home.current
        if staged_beside is not None and current not in (staged_beside, release):
            raise ReleaseError(f"{current} went live after this release was staged; run the deploy again")

    def abandon(self) -> dict[str, Any]:
        """Drop what this run has staged, unless it is live or was healthy before."""
        manifest = self.home.manifest(self.release) if self.release else {}
        mine = bool(manifest) and manifest["run"] == self.params["run"] and not manifest.get("healthy")
        locked = self.lock.holder().get("run") == self.params["run"]
        if mine and self.release not in (self.home.current, self.home.former):
            with mutex(self.home):
                with suppress(SupervisorError):
                    Programs(self.home, Supervisor()).remove(self.release)
                if not manifest["description"]["releases"]["keep_failed_enabled"]:
                    self.home.drop(self.release)
            self.log("stage", "abandoned", release=self.release, message=self.params["reason"])
        if locked and manifest:
            self._put_back_description()
        self.lock.give_up()
        return {"changed": mine or locked}

    def wanted(self) -> str:
        """Return the release that a rollback goes to."""
        home, to = self.home, self.params["to"]
        if not home.current:
            raise ReleaseError("no release is live, so there is none to go back from")
        if to == "previous":
            if not (release := home.previous()):
                raise ReleaseError("no other release has been live before")
        else:
            staged = home.staged()
            by_version = [
                name
                for name in staged
                if to and home.manifest(name).get("version") == to and home.manifest(name).get("healthy")
            ]
            # A version before a beginning: 7 begins one of sixteen releases.
            found = [to] if to in staged else by_version[-1:] or [name for name in staged if name.startswith(to)]
            if len(found) != 1:
                there = ", ".join(f"{name} ({home.manifest(name).get('version') or 'no version'})" for name in staged)
                several = (
                    "is the beginning of several releases" if found else "is neither a release nor a version of one"
                )
                raise ReleaseError(f"{to!r} {several} of this host; there are {there}")
            (release,) = found
        manifest = home.manifest(release)
        if not manifest:
            raise ReleaseError(f"its files are gone (releases.keep); there are {', '.join(home.staged())}")
        if not manifest.get("healthy"):
            raise ReleaseError(f"{release} was never healthy, so it cannot be gone back to")
        home.refuse_data_of_another(manifest["description"]["user"])
        self._refuse_the_unreachable(Activation(home, Supervisor(), release))
        if (migrations := crossed(home, release)) and not self.params["force"]:
            raise ReleaseError(
                f"between {release} and {home.current} are irreversible migrations: {', '.join(migrations)}. "
                "If the former code can live with what they made of the data: -e force=true"
            )
        return release

    def rollback(self) -> dict[str, Any]:
        self.step = "rollback"
        self.release = self.params["to"]
        if not os.path.isdir(self.home.path):
            raise ReleaseError(f"this host has no app {self.home.name} ({self.home.path} is missing)")
        if not self.params["to"] and self.params["withdraw"]:
            return self._take_back_the_first()
        self.release = release = self.wanted()
        if release == self.home.current and not Activation(self.home, Supervisor(), release).sickness():
            return {"changed": False, "release": release, "previous": release, "warm": True, "seconds": {}}
        warm = self.home.former == release and not Activation(self.home, Supervisor(), release).health()
        self.take_lock(self.params["lock_wait"])
        return detached(f"release-{self.home.name}", lambda: self._activate("rollback", release, warm=warm))

    def _take_back_the_first(self) -> dict[str, Any]:
        """Let no release be live, as before the first one."""
        self.release = release = self.home.current
        if release:
            self.take_lock(self.params["lock_wait"])
            try:
                with mutex(self.home):
                    Activation(self.home, Supervisor(), release).take_back()
                    self.home.remember(release, withdrawn=True)
                self.log("rollback", "withdrawn", release=release, message=self.params["reason"])
            finally:
                self.lock.give_up()
        return {"changed": bool(release), "release": "", "previous": release}

    def lock_by_hand(self) -> dict[str, Any]:
        self.step = "lock"
        if not self.params["reason"]:
            raise ReleaseError("a lock needs a message, for those who meet it")
        if not os.path.isdir(self.home.path):
            raise ReleaseError(f"this host has no app {self.home.name} ({self.home.path} is missing)")
        self.lock.freeze(self.params["reason"])
        self.log("lock", "locked", message=self.params["reason"])
        return {"changed": True, "lock": self.lock.shown()}

    def unlock(self) -> dict[str, Any]:
        lock = self.lock.shown()
        if lock:
            self.lock.remove()
            self.log("unlock", "unlocked", message=f"locked by {lock['by']} since {lock['since']}: {lock['message']}")
        return {"changed": bool(lock), "lock": lock}

    def history(self) -> dict[str, Any]:
        rows = self.home.history()
        return {"changed": False, "rows": rows[-self.params["lines"] :], "lock": self.lock.shown()}

    def preview(self) -> dict[str, Any]:
        """Tell, in check mode, what would be done."""
        phase, current = self.params["phase"], self.home.current
        if phase == "rollback":
            release = "" if not self.params["to"] and self.params["withdraw"] else self.wanted()
            versions = {name: self.home.manifest(name).get("version", "") for name in (current, release)}
            shown = {"before_header": self.home.name, "after_header": self.home.name}
            before, after = (f"release {name} (version {versions[name]})\n" for name in (current, release))
            return {
                "changed": release != current,
                "release": release,
                "previous": current,
                "version": versions[release],
                "diff": {**shown, "before": before, "after": after},
            }
        changed = {"lock": not self.lock.holder(), "unlock": bool(self.lock.holder())}.get(phase, True)
        return {"changed": changed, "release": self.release, "previous": current, "lock": self.lock.shown(), "ran": []}


def spoken(endpoint: dict[str, Any]) -> str:
    """Say how a release is reached."""
    return f"{endpoint['protocol']} on " + (f"port {endpoint['port']}" if endpoint["port"] else "a unix socket")


def main() -> None:
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "root": {"type": "path", "default": "/srv/wsgi"},
            "phase": {
                "type": "str",
                "choices": [
                    *("inspect", "build", "stage", "hooks", "told", "activate", "abandon"),
                    *("rollback", "lock", "unlock", "history"),
                ],
                "default": "stage",
            },
            "app": {"type": "dict"},
            "config": {"type": "str"},
            "socket_group": {"type": "str"},
            "uv": {"type": "path"},
            "index_url": {"type": "str", "no_log": True},
            "proxy_url": {"type": "str", "default": "", "no_log": True},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "wheelhouse": {"type": "path"},
            "redeploy": {"type": "bool", "default": False},
            "wheels": {"type": "dict"},
            "wheels_archive": {"type": "path"},
            "release": {"type": "str"},
            "current": {"type": "str"},
            "environment": {"type": "str", "no_log": True},
            "archive": {"type": "path"},
            "files": {"type": "dict", "default": {}},
            "manifest": {"type": "dict", "default": {}},
            "hooks": {"type": "str", "choices": list(KINDS)},
            "run_once": {"type": "bool", "default": True},
            "to": {"type": "str", "default": "previous"},
            "force": {"type": "bool", "default": False},
            "withdraw": {"type": "bool", "default": False},
            "reason": text,
            "lock_wait": {"type": "float", "default": 0},
            "lock_seconds": {"type": "float", "default": 900},
            "lines": {"type": "int", "default": 20},
            "by": text,
            "run": text,
        },
        required_one_of=[("name", "app")],
        supports_check_mode=True,
    )
    worker = Worker(module.params)
    phases: dict[str, Callable[[], dict[str, Any]]] = {
        "inspect": worker.inspect,
        "build": worker.build,
        "hooks": worker.hooks,
        "told": worker.told,
        "activate": worker.activate,
        "abandon": worker.abandon,
        "rollback": worker.rollback,
        "lock": worker.lock_by_hand,
        "unlock": worker.unlock,
        "history": worker.history,
    }
    phase = module.params["phase"]
    if phase not in phases:
        module.fail_json(msg=f"phase {phase} is one of the action; call baremetal.web.release from a task")
    act = worker.preview if module.check_mode and phase not in ("inspect", "history") else phases[phase]
    unknown = False
    try:
        answer = {"changed": False, **act()}
    except REFUSALS as error:
        answer = {"msg": said(error, worker.home.path)}
        # In check mode a host may lack what a run brings before.
        unknown = module.check_mode and phase == "inspect" and not isinstance(error, UnfitHostError)
    if "msg" in answer:
        if unknown:
            module.exit_json(
                changed=False,
                release=worker.release,
                current="",
                current_version="",
                complete=False,
                settled=False,
                slots={},
                moved=False,
                environment_names=[],
                lacking=[],
            )
        fail(module, worker, answer)
    module.exit_json(**answer)


def fail(module: AnsibleModule, worker: Worker, answer: dict[str, Any]) -> None:
    """Say what did not work, where, and what is live."""
    current = worker.home.current
    kept = f"The live release is {current}." if current else "No release is live."
    step = answer.get("step") or worker.step
    where = ": ".join(
        part
        for part in (f"app {worker.home.name}", f"release {worker.release}" if worker.release else "", step)
        if part
    )
    module.fail_json(msg=f"{where}: {answer['msg']}\n{kept}", release=worker.release, current=current, step=step)


if __name__ == "__main__":
    main()
