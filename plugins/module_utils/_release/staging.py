# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a release in its final directory. Nothing that is live is touched."""

from __future__ import annotations

import base64
import contextlib
import copy
import glob
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import trees, venv
from ansible_collections.baremetal.web.plugins.module_utils._host.files import make_directory, write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock
from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit, environment_text
from ansible_collections.baremetal.web.plugins.module_utils._release.home import (
    BUILD_HOME,
    SHARED,
    Home,
    ReleaseError,
)

# The version of a release's files and of how its program runs; another one makes every app a new release.
LAYOUT = 7
ENVIRONMENT = "environment"
SERVER_LOCK = "server.txt"
SERVER = "server"  # its configuration, and what the collection adds to it
LAUNCHERS = "baremetal_web"
WORK = "work"
HOME = "home"  # of the build user while it builds
BUILD_SECONDS = 900  # to wait for those of other apps
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
        "limits": app["limits"],
        "private_tmp": app["private_tmp"],
        "programs": app["programs"],
        "shared": app["shared"],
        "hooks": app["hooks"],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def account(user: str) -> tuple[int, int]:
    """Return the numbers of a user and of its group."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ReleaseError(
            f"There is no user {user!r} on this host. An entry of wsgi_apps names it. Correct the name, or run "
            "site.yml."
        ) from None
    return entry.pw_uid, entry.pw_gid


def unpack(archive: str, target: str) -> None:
    """Unpack an archive of the controller into a directory, as root's, with plain modes."""
    from ansible_collections.baremetal.web.plugins.module_utils._host import archives  # slow, and seldom needed

    try:
        archives.unpack(archive, target, archives.Bounds())  # the controller has counted
    except archives.ArchiveError as error:
        raise ReleaseError(f"The archive of the controller cannot be unpacked: {error}") from None


def account_variables(user: str) -> dict[str, str]:
    """Return the variables that name an account; supervisord and systemd would leave those of root."""
    return {"USER": user, "LOGNAME": user, "SHELL": "/bin/sh"}


def with_environment(app: dict[str, Any], encoded: str) -> dict[str, Any]:
    """Return a copy of an app with its variables: Ansible shows the parameters of a module that is run with -vvv."""
    copied = copy.deepcopy(app)
    copied["program"]["environment"] = json.loads(base64.b64decode(encoded))
    return copied


def read_environment(path: str) -> dict[str, str]:
    """Return the variables of an environment file, which :func:`environment_text` wrote."""
    with open(path, encoding="utf-8", newline="") as stream:
        words = shlex.split(stream.read())
    return dict(word.split("=", 1) for word in words[1::2])  # every other word is "export"


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
        gid = account(app["user"])[1]
        if os.path.exists(self.path):
            shutil.rmtree(self.path)
        # Open to the build user while it is built, to the app from then on.
        make_directory(self.path, 0o750, 0, account(app["build_user"])[1])
        for directory in (self.code, os.path.join(self.path, SERVER), os.path.join(self.path, SERVER, LAUNCHERS)):
            make_directory(directory, 0o755)
        unpack(archive, self.code)
        for name, content in files.items():
            write_file(os.path.join(self.path, name), content.encode(), 0o644)
        python = venv.find_interpreter(app["python"].get("interpreter", app["python"]["version"]))
        self._install(python)
        self._add_to_path()
        os.chown(self.path, 0, gid)
        self._link_shared()
        text = environment_text(self.environment())
        # Root's: the app cannot change what the next command of root reads.
        write_file(os.path.join(self.path, ENVIRONMENT), text.encode(), 0o440, 0, gid)
        self.home.remember(
            self.release,
            **manifest,
            release=self.release,
            layout=LAYOUT,
            python=os.path.realpath(python),
            dependencies=self._dependencies(),
        )

    def finish(self) -> None:
        """Let the release count as complete, when all that belongs to its staging is done."""
        self.home.remember(self.release, staged=time.time(), written=self.home.written(self.release, self._own_files()))

    def _own_files(self) -> list[str]:
        """Return what this collection has put into the release, as paths in it."""
        found = [".", ENVIRONMENT]
        if os.path.islink(os.path.join(self.venv, "bin", "python")):  # the interpreter itself is the system's
            found.append("venv/bin/python")
        for directory, _directories, names in os.walk(os.path.join(self.path, SERVER)):
            found += [
                os.path.relpath(os.path.join(directory, name), self.path) for name in names if name[-4:] != ".pyc"
            ]
        return sorted(found)

    def environment(self) -> dict[str, str]:
        """Return the variables that the release runs with."""
        variables = self.app["program"]["environment"]
        # The release's own commands come first; the system's are there for whoever names other directories.
        directories = [f"{self.venv}/bin", *variables.get("PATH", "").split(":"), *SYSTEM_PATH.split(":")]
        own = {
            **account_variables(self.app["user"]),
            "PATH": ":".join(dict.fromkeys(filter(None, directories))),
            "APP_RELEASE": self.release,
            "APP_ENTRYPOINT": self.app["entrypoint"],
            "APP_INTERFACE": self.app["interface"],
            "APP_PROTOCOL": self.app["runner"]["endpoint"]["protocol"],
        }
        return {**variables, **own}

    @contextlib.contextmanager
    def opened(self, user: str) -> Iterator[dict[str, str]]:
        """Let a hook of the app's user write into the code, assets for example.

        It gets a copy mounted over the code, which the live app, the same user, does not see. The result is copied
        into new files of root's, so nobody who holds one open can change the release.
        """
        if user != self.app["user"]:
            yield {}
            return
        uid, gid = account(user)
        with self._workshop() as work:
            own, new = os.path.join(work, "app"), os.path.join(work, "new")
            trees.copy(self.code, own, os.geteuid(), uid, gid)
            yield {self.code: own}
            trees.copy(own, new, uid)
            os.rename(self.code, os.path.join(work, "old"))
            os.rename(new, self.code)

    @contextlib.contextmanager
    def _workshop(self) -> Iterator[str]:
        """Make a directory that only root may enter, for what another account works at; nothing of it stays."""
        work = os.path.join(self.path, WORK)
        if os.path.exists(work):  # of a run that was killed
            shutil.rmtree(work)
        make_directory(work, 0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work)

    def _install(self, python: str) -> None:
        """Install the server's and the app's packages, then the app itself when it is a wheel.

        Packages run code, those of a wheel as well once a Python starts beside them. So the build user sees only this
        environment, a cache of this app, and a copy of the code if packages are built from it. It makes nothing else
        meanwhile, and the environment is copied into new files of root's. Its home is new each time, because an
        earlier build could leave settings there that change what is installed.
        """
        app = self.app
        uv, builds = self._installer(), app["python"]["source_builds_enabled"]
        uid, gid = account(app["build_user"])
        make_directory(BUILD_HOME, 0o700)
        cache = os.path.join(BUILD_HOME, self.home.name)
        make_directory(cache, 0o700, uid, gid)
        home = os.path.join(self.path, HOME)
        for directory in (self.venv, home):
            os.mkdir(directory)
        requirements = [os.path.join(self.path, SERVER_LOCK)]
        if app["python"]["requirements"]:
            requirements.append(os.path.join(self.path, app["python"]["requirements"]))
        with self._only_build(), self._workshop() as work:
            made, empty = (os.path.join(work, name) for name in ("venv", HOME))
            make_directory(made, 0o755, uid, gid)
            make_directory(empty, 0o700, uid, gid)
            binds = {self.venv: made, home: empty, BUILD_HOME: cache}
            if builds:
                binds[self.code] = os.path.join(work, "app")
                trees.copy(self.code, binds[self.code], os.geteuid(), uid, gid)
            venv.install(
                self.venv,
                python,
                requirements,
                directory=self.code,
                uv=uv,
                index_url=app["index_url"],
                proxy_url=app["proxy_url"],
                no_proxy=app["no_proxy"],
                wheels=app["wheels"],
                source_builds=builds,
                option="python.source_builds_enabled",
                unit=Unit(self.home.name, app["build_user"], binds, confined=True),
                home=home,
                cache=BUILD_HOME,
                package=os.path.join(self.code, app["wheel"]) if app["wheel"] else "",
            )
            for directory in (self.venv, home):
                os.rmdir(directory)
            trees.copy(made, self.venv, uid)

    def _installer(self) -> str:
        """Return the path of uv; pip, told to take wheels only, still builds what a wheel names by an address."""
        if not os.path.exists(self.app["uv"]):
            raise ReleaseError(
                f"{self.app['uv']!r} is not on this host, which installs the packages of apps. The tool environment "
                "was changed or is unfinished. Run site.yml, which completes it."
            )
        return str(self.app["uv"])

    def _only_build(self) -> contextlib.AbstractContextManager[None]:
        """Let the build user work for one app at a time: two builds could reach each other."""
        otherwise = (
            f"The packages of another app have been installed on this host for {BUILD_SECONDS} s. The build user works "
            "for one app at a time. Run it again when that has ended."
        )
        return file_lock(os.path.join(BUILD_HOME, ".lock"), BUILD_SECONDS, ReleaseError(otherwise))

    def _packages(self) -> str:
        """Return the directory of the packages; it is root's by now, but may be a link that a package has made."""
        found = glob.glob(os.path.join(glob.escape(self.venv), "lib", "python*", "site-packages"))
        if len(found) != 1 or os.path.realpath(found[0]) != found[0].replace(self.venv, os.path.realpath(self.venv), 1):
            raise ReleaseError(
                f"{self.venv} has {len(found)} directories lib/python*/site-packages, or a link there. A package has "
                "changed the environment that it was installed into. Leave it out of the requirements."
            )
        return found[0]

    def _add_to_path(self) -> None:
        """Let the environment import the code, from its root or its src, and the launchers, without building them."""
        paths = [os.path.join(self.code, "src"), self.code, os.path.join(self.path, SERVER)]
        text = "".join(f"{path}\n" for path in paths if os.path.isdir(path))
        write_file(os.path.join(self._packages(), "app.pth"), text.encode(), 0o644)

    def _dependencies(self) -> dict[str, str]:
        """Return what is installed, by name."""
        names = (re.fullmatch(r"(.+?)-(.+)\.dist-info", name) for name in os.listdir(self._packages()))
        return dict(sorted((found[1].replace("_", "-").lower(), found[2]) for found in names if found))

    def _link_shared(self) -> None:
        """Link what all releases share; its first content is what the source has there."""
        shared = os.path.join(self.home.data, SHARED)
        for kind, paths in self.app["shared"].items():
            for path in paths:
                self._within_data(path if kind == "directories" else os.path.dirname(path))
                target, link = os.path.join(shared, path), self._shared_link(path)
                if os.path.lexists(link):
                    self._seed(link, target)
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.symlink(target, link)

    def _shared_link(self, path: str) -> str:
        """Return the path of the link to a shared path: in the code, or where packages keep their data."""
        if not path.startswith("venv/"):
            return os.path.join(self.code, path)
        above, name = os.path.split(os.path.join(self.path, path))
        if os.path.realpath(above) != above.replace(self.path, os.path.realpath(self.path), 1):
            raise ReleaseError(
                f"{path!r} of shared is behind a link that a package has put into {self.venv}, so it leads elsewhere. "
                "Leave the package out of the requirements, or the path out of shared."
            )
        return os.path.join(above, name)

    def _within_data(self, path: str) -> None:
        """Make the shared directories down to a path, as the app's user: the app can put links there."""
        command = ["mkdir", "-p", "--", os.path.join(self.home.data, SHARED, path)]
        venv.run(command, f"Making the shared directory {path!r}", Unit(self.home.name, self.app["user"]))

    def _seed(self, source: str, target: str) -> None:
        """Copy what the source has to where it is shared, unless something is there; then remove it."""
        script = 'test -e "$2" -a -n "$(ls -A "$2" 2>/dev/null || :)" || cp -RT -- "$1" "$2"'
        if os.path.isfile(source):
            script = 'test -e "$2" || cp -- "$1" "$2"'
        command = ["/bin/sh", "-c", script, "sh", source, target]
        venv.run(command, f"Copying {os.path.basename(source)!r}", Unit(self.home.name, self.app["user"]))
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.rmtree(source)
        else:
            os.unlink(source)
