# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage and activate releases of an app on a host."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import http.client
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from string import Template
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils import venv
from ansible_collections.baremetal.web.plugins.module_utils.files import make_directory, write_file
from ansible_collections.baremetal.web.plugins.module_utils.ledger import Ledger
from ansible_collections.baremetal.web.plugins.module_utils.sockets import UnixConnection
from ansible_collections.baremetal.web.plugins.module_utils.supervisor import Supervisor, render_program

# What stands where in a release, and how its program is run; a change of that makes every app a new release.
LAYOUT = 3
MANIFEST = "manifest.json"
ENVIRONMENT = "environment"
SERVER_LOCK = "server.txt"
DATA = "data"
CHECK_SECONDS = 60
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
BUILD_HOME = "/var/cache/wsgi-build"


class ReleaseError(Exception):
    """A release did not go live; the text says why. The live release is untouched."""


def release_id(app: dict[str, Any], source_digest: str, config: str, lock: str) -> str:
    """Return the name of a release: the digest of everything that it is made of."""
    parts = {
        "layout": LAYOUT,
        "source": source_digest,
        "config": config,
        "entrypoint": app["entrypoint"],
        "python": app["python"],
        "lock": lock,
        "program": app["program"],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def account(user: str) -> dict[str, Any]:
    """Return the arguments with which subprocess runs a command as a user, in the user's own groups."""
    entry = pwd.getpwnam(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def give(path: str, uid: int, gid: int) -> None:
    """Give a whole tree to a user, its top last; to root, so that neither the app nor a later build can change it."""
    for _directory, directories, files, descriptor in os.fwalk(path, topdown=False):
        for name in [*directories, *files]:
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(descriptor, uid, gid)


def point(link: str, target: str) -> None:
    """Let a symbolic link point to a target, in one rename."""
    temporary = f"{link}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)


def pointed(link: str) -> str | None:
    """Return the last part of a link's target; None where there is no link."""
    with suppress(OSError):
        return os.path.basename(os.readlink(link))
    return None


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer; a peer that sends slowly for ever cannot hold it."""

    def expire(*_: Any) -> None:
        raise TimeoutError(f"no complete answer within {seconds:g} s")

    former = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def probe(path: str, host: str, socket_path: str, timeout: float) -> str:
    """Ask an app for its health over a unix socket; return what is wrong, empty when healthy."""
    connection = UnixConnection(socket_path, timeout)
    try:
        with deadline(timeout):
            return _ask(connection, path, host)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"
    finally:
        connection.close()


def _ask(connection: UnixConnection, path: str, host: str) -> str:
    connection.request("GET", path, headers={"Host": host, "User-Agent": "baremetal.web health probe"})
    status = connection.getresponse().status
    return "" if 200 <= status < 400 else f"answer {status}"


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


class Releases:
    """The releases of one app on this host."""

    def __init__(self, app: dict[str, Any], supervisor: Supervisor):
        self.app = app
        self.supervisor = supervisor
        self.home = app["home"]
        self.root = os.path.join(self.home, "releases")
        self.run = os.path.join(self.home, "run")
        self.current_link = os.path.join(self.home, "current")
        # Both links stand in root's directory, where the app cannot put anything in their way.
        self.current_socket = os.path.join(self.home, "current.sock")

    @property
    def current(self) -> str | None:
        """The live release, when both links agree on it."""
        release, socket = pointed(self.current_link), pointed(self.current_socket)
        return release if release and socket == f"{release}.sock" else None

    def live_since(self) -> str:
        """Return when the live release went live, in UTC."""
        return time.strftime(TIME_FORMAT, time.gmtime(os.lstat(self.current_link).st_mtime))

    def path(self, release: str) -> str:
        return os.path.join(self.root, release)

    def socket(self, release: str) -> str:
        return os.path.join(self.run, f"{release}.sock")

    def program_name(self, release: str) -> str:
        return f"{self.app['name']}-{release}"

    def manifest(self, release: str) -> dict[str, Any]:
        with suppress(FileNotFoundError), open(os.path.join(self.path(release), MANIFEST), encoding="utf-8") as stream:
            return json.load(stream)
        return {}

    def staged(self) -> list[str]:
        """Return the complete releases, oldest first."""
        with suppress(FileNotFoundError):
            return sorted(
                (name for name in os.listdir(self.root) if self.manifest(name)),
                key=lambda name: self.manifest(name)["staged"],
            )
        return []

    def programs(self) -> list[str]:
        """Return the programs of this app's releases."""
        pattern = re.compile(re.escape(self.app["name"]) + r"-[0-9a-f]{12}")
        return sorted(name for name in self.supervisor.programs() if pattern.fullmatch(name))

    def health(self, release: str, seconds: float = 5) -> str:
        """Return what is wrong with a release's program and its answer; empty when all is well."""
        state = self.supervisor.state(self.program_name(release))
        if state != "RUNNING":
            return f"its program {self.program_name(release)} is {state}"
        health = self.app["health"]
        return probe(health["path"], self.app["site"]["server_names"][0], self.socket(release), seconds)

    def program(self, release: str) -> dict[str, Any]:
        """Return the program of a release, its places filled in."""
        program = dict(self.app["program"], name=self.program_name(release))
        for key in ("command", "directory"):
            program[key] = Template(program[key]).substitute(self.places(release))
        # supervisord's own notation holds neither every quote nor a line break; a shell's does.
        script = f". {shlex.quote(self.environment_path(release))} && exec {program['command']}"
        program["command"] = f"/bin/sh -c {shlex.quote(script)}"
        program["environment"] = {}
        return program

    def places(self, release: str) -> dict[str, str]:
        """Return what the placeholders of a server's command stand for."""
        return {"release": self.path(release), "socket": self.socket(release)}

    def environment(self, release: str) -> dict[str, str]:
        """Return the variables that a release runs with."""
        own = {"APP_RELEASE": release, "APP_SOCKET": self.socket(release)}
        return {**self.app["program"]["environment"], **own}

    def environment_path(self, release: str) -> str:
        return os.path.join(self.path(release), ENVIRONMENT)

    def is_settled(self, release: str) -> bool:
        """Tell whether a release is live, alone, healthy, and described in supervisord as wanted."""
        name = self.program_name(release)
        if self.current == release:
            # supervisord itself may have been started a moment ago.
            self.supervisor.wait(name, self.app["program"]["startsecs"] + 5)
        return (
            self.current == release
            and self.programs() == [name]
            and self.supervisor.current_text(name)
            == render_program(self.program(release), self.supervisor.log_directory)
            and not self.health(release)
        )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Let no second release of this app happen at the same time on this host."""
        # Closed to others: whoever can open it could hold the lock.
        descriptor = os.open(os.path.join(self.home, ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(descriptor, 0o600)
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReleaseError(
                    "another release of this app is under way on this host; try again when it ended"
                ) from None
            yield

    def make_room(self, socket_group: str) -> None:
        """Make the directories of the app, each open to those only who need it."""
        app_gid = pwd.getpwnam(self.app["user"]).pw_gid
        app_uid = pwd.getpwnam(self.app["user"]).pw_uid
        with Ledger() as notes:
            notes.note_directory(os.path.dirname(self.home))
            notes.note_app(self.home, self.app["user"])
            notes.note_directory(BUILD_HOME, owned=True)
        make_directory(os.path.dirname(self.home), 0o755)
        make_directory(self.home, 0o751, 0, app_gid)
        make_directory(self.root, 0o755)
        # Whoever may enter this directory may connect: the app and the web server.
        make_directory(self.run, 0o750, app_uid, grp.getgrnam(socket_group).gr_gid)
        data = os.path.join(self.home, DATA)
        if os.path.isdir(data) and os.stat(data).st_uid == 0:  # kept since the app was removed
            give(data, app_uid, app_gid)
        make_directory(data, 0o700, app_uid, app_gid)

    def stage(self, release: str, archive: str, files: dict[str, str], manifest: dict[str, Any]) -> None:
        """Build a release where it will stay; without its manifest it does not count as one."""
        app, path = self.app, self.path(release)
        trusted = not app["python"]["source_builds_enabled"]
        # Building runs code of the packages, so it happens with no more rights than they will have in the app.
        build = account(app["build_user"] if trusted else app["user"])
        home = BUILD_HOME if trusted else os.path.join(self.home, "data")
        make_directory(home, 0o700, build["user"], build["group"])
        if os.path.exists(path):
            shutil.rmtree(path)
        # Open to the build user while it is built, to the app from then on.
        make_directory(path, 0o750, 0, build["group"])
        code = os.path.join(path, "app")
        make_directory(code, 0o755)
        unpack(archive, code)
        for name, content in files.items():
            write_file(os.path.join(path, name), content.encode(), 0o644)
        environment = os.path.join(path, "venv")
        make_directory(environment, 0o755, build["user"], build["group"])
        python = venv.find_interpreter(app["python"]["version"])
        requirements = [os.path.join(path, SERVER_LOCK)]
        if app["python"]["requirements"]:
            requirements.append(os.path.join(code, app["python"]["requirements"]))
        venv.install(
            environment,
            python,
            requirements,
            directory=code,
            uv=app["uv"] if os.path.exists(app["uv"]) else "",
            index_url=app["index_url"],
            wheels=app["wheels"],
            source_builds=not trusted,
            user=build,
            home=home,
        )
        give(environment, 0, 0)
        self._add_to_path(environment, code)
        app_gid = pwd.getpwnam(app["user"]).pw_gid
        variables = (f"export {name}={shlex.quote(value)}\n" for name, value in self.environment(release).items())
        write_file(self.environment_path(release), "".join(variables).encode(), 0o640, 0, app_gid)
        os.chown(path, 0, app_gid)
        write_file(
            os.path.join(path, MANIFEST),
            json.dumps({**manifest, "release": release, "python": python, "staged": time.time()}, indent=1).encode(),
            0o644,
        )

    @staticmethod
    def _add_to_path(environment: str, code: str) -> None:
        """Let the environment import the code, from its root or its src, without building or installing it."""
        (packages,) = (
            os.path.join(environment, "lib", name, "site-packages")
            for name in os.listdir(os.path.join(environment, "lib"))
            if name.startswith("python")
        )
        places = [place for place in (os.path.join(code, "src"), code) if os.path.isdir(place)]
        write_file(os.path.join(packages, "app.pth"), "".join(f"{place}\n" for place in places).encode(), 0o644)

    def check(self, release: str) -> None:
        """Let the server's own checker import the app, as the app's user; raise with the traceback's last line."""
        command = Template(self.app["server"]["check"]).substitute(self.places(release))
        program = self.program(release)
        try:
            venv.run(
                ["/bin/sh", "-c", f"cd {shlex.quote(program['directory'])} && exec {command}"],
                "The check of the entrypoint",
                account(self.app["user"]),
                self.environment(release),
                CHECK_SECONDS,
            )
        except venv.VenvError as error:
            summary, *lines = str(error).splitlines()
            raised = (line for line in reversed(lines) if re.match(r"[A-Za-z_.]*(Error|Exception|Exit)\b", line))
            cause = next(raised, lines[-1] if lines else summary)
            raise ReleaseError(f"entrypoint {self.app['entrypoint']!r} does not import: {cause}") from error

    def start(self, release: str) -> None:
        """Start a release beside the live one and wait until it is healthy; one that does not become so is removed."""
        program = self.program(release)
        name = program["name"]
        text = render_program(program, self.supervisor.log_directory)
        health = self.app["health"]
        end = time.monotonic() + health["timeout"]
        if self.supervisor.current_text(name) != text or self.supervisor.state(name) not in ("RUNNING", "STARTING"):
            self.supervisor.add(name, text)
        while problem := self.health(release, min(5, max(0.1, end - time.monotonic()))):
            if "is FATAL" in problem or time.monotonic() > end:
                raise ReleaseError(
                    f"not healthy on {health['path']} within {health['timeout']} s: {problem}. "
                    f"The end of {self.supervisor.log(program)}:\n{self._log_tail(program)}"
                )
            time.sleep(0.1)

    def discard(self, release: str, with_files: bool) -> None:
        """Remove the program, and the files when told, of a release that did not become the live one."""
        if release == self.current:
            return
        self.supervisor.remove(self.program_name(release))
        if with_files and os.path.exists(self.path(release)):
            shutil.rmtree(self.path(release))

    def _log_tail(self, program: dict[str, Any], lines: int = 15) -> str:
        with suppress(OSError), open(self.supervisor.log(program), encoding="utf-8", errors="replace") as stream:
            return "".join(stream.readlines()[-lines:]).strip()
        return "(empty)"

    def switch(self, release: str) -> None:
        """Make a release the live one."""
        point(self.current_socket, os.path.join("run", f"{release}.sock"))
        point(self.current_link, os.path.join("releases", release))

    def retire(self, release: str) -> None:
        """Stop every other release's program, and keep the newest releases only."""
        for name in self.programs():
            if name != self.program_name(release):
                self.supervisor.remove(name)
                with suppress(FileNotFoundError):
                    os.unlink(self.socket(name.rpartition("-")[2]))
        others = [name for name in self.staged() if name != release]
        kept = {release, *others[max(0, len(others) + 1 - self.app["releases_kept"]) :]}
        for name in os.listdir(self.root):
            if name not in kept:
                shutil.rmtree(self.path(name))

    def log(self, release: str, result: str) -> None:
        """Add one line to the app's audit log."""
        line = {"time": time.strftime(TIME_FORMAT, time.gmtime()), "release": release, "result": result}
        descriptor = os.open(os.path.join(self.home, "releases.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
            stream.write(json.dumps({**line, "by": self.app["deployer"]}) + "\n")
