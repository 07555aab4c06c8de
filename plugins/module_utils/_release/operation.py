# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation on an app of this host: it holds the lock, writes to the audit log, and fails with what is live."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.detached import detached
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import Supervisor, SupervisorError
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError
from ansible_collections.baremetal.web.plugins.module_utils._host.work import WorkError
from ansible_collections.baremetal.web.plugins.module_utils._release.activation import Activation
from ansible_collections.baremetal.web.plugins.module_utils._release.endpoints import endpoint_text
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError
from ansible_collections.baremetal.web.plugins.module_utils._release.lock import AppLock, mutex

REFUSALS = (ReleaseError, VenvError, SupervisorError, OSError)
# Options that modules have in common; plugins/doc_fragments/release.py documents them.
APP_OPTIONS = {"name": {"type": "str", "required": True}, "root": {"type": "path", "default": "/srv/wsgi"}}
RUN_OPTIONS = {"by": {"type": "str", "default": ""}, "run": {"type": "str", "default": ""}}
LOCK_OPTIONS = {
    "reason": {"type": "str", "default": ""},
    "lock_wait": {"type": "float", "default": 0},
    "lock_seconds": {"type": "float", "default": 900},
}


class Operation:
    """The work of a module on one app; C(run) does it, C(preview) tells in check mode what would be done."""

    def __init__(self, name: str, params: dict[str, Any]):
        self.params = params
        self.home = Home(name, params["root"])
        self.lock = AppLock(self.home, params.get("run", ""), params.get("by", ""))
        self.release = params.get("release") or ""
        self.step = ""

    def run(self) -> dict[str, Any]:
        raise NotImplementedError

    def preview(self) -> dict[str, Any]:
        return {"changed": True, "release": self.release, "previous": self.home.current}

    def activation(self, release: str) -> Activation:
        return Activation(self.home, Supervisor(), release)

    def log(self, action: str, result: str, **values: Any) -> None:
        """Add to the audit log; a disk that is full does not keep anything else from being done."""
        with suppress(OSError):
            self.home.log(action, result, by=self.params["by"], run=self.params["run"], **values)

    def refuse_missing_app(self) -> None:
        if not os.path.isdir(self.home.path):
            raise ReleaseError(
                f"This host has no app {self.home.name}. {self.home.path} is missing. Correct the name, or run "
                "site.yml."
            )

    def take_lock(self, wait: float = 0, longest: float = 0) -> None:
        """Take the app's lock for this run, for at least the longest time that the operation may take."""
        self.refuse_missing_app()
        seconds = max(self.params["lock_seconds"], longest + 60)
        self.lock.take(seconds, wait, self.params.get("reason", ""))

    def refused(self, action: str, message: str, drop: bool) -> None:
        """Drop what was staged, or keep it for a look, and give up the lock."""
        description = self.home.manifest(self.release).get("description")
        keep = self.keeps_failed(description or self.params.get("app") or {})
        if drop and not keep and self.release not in (self.home.current, self.home.standby):
            with suppress(OSError):
                self.home.drop(self.release)
        self.restore_description()
        self.lock.give_up()
        self.log(action, "refused", release=self.release, step=self.step, message=message.partition("\n")[0])

    @staticmethod
    def keeps_failed(app: dict[str, Any]) -> bool:
        """Tell whether a release that failed stays for a look."""
        return bool(app.get("releases", {}).get("keep_failed_enabled"))

    def restore_description(self) -> None:
        """Restore the description of a release that existed before."""
        if replaced := self.home.manifest(self.release).get("replaced_description"):
            with suppress(OSError):
                self.home.remember(self.release, description=replaced, replaced_description=None)

    def error_text(self, error: Exception) -> str:
        """Return an error for people; of a full disk also what to do."""
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"{error}. The disk of {self.home.path} is full. Remove files, or lower releases.keep, and run again."
            )
        return str(error)


class Switch(Operation):
    """An operation that makes a release the live one."""

    def refuse_unreachable(self, activation: Activation) -> None:
        """Refuse a release that the web server would not reach in its slot."""
        home = self.home
        if not home.current or activation.release == home.current:
            return
        known = home.endpoints().get(activation.slot, activation.endpoint)
        if activation.endpoint != known:
            raise ReleaseError(
                f"{activation.release} speaks {endpoint_text(activation.endpoint)}, and the web server "
                f"{endpoint_text(known)}. A later release has changed the endpoint. Set server.protocol and "
                "server.port as they were, and deploy that version."
            )
        if not home.proxy_synced and activation.endpoint != self.activation(home.current).endpoint:
            raise ReleaseError(
                f"The web server is not configured for {endpoint_text(activation.endpoint)}. An earlier run was "
                "interrupted. Run the deploy again."
            )

    def go_live(
        self,
        action: str,
        release: str,
        staged_beside: str | None = None,
        withdraw: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Activate to the end, even if the connection breaks; bar the previous release from rollbacks, if asked."""
        return detached(
            f"release-{self.home.name}", lambda: self._go_live(action, release, staged_beside, withdraw, **more)
        )

    def _go_live(
        self, action: str, release: str, staged_beside: str | None, withdraw: bool, **more: Any
    ) -> dict[str, Any]:
        """Activate; failures are returned, for nobody may be there to catch them."""
        activation = None
        try:
            with mutex(self.home):
                activation = self.activation(release)
                self._refuse_stale_staging(release, staged_beside)
                self.refuse_unreachable(activation)
                done = self._activate(action, activation)
                if withdraw and done["previous"] not in ("", release):
                    self.home.remember(done["previous"], withdrawn=True)
                self._log_live(action, activation, done)
        except Exception as error:
            self.step = activation.step if activation else "activate"
            known = isinstance(error, REFUSALS)
            text = self.error_text(error) if known else f"{type(error).__name__}: {error}"
            return {"msg": text, "step": self.step}
        finally:
            self.lock.give_up()
        return {"changed": True, "version": activation.manifest.get("version", ""), **done, **more}

    def _activate(self, action: str, activation: Activation) -> dict[str, Any]:
        unproved = activation.manifest.get("healthy") is None
        try:
            done = activation.run()
        except BaseException as error:
            self.step = activation.step
            self.release = activation.release
            self.refused(action, str(error), unproved)
            raise
        if {"replaced_description", "withdrawn"} & activation.manifest.keys():
            self.home.remember(activation.release, replaced_description=None, withdrawn=None)
        return done

    def _log_live(self, action: str, activation: Activation, done: dict[str, Any]) -> None:
        self.log(
            action,
            "live",
            release=activation.release,
            previous=done["previous"],
            version=activation.manifest.get("version", ""),
            commit=activation.manifest.get("commit", ""),
            message=self.params["reason"],
            seconds=done["seconds"]["total"],
            irreversible=activation.irreversible(),
        )

    def _refuse_stale_staging(self, release: str, staged_beside: str | None) -> None:
        """Refuse to replace what another run has released since the staging, when the lock had expired."""
        current = self.home.current
        if staged_beside is not None and current not in (staged_beside, release):
            raise ReleaseError(
                f"{current} went live after this release was staged. The lock of this run has expired. Run the deploy "
                "again."
            )


def perform(operation: Operation, check_mode: bool) -> dict[str, Any]:
    """Do an operation; where it fails, say what did not work, where, and what is live."""
    try:
        result = operation.preview() if check_mode else operation.run()
    except REFUSALS as error:
        result = {"msg": operation.error_text(error)}
    if "msg" not in result:
        return {"changed": False, **result}
    home, release, current = operation.home, operation.release, operation.home.current
    kept = f"The live release is {current}." if current else "No release is live."
    step = result.get("step") or operation.step
    parts = (f"app {home.name}", f"release {release}" if release else "", step)
    where = ": ".join(part for part in parts if part)
    raise WorkError(f"{where}: {result['msg']}\n{kept}", release=release, current=current, step=step)
