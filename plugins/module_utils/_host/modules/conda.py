# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module conda."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, index_proxy
from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError, run
from ansible_collections.baremetal.web.plugins.module_utils._host.work import Asked, WorkError

ARGUMENTS = {
    "path": {"type": "path"},
    "url": {"type": "str"},
    "search": {"type": "path"},
    "checksum": {"type": "str", "required": True},
    "installer": {"type": "path"},
    "prefix": {"type": "path", "default": "/opt/conda"},
    "versions": {"type": "list", "elements": "str", "default": []},
    "channels": {"type": "list", "elements": "str", "default": []},
    "proxy_url": {"type": "str", "default": "", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
    "offline_enabled": {"type": "bool", "default": False},
}
RECORD = ".baremetal-web"
# Where a host keeps settings for every conda, whatever its home is: channels there would count beside ours.
HOST_SETTINGS = ("/etc/conda", "/var/lib/conda")
HIDING = 'while [ "$1" != -- ]; do mount -t tmpfs tmpfs "$1" || exit; shift; done; shift; exec "$@"'
SECONDS = 1800


class Conda:
    """A directory with conda and environments; each is whole when it has its record."""

    def __init__(self, prefix: str, proxy_url: str, no_proxy: list[str]):
        self.prefix = prefix
        self.proxy_url = proxy_url
        self.variables = {"CONDA_REGISTER_ENVS": "false", **index_proxy.variables(proxy_url, no_proxy)}

    def environment(self, version: str) -> str:
        return os.path.join(self.prefix, "envs", f"python{version}")

    def python(self, version: str) -> str:
        return os.path.join(self.environment(version), "bin", "python")

    @staticmethod
    def recorded(path: str) -> str:
        """Return what is recorded of a directory; empty for one that is not whole."""
        try:
            with open(os.path.join(path, RECORD), encoding="ascii") as stream:
                return stream.read().strip()
        except FileNotFoundError:
            return ""

    @staticmethod
    def record(path: str, text: str) -> None:
        write_file(os.path.join(path, RECORD), f"{text}\n".encode(), 0o644)

    def install(self, installer: str, checksum: str) -> None:
        """Run the installer; what one left that did not end well goes first."""
        update = ["-u"] if self.recorded(self.prefix) else []
        if not update:
            shutil.rmtree(self.prefix, ignore_errors=True)
        with change_record.ChangeRecord() as notes:
            notes.note_directory(self.prefix, owned=True)
        try:
            self._run(["/bin/bash", installer, "-b", *update, "-p", self.prefix], "The installer of conda")
            self._run([os.path.join(self.prefix, "bin", "conda"), "--version"], "The installer brought no conda: it")
        except (VenvError, OSError):
            if not update:
                shutil.rmtree(self.prefix, ignore_errors=True)
                with change_record.ChangeRecord() as notes:
                    notes.forget("tree", self.prefix)
            raise
        self.record(self.prefix, checksum)

    def create(self, version: str, channels: list[str], offline: bool) -> None:
        """Make the environment of a version."""
        path = self.environment(version)
        shutil.rmtree(path, ignore_errors=True)
        chosen = ["--override-channels"] * bool(channels) + [f"--channel={channel}" for channel in channels]
        command = [os.path.join(self.prefix, "bin", "conda"), "create", "--yes", "--quiet", "--prefix", path, *chosen]
        try:
            self._run([*command, *(["--offline"] if offline else []), f"python={version}"], "It")
            out = run([self.python(version), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], "Its Python")
            if out.strip() != version:
                raise VenvError(f"It brought Python {out.strip()}.")
        except (VenvError, OSError) as error:
            shutil.rmtree(path, ignore_errors=True)
            where = f"the channels {', '.join(channels)}" if channels else "its channels"
            raise VenvError(
                f"conda cannot make an environment with Python {version} from {'its cache' if offline else where}. Set "
                f"python.version of the app to one that is there, or correct python_conda.channels. {error}"
            ) from None
        self.record(path, version)

    def _run(self, command: list[str], what: str) -> None:
        with tempfile.TemporaryDirectory() as home:  # conda keeps a list of its environments in a home
            variables = {"HOME": home, **self.variables}
            hidden = _hiding(filter(os.path.isdir, HOST_SETTINGS))
            # The name of an error is in the first line, before the packages, all channels and advice.
            run(
                [*hidden, *command],
                what,
                environment=variables,
                seconds=SECONDS,
                lines=60,
                secrets=[self.proxy_url],
            )


def _hiding(directories: Iterable[str]) -> list[str]:
    """Return what runs a command that finds these directories empty."""
    hidden = list(directories)
    return ["unshare", "--mount", "--", "/bin/sh", "-c", HIDING, "sh", *hidden, "--"] if hidden else []


def work(asked: Asked) -> dict:
    """Install conda and the environments that are lacking."""
    wanted = asked.params
    prefix, checksum = wanted["prefix"], wanted["checksum"]
    conda = Conda(prefix, wanted["proxy_url"], wanted["no_proxy"])
    if os.path.lexists(prefix) and prefix not in change_record.read().get("tree", {}):
        raise WorkError(
            f"{prefix} is there already and was not made by this collection. Set python_conda.prefix to another "
            "directory, or move it away. Nothing was changed."
        )
    outdated = conda.recorded(prefix) != checksum
    lacking = [version for version in wanted["versions"] if not conda.recorded(conda.environment(version))]
    lines = [f"{prefix} from {checksum}"] * outdated + [conda.environment(version) for version in lacking]
    result = {
        "changed": bool(lines),
        "pythons": {version: conda.python(version) for version in wanted["versions"]},
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in lines)},
    }
    if asked.check_mode or not lines:
        return result
    if outdated and not wanted["installer"]:
        return {**result, "changed": False, "lacks_installer": True}
    try:
        if outdated:
            conda.install(wanted["installer"], checksum)
        for version in lacking:
            conda.create(version, wanted["channels"], wanted["offline_enabled"])
    except (VenvError, OSError) as error:
        raise WorkError(str(error)) from error
    return result
