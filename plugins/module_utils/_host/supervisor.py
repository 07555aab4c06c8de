# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak to supervisord: render a program, apply it, ask for its state."""

from __future__ import annotations

import configparser
import glob
import http.client
import os
import re
import shlex
import signal
import subprocess
import time
import xmlrpc.client
from contextlib import suppress
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.files import PLAIN, write_file
from ansible_collections.baremetal.web.plugins.module_utils._host.processes import family, running
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import AddressConnection

CONFIG = "/etc/supervisord/supervisord.conf"
POLL_SECONDS = 0.1
# Below the control group of its unit, supervisord has one of this name, and each start of a process one of its own.
OWN_GROUP = "/supervisord"
CONTROL_GROUPS = "/sys/fs/cgroup"
LEEWAY_SECONDS = 5
CAP_SYS_ADMIN = 1 << 21
# Which part of the kernel holds a limit.
CONTROLLERS = {"memory": "memory", "processes": "pids"}

# The options of a program in the order of supervisord's own documentation.
_OPTIONS = (
    "command", "directory", "user", "umask", "priority", "autostart", "autorestart", "startsecs", "startretries",
    "stopsignal", "stopwaitsecs", "stopasgroup", "killasgroup",
)  # fmt: skip


_FARTHEST_FIRST = ("FATAL", "UNKNOWN", "STOPPING", "STOPPED", "EXITED", "BACKOFF", "STARTING", "RUNNING")


class SupervisorError(Exception):
    """supervisord cannot be reached, or does not do as asked."""


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout: float):
        super().__init__()
        self.path = path
        self.timeout = timeout

    def make_connection(self, host: Any) -> AddressConnection:
        return AddressConnection(self.path, self.timeout)


def _ini(value: Any) -> str:
    """Return a value as supervisord's configuration takes it; refuse what it would read as something else."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if re.search(r"[\x00-\x1f\x7f]|(^|\s)[;#]|%\(here\)s", text):
        raise SupervisorError(
            f"{_shortened(text)} cannot stand in supervisord's configuration. It has a control character, %(here)s, "
            "or a ; or # at its start or after a space, which starts a comment there. Put it into a script."
        )
    return text.replace("%", "%%")


def _shortened(text: str) -> str:
    return repr(text if len(text) < 60 else f"{text[:60]}…")


def _environment(variables: dict[str, Any]) -> str:
    """Quote variables for supervisord, which knows no escape inside quotes; the message never shows a value."""
    for name, value in variables.items():
        if re.search(r"[\x00-\x1f\x7f\"]|\s[;#]|^'|'$|%\(here\)s", str(value)):
            raise SupervisorError(
                f"The value of the environment variable {name} cannot stand in supervisord's configuration. It has a "
                "double quote, a control character, %(here)s, a ; or # after a space, or a single quote at its start "
                "or end. Let the program read it from a file."
            )
    return ",".join(f'{name}="{value}"' for name, value in sorted(variables.items())).replace("%", "%%")


def render_program(program: dict[str, Any], log_directory: str) -> str:
    """Return the section of one program; its output goes to one rotated log."""
    lines = ["# Ansible managed", "", f"[program:{program['name']}]"]
    lines += [f"{option} = {_ini(program[option])}" for option in _OPTIONS]
    number = "-%(process_num)d" if program.get("number", 1) > 1 else ""
    if number:
        lines += [f"numprocs = {program['number']}", f"process_name = %(program_name)s{number}"]
    if program["environment"]:
        lines.append(f"environment = {_environment(program['environment'])}")
    lines += [
        "redirect_stderr = true",
        f"stdout_logfile = {_ini(os.path.join(log_directory, program['log_name'] or program['name']))}{number}.log",
        f"stdout_logfile_maxbytes = {program['log_maxbytes']}",
        f"stdout_logfile_backups = {program['log_backups']}",
    ]
    return "\n".join(lines) + "\n"


_LOG_END = 1 << 14
_ENDED = re.compile(r"exited: (\S+) \((exit status \d+|terminated by \w+)")


def add_groups(groups: set[int]) -> None:
    """Add the process groups that members of these have made; RQ, for example, makes one for each task."""
    known = running()
    members = family((number for number, process in known.items() if process.group in groups), known)
    groups |= {known[number].group for number in members}


def end_groups(groups: set[int], seconds: float) -> None:
    """End what the first process of a group has left behind, a shell for example the program that it waited for.

    Asked are those alone that no other one of the groups has started; what is left after so many seconds is killed.
    """
    asked: set[int] = set()
    end = time.monotonic() + seconds
    while found := {number: process for number, process in running().items() if process.group in groups}:
        late = time.monotonic() > end
        for number, process in found.items():
            if late or (process.parent not in found and number not in asked):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(number)
        time.sleep(POLL_SECONDS)


def _members(patterns: list[str]) -> set[int]:
    """Return the processes in control groups."""
    found: set[int] = set()
    for pattern in patterns:
        for group in glob.glob(pattern):
            with suppress(OSError), open(os.path.join(group, "cgroup.procs"), encoding="ascii") as lines:
                found.update(map(int, lines))
    return found


def host_controllers() -> set[str]:
    """Return what control groups of this host can limit."""
    with suppress(OSError), open(f"{CONTROL_GROUPS}/cgroup.controllers", encoding="ascii") as stream:
        return set(stream.read().split())
    return set()


def mount_problem() -> str:
    """Return why root may not mount for a process alone on this host, in a container for example; empty when it may."""
    command = ["unshare", "--mount", "--propagation", "slave", "mount", "--bind", "/tmp", "/tmp"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **PLAIN}, timeout=60)
    return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""


def wait_until_empty(patterns: list[str], seconds: float) -> None:
    """Wait until nothing is left in control groups; what is after so many seconds is killed."""
    end = time.monotonic() + seconds
    while found := _members(patterns):
        if time.monotonic() > end:
            for number in found:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


class Supervisor:
    """The supervisord whose configuration is given."""

    def __init__(self, config: str = CONFIG, timeout: float = 20):
        parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
        if not parser.read(config):
            raise SupervisorError(f"{config} is missing: supervisord is not installed on this host by this collection.")
        self.directory = os.path.dirname(parser.get("include", "files"))
        self.log_directory = parser.get("supervisord", "childlogdir")
        self.socket = parser.get("unix_http_server", "file")
        # The role's own section, which supervisord passes over.
        self.launcher = parser.get("baremetal", "launcher", fallback="")
        self._rpc = xmlrpc.client.ServerProxy("http://localhost/RPC2", _UnixTransport(self.socket, timeout)).supervisor

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of supervisord's XML-RPC interface."""
        try:
            return getattr(self._rpc, method)(*arguments)
        except OSError as error:
            raise SupervisorError(f"supervisord does not answer on {self.socket}: {error}") from error
        except xmlrpc.client.Fault as error:
            # What follows is the value, which may be secret.
            reason = error.faultString.partition(" in value ")[0]
            raise SupervisorError(f"supervisord refuses {method}{arguments}: {reason}") from error
        except (xmlrpc.client.Error, http.client.HTTPException) as error:
            raise SupervisorError(f"supervisord gives no sensible answer on {self.socket}: {error!r}") from error

    def launch(self, user: str, **wanted: str) -> list[str]:
        """Return the words before a command that the launcher, which root starts, runs as a user."""
        if not self.launcher:
            raise SupervisorError(
                "supervisord of this host was set up by an earlier version of this collection, which cannot start the "
                "programs of this one. Run site.yml first: it brings supervisord up to date."
            )
        return [
            *shlex.split(self.launcher),
            *(f"{key}={value}" for key, value in {"user": user, **wanted}.items()),
            "--",
        ]

    def confined(self, program: dict[str, Any], **wanted: str) -> dict[str, Any]:
        """Return a program as supervisord starts it: as root, by the launcher, which then becomes its user."""
        words = shlex.join(self.launch(program["user"], **wanted))
        return {**program, "user": "root", "command": f"{words} {program['command']}"}

    def path(self, name: str) -> str:
        return os.path.join(self.directory, f"{name}.conf")

    def log(self, program: dict[str, Any]) -> str:
        number = "-0" if program.get("number", 1) > 1 else ""
        return os.path.join(self.log_directory, f"{program['log_name'] or program['name']}{number}.log")

    def programs(self) -> set[str]:
        """Return the names of the programs that have a file."""
        return {os.path.basename(path)[: -len(".conf")] for path in glob.glob(os.path.join(self.directory, "*.conf"))}

    def _processes(self, name: str) -> list[dict[str, Any]]:
        return [process for process in self.call("getAllProcessInfo") if process["group"] == name]

    def states(self, name: str) -> list[str]:
        """Return the state of each process of a program; none when supervisord does not know it."""
        return [process["statename"] for process in self._processes(name)]

    def processes(self, name: str) -> list[int]:
        """Return the ids of the processes of a program that run."""
        return [process["pid"] for process in self._processes(name) if process["pid"]]

    def ending(self, name: str) -> str:
        """Say how a process of a program has ended last; empty where supervisord's log does not tell."""
        names = {process["name"] for process in self._processes(name)}
        said = ""
        with suppress(SupervisorError):
            said = self.call("readLog", -_LOG_END, 0)  # its other calls forget the status of what ended at once
        ends = [how for one, how in _ENDED.findall(said) if one in names]
        if not ends:
            return ""
        if ends[-1] == "exit status 0":
            return ", with exit status 0; a program has to stay in the foreground, so leave options like --detach out"
        return f", {'with ' * ends[-1].startswith('exit')}{ends[-1]}"

    def state(self, name: str) -> str:
        """Return the state of a program, of several processes the one that is farthest from running, or ABSENT."""
        return min(self.states(name), key=_FARTHEST_FIRST.index, default="ABSENT")

    def current_text(self, name: str) -> str | None:
        with suppress(FileNotFoundError), open(self.path(name), encoding="utf-8") as stream:
            return stream.read()
        return None

    def add(self, name: str, text: str) -> None:
        """Let supervisord take up one program; when it refuses the file, all is as it was."""
        before = self.current_text(name)
        write_file(self.path(name), text.encode(), 0o600)
        try:
            self.call("reloadConfig")
        except SupervisorError:
            if before is None:
                os.unlink(self.path(name))
            else:
                write_file(self.path(name), before.encode(), 0o600)
            raise
        self._forget(name)
        self.call("addProcessGroup", name)

    def remove(self, *names: str) -> None:
        """Stop programs, all at a time and each within its stopwaitsecs, and remove them and their files."""
        self._forget(*names)
        # Last, for programs are found by their files.
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.path(name))
        self.call("reloadConfig")

    def control_groups(self) -> str:
        """Return the directory of the control groups that supervisord gives its processes; empty for none."""
        with suppress(OSError), open(f"/proc/{self.call('getPID')}/cgroup", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("0::") and line.rstrip().endswith(OWN_GROUP):
                    return f"{CONTROL_GROUPS}{line[len('0::') :].rstrip()[: -len(OWN_GROUP)]}"
        return ""

    def controllers(self) -> set[str]:
        """Return what the control groups of supervisord's processes can limit."""
        with suppress(OSError), open(f"{self.control_groups()}/cgroup.subtree_control", encoding="ascii") as stream:
            return set(stream.read().split())
        return set()

    def can_mount(self) -> bool:
        """Tell whether supervisord may mount, so that a program can have a /tmp of its own."""
        with open(f"/proc/{self.call('getPID')}/status", encoding="utf-8") as lines:
            permitted = next(line.split()[1] for line in lines if line.startswith("CapPrm:"))
        return bool(int(permitted, 16) & CAP_SYS_ADMIN)

    def _forget(self, *names: str) -> None:
        """Stop programs and remove them; supervisord kills one that is not down within its stopwaitsecs."""
        states = {name: state for name in names if (state := self.state(name)) != "ABSENT"}
        if not states:
            return
        groups = {process for name in states for process in self.processes(name)}
        infos = [info for info in self.call("getAllConfigInfo") if info["group"] in states]
        seconds = max((info["stopwaitsecs"] for info in infos), default=0)
        add_groups(groups)
        for name, state in states.items():
            if state != "STOPPING":
                self.call("stopProcessGroup", name, False)
        while any(self.state(name) == "STOPPING" for name in states):
            add_groups(groups)
            time.sleep(POLL_SECONDS)
        if unit := self.control_groups():
            # supervisord has asked what is left to end, in a process of its own.
            wait_until_empty([f"{unit}/{name}:*" for name in states], seconds + LEEWAY_SECONDS)
        else:
            end_groups(groups, seconds)
        for name in states:
            self.call("removeProcessGroup", name)

    def wait(self, name: str, seconds: float) -> str:
        """Wait until a program has settled; return its state."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state(name)
            if state not in ("STARTING", "BACKOFF", "STOPPING") or time.monotonic() > deadline:
                return state
            time.sleep(POLL_SECONDS)
