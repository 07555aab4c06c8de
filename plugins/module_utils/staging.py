# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a release where it will stay. Nothing that is live is touched."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import tarfile
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils import venv
from ansible_collections.baremetal.web.plugins.module_utils.app_home import (
    BUILD_HOME,
    SHARED,
    Home,
    ReleaseError,
    give,
)
from ansible_collections.baremetal.web.plugins.module_utils.files import make_directory, write_file

# What stands where in a release, and how its program is run; a change of that makes every app a new release.
LAYOUT = 5
ENVIRONMENT = "environment"
SERVER_LOCK = "server.txt"
SERVER = "server"  # its configuration, and what the collection adds to it
LAUNCHERS = "baremetal_web"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def release_id(app: dict[str, Any], source_digest: str, files: dict[str, str]) -> str:
    """Return the name of a release: the digest of everything that it is made of; ``files`` are the server's."""
    parts = {
        "layout": LAYOUT,
        "source": source_digest,
        "files": files,
        "endpoint": app["runner"]["endpoint"],
        "entrypoint": app["entrypoint"],
        "interface": app["interface"],
        "python": app["python"],
        "program": app["program"],
        "programs": app["programs"],
        "shared": app["shared"],
        "hooks": app["hooks"],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def account(user: str) -> dict[str, Any]:
    """Return the arguments with which subprocess runs a command as a user, in the user's own groups."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ReleaseError(f"there is no user {user!r} on this host") from None
    groups = os.getgrouplist(user, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def unpack(archive: str, target: str) -> None:
    """Unpack an archive of the controller into a directory, as root's, with plain modes."""
    with tarfile.open(archive) as tar:
        # The controller packs no link that leads out; Pythons that know the filter check that again.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in tar.getmembers():
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise ReleaseError(f"the archive has {member.name!r}, which leads out of the release")
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            tar.extract(member, target)


def read_environment(path: str) -> dict[str, str]:
    """Return the variables of an environment file, which :func:`environment_text` wrote."""
    with open(path, encoding="utf-8", newline="") as stream:
        words = shlex.split(stream.read())
    return dict(word.split("=", 1) for word in words[1::2])  # every other word is "export"


def environment_text(variables: dict[str, str]) -> str:
    """Return variables in a shell's notation: supervisord's own holds neither every quote nor a line break."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def changed_names(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what is different between two environments, by the names of the variables alone."""
    names = sorted(before.keys() | after.keys())
    signs = {(False, True): "+", (True, False): "-", (True, True): "~"}
    return [f"{signs[name in before, name in after]} {name}" for name in names if before.get(name) != after.get(name)]


class Staging:
    """One release of an app while it is built."""

    def __init__(self, home: Home, app: dict[str, Any], release: str):
        self.home = home
        self.app = app
        self.release = release
        self.path = home.release(release)
        self.code = os.path.join(self.path, "app")
        self.venv = os.path.join(self.path, "venv")

    def build(self, archive: str, files: dict[str, str], manifest: dict[str, Any]) -> None:
        """Build the release; it does not count as one before :meth:`finish`."""
        app = self.app
        trusted = not app["python"]["source_builds_enabled"]
        # Building runs code of the packages, so it happens with no more rights than they will have in the app.
        build = account(app["build_user"] if trusted else app["user"])
        cache = BUILD_HOME if trusted else self.home.data
        make_directory(cache, 0o700, build["user"], build["group"])
        if os.path.exists(self.path):
            shutil.rmtree(self.path)
        # Open to the build user while it is built, to the app from then on.
        make_directory(self.path, 0o750, 0, build["group"])
        for directory in (self.code, os.path.join(self.path, SERVER), os.path.join(self.path, SERVER, LAUNCHERS)):
            make_directory(directory, 0o755)
        unpack(archive, self.code)
        for name, content in files.items():
            write_file(os.path.join(self.path, name), content.encode(), 0o644)
        python = venv.find_interpreter(app["python"].get("interpreter", app["python"]["version"]))
        self._install(python, build, cache, trusted)
        give(self.venv, 0, 0)
        self._add_to_path()
        self._link_shared()
        user = account(app["user"])
        text = environment_text(self.environment())
        # Root's: the app cannot change what the next command of root reads.
        write_file(os.path.join(self.path, ENVIRONMENT), text.encode(), 0o440, 0, user["group"])
        os.chown(self.path, 0, user["group"])
        self.home.remember(
            self.release,
            **manifest,
            release=self.release,
            python=os.path.realpath(python),
            dependencies=self._dependencies(),
        )

    def finish(self) -> None:
        """Let the release count as complete, when all that belongs to its staging is done."""
        self.home.remember(self.release, staged=time.time())

    def environment(self) -> dict[str, str]:
        """Return the variables that the release runs with."""
        path = f"{self.venv}/bin:{SYSTEM_PATH}"
        own = {
            "APP_RELEASE": self.release,
            "APP_ENTRYPOINT": self.app["entrypoint"],
            "APP_INTERFACE": self.app["interface"],
            "APP_PROTOCOL": self.app["runner"]["endpoint"]["protocol"],
        }
        return {"PATH": path, **self.app["program"]["environment"], **own}

    @contextlib.contextmanager
    def opened(self, user: str) -> Iterator[None]:
        """Let a hook of the app's user write into the code, assets for example; the code is root's again afterwards."""
        if user != self.app["user"]:
            yield
            return
        owner = account(user)
        give(self.code, owner["user"], owner["group"])
        try:
            yield
        finally:
            give(self.code, 0, 0)

    def _install(self, python: str, build: dict[str, Any], cache: str, trusted: bool) -> None:
        """Install the server's and the app's packages, then the app itself when it is a wheel."""
        app = self.app
        make_directory(self.venv, 0o755, build["user"], build["group"])
        requirements = [os.path.join(self.path, SERVER_LOCK)]
        if app["python"]["requirements"]:
            requirements.append(os.path.join(self.code, app["python"]["requirements"]))
        venv.install(
            self.venv,
            python,
            requirements,
            directory=self.code,
            uv=app["uv"] if os.path.exists(app["uv"]) else "",
            index_url=app["index_url"],
            wheels=app["wheels"],
            source_builds=not trusted,
            user=build,
            home=cache,
            package=os.path.join(self.code, app["wheel"]) if app["wheel"] else "",
        )

    def _packages(self) -> str:
        (packages,) = glob.glob(os.path.join(glob.escape(self.venv), "lib", "python*", "site-packages"))
        return packages

    def _add_to_path(self) -> None:
        """Let the environment import the code, from its root or its src, and the launchers, without building them."""
        places = [os.path.join(self.code, "src"), self.code, os.path.join(self.path, SERVER)]
        places = [place for place in places if os.path.isdir(place)]
        text = "".join(f"{place}\n" for place in places)
        write_file(os.path.join(self._packages(), "app.pth"), text.encode(), 0o644)

    def _dependencies(self) -> dict[str, str]:
        """Return what is installed, by name."""
        names = (re.fullmatch(r"(.+?)-(.+)\.dist-info", name) for name in os.listdir(self._packages()))
        return dict(sorted((found[1].replace("_", "-").lower(), found[2]) for found in names if found))

    def _link_shared(self) -> None:
        """Link what all releases share; what the source has there is where it begins."""
        user = account(self.app["user"])
        shared = os.path.join(self.home.data, SHARED)
        for kind, paths in self.app["shared"].items():
            for path in paths:
                self._within_data(path if kind == "directories" else os.path.dirname(path), user)
                target, link = os.path.join(shared, path), os.path.join(self.code, path)
                if os.path.lexists(link):
                    self._begin(link, target, user)
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.symlink(target, link)

    def _within_data(self, path: str, user: dict[str, Any]) -> None:
        """Make the shared directories down to a path, as the app's user: the app can put links in the way."""
        command = ["mkdir", "-p", "--", os.path.join(self.home.data, SHARED, path)]
        venv.run(command, f"Making the shared directory {path!r}", user)

    def _begin(self, source: str, target: str, user: dict[str, Any]) -> None:
        """Copy what the source has to where it is shared, unless something is there; then remove it."""
        script = 'test -e "$2" -a -n "$(ls -A "$2" 2>/dev/null || :)" || cp -RT -- "$1" "$2"'
        if os.path.isfile(source):
            script = 'test -e "$2" || cp -- "$1" "$2"'
        os.chown(self.path, 0, user["group"])
        venv.run(["/bin/sh", "-c", script, "sh", source, target], f"Copying {os.path.basename(source)!r}", user)
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.rmtree(source)
        else:
            os.unlink(source)
