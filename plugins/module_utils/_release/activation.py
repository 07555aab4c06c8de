# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a release the live one, at a deploy and a rollback alike: it proves itself before any client gets it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from string import Template
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host import venv
from ansible_collections.baremetal.web.plugins.module_utils._host.files import write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.processes import children
from ansible_collections.baremetal.web.plugins.module_utils._host.shell_line import shell_command
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import port_holders
from ansible_collections.baremetal.web.plugins.module_utils._host.supervisor import (
    POLL_SECONDS,
    Supervisor,
    SupervisorError,
    render_program,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit
from ansible_collections.baremetal.web.plugins.module_utils._release.endpoints import endpoint_of
from ansible_collections.baremetal.web.plugins.module_utils._release.home import (
    Home,
    ReleaseError,
)
from ansible_collections.baremetal.web.plugins.module_utils._release.layout import slot_port
from ansible_collections.baremetal.web.plugins.module_utils._release.probe import PROBE_SECONDS, Probe
from ansible_collections.baremetal.web.plugins.module_utils._release.programs import Programs
from ansible_collections.baremetal.web.plugins.module_utils._release.retirement import Retirement
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import (
    ENVIRONMENT,
    account,
    account_variables,
    read_environment,
)

CHECK_SECONDS = 60
SOCKET_MODE = 0o660  # the launcher's
Around = Callable[[str], contextlib.AbstractContextManager[dict[str, str]]]


def _as_it_is(_user: str) -> contextlib.AbstractContextManager[dict[str, str]]:
    return contextlib.nullcontext({})


class Activation:
    """One release that is to become, or is, the live one."""

    def __init__(self, home: Home, supervisor: Supervisor, release: str):
        self.home = home
        self.supervisor = supervisor
        self.programs = Programs(home, supervisor)
        self.release = release
        self.manifest = home.manifest(release)
        self.description = self.manifest.get("description")
        if not self.description:
            raise ReleaseError(
                f"Release {release} cannot run. It is not complete, or an earlier version of this collection has made "
                "it. Deploy the app again."
            )
        self.retirement = Retirement(home, self.programs, self.description)
        self.slot = home.slot_of(release)
        self.step = ""
        self.seconds: dict[str, float] = {}
        self.log_starts: dict[str, tuple[int, int]] = {}
        self.ran: list[str] = []  # the hooks

    # What the release consists of

    @property
    def name(self) -> str:
        return self.home.program(self.release)

    def placeholders(self) -> dict[str, str]:
        """Return what the placeholders of a server's command stand for."""
        release = self.home.release(self.release)
        return {"release": release, "python": os.path.join(release, "venv", "bin", "python")}

    @property
    def endpoint(self) -> dict[str, Any]:
        """Return the protocol and the port by which a web server reaches it."""
        return endpoint_of(self.description)

    @property
    def address(self) -> str:
        """Return where it listens: the path of a unix socket, or ADDRESS:PORT; each slot has its own port."""
        port = self.endpoint["port"]
        return f"127.0.0.1:{slot_port(port, self.slot)}" if port else self.home.socket(self.release)

    def own_variables(self) -> dict[str, str]:
        """Return the variables that depend on the slot."""
        variables = {"APP_SOCKET": self.address}
        if port := self.description.get("stats_port"):
            variables["APP_STATS_PORT"] = str(slot_port(port, self.slot))
        return variables

    def server(self, autostart: bool = True) -> dict[str, Any]:
        """Return the server's program, its placeholders filled in."""
        # Releases of earlier versions of this collection have another stopasgroup, which ends what a pool works at.
        own = {"name": self.name, "autostart": autostart, "environment": {}, "stopasgroup": False}
        program = {**self.description["program"], **own, "limits": self.description.get("limits", {})}
        for key in ("command", "directory"):
            program[key] = Template(program[key]).substitute(self.placeholders())
        program["command"] = self._with_environment(f"exec {program['command']}")
        return program

    def background(self) -> list[dict[str, Any]]:
        """Return the background programs."""
        server = self.server()
        return [
            {
                **server,
                "name": f"{self.name}.{program['name']}",
                "command": self._with_environment(shell_command(program["command"])),
                "number": program["number"],
                "stopwaitsecs": program["stop_timeout"],
                "log_name": f"{self.home.name}.{program['name']}",
                "stopsignal": "TERM",
                "limits": program.get("limits", {}),
            }
            for program in self.description["programs"]
        ]

    def _with_environment(self, script: str) -> str:
        file = os.path.join(self.home.release(self.release), ENVIRONMENT)
        own = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.own_variables().items())
        return f"/bin/sh -c {shlex.quote(f'. {shlex.quote(file)} && export {own} && {script}')}"

    def environment(self) -> dict[str, str]:
        path = os.path.join(self.home.release(self.release), ENVIRONMENT)
        try:
            return {**read_environment(path), **self.own_variables()}
        except ValueError:
            raise ReleaseError(
                f"{path} cannot be read. It is not as it was written. Release the app again with -e redeploy=true."
            ) from None

    def text(self, program: dict[str, Any]) -> str:
        # The background programs do not listen.
        listens = program["name"] == self.name and self._binds()
        own = {"socket": self.home.socket(self.release)} if listens else {}
        own |= {key: str(value) for key, value in sorted(program["limits"].items()) if value}
        own |= self._tmp()
        return render_program(self.supervisor.confined(program, **own), self.supervisor.log_directory)

    def _tmp(self) -> dict[str, str]:
        """Return what tells the launcher which /tmp the release sees."""
        private = self.description.get("private_tmp")
        if private is None:  # of an earlier version of this collection: as supervisord
            return {}
        return {"private_tmp": self.home.private, "private_shm": self.home.shm} if private else {"private_tmp": "no"}

    def _unit(self, user: str, **more: Any) -> Unit:
        """Return the unit of a command: as the app's user it sees the /tmp of the app, as another one the host's."""
        if user != self.description["user"]:
            return Unit(self.home.name, user, private=False, **more)
        if not (tmp := self._tmp()):
            return Unit(self.home.name, user, **more)
        return Unit(self.home.name, user, private=False, launcher=self.supervisor.launch("root", **tmp), **more)

    # How it is

    def health(self, seconds: float = PROBE_SECONDS, advised: bool = False) -> str:
        """Return what is wrong with the server's program and its answer, and what to do; empty when all is well."""
        state = self.supervisor.state(self.name)
        if state != "RUNNING":
            ending = self.supervisor.ending(self.name) if state in ("BACKOFF", "EXITED", "FATAL") else ""
            return f"its program {self.name} is {state}{ending}"
        if self.endpoint["port"] and (others := self._port_conflicts()):
            return f"{self.address} is held by {', '.join(sorted(others))}, which does not belong to this release"
        return Probe.of(self.description).problem(self.address, seconds, self.endpoint["protocol"], advised)

    def _port_conflicts(self) -> set[str]:
        """Return the programs of others on the release's port."""
        return port_holders(self.address, self.supervisor.processes(self.name))

    def health_problem(self) -> str:
        """Return what is wrong with the release and all its programs; empty when all is well."""
        states = {program["name"]: self.supervisor.states(program["name"]) for program in self.background()}
        sick = (
            f"its program {name} is {state}"
            for name, found in states.items()
            for state in found or ["ABSENT"]
            if state != "RUNNING"
        )
        return self.health() or next(sick, "")

    def irreversible(self) -> list[str]:
        """Return the names of the migrations that cannot be undone."""
        return [hook["name"] for hook in self.description["hooks"]["migrate"] if hook["irreversible_enabled"]]

    def longest(self) -> float:
        """Return the seconds that the activation may take."""
        health, hooks = self.description["health"], self.description["hooks"]
        timeouts = [hook["timeout"] for kind in ("before_activate", "after_activate") for hook in hooks[kind]]
        return health["timeout"] + health["stable"] * (2 if self.background() else 1) + sum(timeouts)

    def drift(self) -> str:
        """Return how the host differs from the release as it is described; empty when it has converged."""
        if self.home.current != self.release:
            return "it is not live"
        if self.manifest.get("healthy") is None:
            return "it has not proved to be healthy"
        # supervisord itself may have been started a moment ago.
        self.supervisor.wait(self.name, self.description["program"]["startsecs"] + 5)
        return (
            self._drift_of_directories() or self._drift_of_links() or self._drift_of_programs() or self.health_problem()
        )

    def _drift_of_directories(self) -> str:
        """Return which directory is not as it was made, or who may not connect to the socket; the probe is root."""
        if path := self.home.misplaced_directory(self.description["user"]):
            return f"{path} is missing, or is not open to those alone who need it"
        socket = self.home.socket(self.release)
        if self._binds() and os.path.exists(socket) and self._socket_state() != self._socket_wanted():
            return f"{socket} is not open to those alone who need it"
        return ""

    def _binds(self) -> bool:
        """Tell whether the launcher binds a socket for the server."""
        return not self.endpoint["port"] and self.home.has_own_socket(self.release)

    def _socket_state(self) -> tuple[int, int, int]:
        info = os.stat(self.home.socket(self.release))
        return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid

    def _socket_wanted(self) -> tuple[int, int, int]:
        """Return what the launcher makes of a socket."""
        return SOCKET_MODE, account(self.description["user"])[0], os.stat(self.home.sockets).st_gid

    def _open_socket(self) -> None:
        """Let those connect to the socket who are to."""
        socket = self.home.socket(self.release)
        if self._binds() and os.path.exists(socket):
            mode, uid, gid = self._socket_wanted()
            os.chown(socket, uid, gid)
            os.chmod(socket, mode)

    def _drift_of_links(self) -> str:
        """Return which link leads to another release."""
        home = self.home
        if os.path.basename(os.path.realpath(home.current_link)) != self.release:
            return f"{home.current_link} does not lead to it"
        if os.path.realpath(home.current_socket) != os.path.realpath(home.socket(self.release)):
            return f"{home.current_socket} does not lead to its socket"
        if home.occupant(home.slot) != self.release:
            return f"{home.slot_link(home.slot)} does not lead to its socket"
        return ""

    def _drift_of_programs(self) -> str:
        """Return which program of supervisord is left over, starts with the host, or is not as described."""
        home, standby = self.home, self.home.standby
        if others := set(self.programs.releases()) - {self.release, standby}:
            return f"supervisord has programs of {', '.join(sorted(others))}"
        if self.programs.of(standby) not in ([], [home.program(standby)]):
            return f"supervisord has background programs of {standby}, which is not live"
        if "autostart = true" in (self.supervisor.current_text(home.program(standby)) or ""):
            return f"the program {home.program(standby)} would start with the host, and its release is not live"
        wanted = {program["name"]: self.text(program) for program in (self.server(), *self.background())}
        found = {name: self.supervisor.current_text(name) for name in self.programs.of(self.release)}
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        return f"supervisord has not as described: {', '.join(differing)}" if differing else ""

    # The steps of an activation

    @contextlib.contextmanager
    def doing(self, step: str) -> Iterator[None]:
        """Name the step that the block is, and note how long it takes."""
        self.step, started = step, time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(time.monotonic() - started, 2)

    def check(self) -> None:
        """Let the server's own checker import the app, as the app's user; raise with what the app says of it."""
        command = Template(self.description["check"]).substitute(self.placeholders())
        try:
            venv.run(
                ["/bin/sh", "-c", f"exec {command}"],
                "The check of the entrypoint",
                self._unit(self.description["user"], confined=True),
                self.environment(),
                CHECK_SECONDS,
                directory=self.server()["directory"],
                lines=200,
            )
        except venv.VenvError as error:
            summary, *lines = str(error).splitlines()
            raised = (line for line in reversed(lines) if re.match(r"[A-Za-z_.]*(Error|Exception|Exit)\b", line))
            cause = next(raised, lines[-1] if lines else summary)
            said = "\n".join([cause, *self._own_frames("\n".join(lines)), *self._unwritable(cause)])
            raise ReleaseError(f"entrypoint {self.description['entrypoint']!r} does not import: {said}") from error

    def _own_frames(self, traceback: str, most: int = 8) -> list[str]:
        """Return the last frames of a traceback, those of its causes too, that are in the app's own files."""
        code = os.path.realpath(os.path.join(self.home.release(self.release), "app"))
        frames = re.findall(r'^ *File "([^"\n]+)", line (\d+)(?:, in [^\n]*)?$(?=\n *(.*))', traceback, re.MULTILINE)
        own = [
            f"  {os.path.relpath(os.path.realpath(path), code)} line {line}: {text}".rstrip()
            for path, line, text in frames
            if os.path.realpath(path).startswith(f"{code}/")
        ]
        return list(dict.fromkeys(own))[-most:]

    def _unwritable(self, cause: str) -> list[str]:
        """Return what to do about a file of the release that the app wanted to write."""
        release = re.escape(self.home.release(self.release))
        found = re.search(rf"(?:Permission denied|Read-only file system): '{release}/(?:app/)?([^'\n]+)'", cause)
        if not found:
            return []
        path = found[1] if not re.match(r"venv(/var)?$", found[1]) else "venv/var/PACKAGE-instance"
        return [
            "The app wants to write into its release, which is read-only. Keep the data below HOME, or add its path "
            f"to shared.directories or shared.files, such as {path}."
        ]

    def hooks(self, kind: str, run_once: bool, around: Around = _as_it_is) -> list[str]:
        """Run the hooks of a kind, those for the whole fleet or those for each host; return their names.

        Each runs inside ``around(user)``, which may mount other directories over the release's, and no process outlives
        it.
        """
        chosen = [hook for hook in self.description["hooks"][kind] if hook["run_once"] == run_once]
        for hook in chosen:
            user = hook["user"] or self.description["user"]
            account(user)
            with around(user) as binds:
                venv.run(
                    ["/bin/sh", "-c", hook["command"]],
                    f"The hook {hook['name']} of {kind}",
                    self._unit(user, binds=binds),
                    self._environment_of(user),
                    hook["timeout"],
                    directory=os.path.join(self.home.release(self.release), "app"),
                )
            self.ran.append(hook["name"])
        return [hook["name"] for hook in chosen]

    def _environment_of(self, user: str) -> dict[str, str]:
        """Return the variables for a hook; the app can change its own, so nobody else runs with those."""
        if user == self.description["user"]:
            return self.environment()
        own = {**account_variables(user), "APP_RELEASE": self.release, **self.own_variables()}
        return {"HOME": pwd.getpwnam(user).pw_dir, **own}

    def run(self) -> dict[str, Any]:
        """Make the release the live one, or raise with everything as it was; return what it took."""
        started, previous = time.monotonic(), self.home.current
        self.home.chown_data(self.description["user"])
        self.home.follow()
        if previous == self.release:
            self._repair()
        else:
            self._take_over(previous)
        # It is live, and the next run does the rest.
        with suppress(SupervisorError, OSError, subprocess.SubprocessError):
            self.retirement.retire(self.release)
        self.seconds["total"] = round(time.monotonic() - started, 2)
        return {"release": self.release, "previous": previous, "seconds": self.seconds}

    def _repair(self) -> None:
        """Let the live release run as described; nothing is restarted that is well."""
        with self.doing("start"):
            self._start()
            self.prove()
        self._take_slot(self.home.slot)
        self._stop_background(self.home.standby)
        self.run_background()

    def _take_over(self, previous: str) -> None:
        warm = self.is_warm()
        slot = self.slot
        standby = self.home.occupant(slot)
        try:
            if not warm:
                with self.doing("start"):
                    self.retirement.clear_slot(slot)
                    if self.endpoint["port"] and (others := self._port_conflicts()):
                        raise ReleaseError(
                            f"The release cannot listen on {self.address}. It is held by {', '.join(sorted(others))}. "
                            "Stop that program, or choose another server.port."
                        )
                    self._start()
                self.prove()
            with self.doing("before_activate"):
                self.hooks("before_activate", run_once=False)
        except Exception:
            # Either may be the very reason.
            with suppress(SupervisorError, OSError, subprocess.SubprocessError):
                if warm:
                    self.retirement.schedule(self.release)
                else:
                    self.programs.remove(self.release)
                    if standby:  # it stays in its slot, cold from now on
                        self.home.occupy(slot, standby)
            raise
        live = self.home.slot
        try:
            with self.doing("switch"):
                self._take_slot(slot)
            with self.doing("background"):
                self._stop_background(previous)
                self.run_background()
                if not warm:
                    self._prove_background()
            with self.doing("after_activate"):
                self.hooks("after_activate", run_once=False)
        except Exception:
            self._revert(previous, live)
            raise

    def is_warm(self) -> bool:
        """Tell whether the release still runs, healthy, in the slot beside the live one."""
        with suppress(SupervisorError):
            if self.home.standby == self.release and self.manifest.get("healthy"):
                self.retirement.cancel()
                return not self.health()
        return False

    def _start(self) -> None:
        """Start the server's program unless it is live and runs; it starts with the host only once it is live."""
        live = self.home.current == self.release
        # A server does not notice that its socket is gone, and nobody can connect any more.
        reachable = not self._binds() or os.path.exists(self.home.socket(self.release))
        program = self.server(autostart=live)
        account(program["user"])  # supervisord would learn of it only when the launcher ends
        text = self.text(program)
        self._note_log(program)
        if live and reachable and self.supervisor.state(self.name) in ("RUNNING", "STARTING"):
            self._open_socket()
            if self.supervisor.current_text(self.name) != text:
                write_file(self.supervisor.path(self.name), text.encode(), 0o600)
            return
        # supervisord remembers what a live one has, so that an `update` by somebody does not restart that.
        self.supervisor.add(self.name, self.text(self.server()))
        if not live:
            self.autostart(False)

    def prove(self) -> None:
        """Wait until the server is healthy, and see that it stays so, with the same processes."""
        health = self.description["health"]
        begun = time.monotonic()
        end = begun + health["timeout"]
        with self.doing("healthy"):
            # The last question has time for its answer on a busy host too: the answer is what has to be told.
            while problem := self.health(min(PROBE_SECONDS, max(1, end - time.monotonic())), advised=True):
                if "is FATAL" in problem or time.monotonic() > end:
                    raise self._unhealthy(f"not healthy on {health['path']} within {health['timeout']} s: {problem}")
                time.sleep(POLL_SECONDS)
        with self.doing("stable"):
            before: set[int] = set()
            while True:
                problem, now = self.health(advised=True), self._processes()
                if problem or not before <= now:
                    problem = problem or "a process of it has ended"
                    after = f"{time.monotonic() - begun:.1f} s after its start"
                    raise self._unhealthy(f"healthy on {health['path']} at first, but not {after}: {problem}")
                if time.monotonic() > begun + health["stable"]:
                    break
                before = now
                time.sleep(0.2)
        if self.manifest.get("healthy") is None:
            self.manifest["healthy"] = time.time()
            self.home.remember(self.release, healthy=self.manifest["healthy"])

    def _processes(self) -> set[int]:
        (process,) = self.supervisor.processes(self.name) or (0,)
        return {process, *children(process)}

    def _unhealthy(self, problem: str, program: dict[str, Any] | None = None) -> ReleaseError:
        program = program or self.server()
        return ReleaseError(f"{problem}. The end of {self.supervisor.log(program)}:\n{self._log_tail(program)}")

    def _note_log(self, program: dict[str, Any]) -> None:
        """Note where a log ends, so that a message shows what this attempt has added."""
        with suppress(OSError):
            found = os.stat(self.supervisor.log(program))
            self.log_starts[program["name"]] = (found.st_ino, found.st_size)

    def _log_tail(self, program: dict[str, Any], lines: int = 15) -> str:
        inode, size = self.log_starts.get(program["name"], (0, 0))
        with suppress(OSError), open(self.supervisor.log(program), encoding="utf-8", errors="replace") as stream:
            found = os.fstat(stream.fileno())
            # One that was rotated meanwhile is another file, or shorter.
            stream.seek(size if found.st_ino == inode and found.st_size >= size else 0)
            return "".join(stream.readlines()[-lines:]).strip() or "(nothing of this attempt)"
        return "(empty)"

    def _take_slot(self, slot: str) -> None:
        """Switch. Both programs start with the host for a moment, never none."""
        self.autostart(True)
        self.home.switch(self.release, slot)

    def autostart(self, wanted: bool) -> None:
        """Say whether the server starts with the host; supervisord reads that when it starts itself."""
        write_file(self.supervisor.path(self.name), self.text(self.server(wanted)).encode(), 0o600)

    def run_background(self) -> None:
        """Run the background programs as described."""
        for program in self.background():
            text = self.text(program)
            name = program["name"]
            self._note_log(program)
            states = self.supervisor.states(name)
            if self.supervisor.current_text(name) != text or set(states) - {"RUNNING", "STARTING"} or not states:
                self.supervisor.add(name, text)
        for program in self.background():
            end = time.monotonic() + program["startsecs"] + 10
            while set(states := self.supervisor.states(program["name"])) != {"RUNNING"}:
                if "FATAL" in states or time.monotonic() > end:
                    found = f"{', '.join(sorted(set(states)))}{self.supervisor.ending(program['name'])}"
                    raise self._unhealthy(f"its program {program['name']} is {found}", program)
                time.sleep(POLL_SECONDS)

    def _prove_background(self) -> None:
        """See that the background programs stay, with the same processes, for as long as the server has to."""
        stable, begun = self.description["health"]["stable"], time.monotonic()
        before = {program["name"]: self.supervisor.processes(program["name"]) for program in self.background()}
        while before and time.monotonic() < begun + stable:
            time.sleep(0.2)
            for program in self.background():
                if self.supervisor.processes(program["name"]) != before[program["name"]]:
                    after = f"within {stable} s after it began to run{self.supervisor.ending(program['name'])}"
                    raise self._unhealthy(f"its program {program['name']} has ended {after}", program)

    def _stop_background(self, release: str) -> None:
        if release:
            self.supervisor.remove(*self.programs.background(release))

    def _revert(self, previous: str, slot: str) -> None:
        """Go back to the release that was live before, which still runs; then end this one."""
        if previous:
            self.home.switch(previous, slot)
        else:
            self.home.deactivate()
        # What does not work any more is for the next run, and keeps no other step from being done: what has to be told
        # is why this happened.
        with suppress(SupervisorError, OSError):
            self._stop_background(self.release)
        if previous:
            with suppress(SupervisorError, ReleaseError, OSError):
                Activation(self.home, self.supervisor, previous).run_background()
            # Requests that this release has got are answered by it.
            self.retirement.wait_for_requests()
            with suppress(OSError):
                self.home.vacate(self.home.other_slot())
        with suppress(SupervisorError, OSError):
            self.programs.remove(self.release)

    def deactivate(self) -> None:
        """Let no release be live."""
        self._revert("", self.slot)


def crossed(home: Home, release: str) -> list[str]:
    """Return the irreversible migrations that happened on this host since a release was live the last time."""
    rows = home.history()
    lives = (index for index, row in enumerate(rows) if row.get("result") == "live" and row["release"] == release)
    last = max(lives, default=-1)
    happened = {
        f"{name} of {row['release']}": None
        for row in rows[last + 1 :]
        for name in row.get("irreversible", [])
        if row["release"] != release
    }
    return list(happened)
