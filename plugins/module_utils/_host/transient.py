# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command as another account, in a unit of systemd that is made for it: nothing of it outlives it.

Without systemd or its bus, namespaces of the kernel do the same, but for a C(/tmp) of its own.
"""

from __future__ import annotations

import glob
import os
import pwd
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

BUS = "/run/dbus/system_bus_socket"
UNITS = "/run/systemd/transient"
LEEWAY_SECONDS = 30


class Unit(NamedTuple):
    """As whom a command runs, and what it sees."""

    name: str  # one of a name runs at a time
    user: str
    binds: Mapping[str, str] = {}  # directories, and those that stand in their place
    private: bool = True  # a /tmp of its own
    confined: bool = False  # no program gives it more rights than the account has
    launcher: Sequence[str] = ()  # words before the command, for another /tmp; they run as root

    @property
    def services(self) -> str:
        """The names that its services have; each is new, because systemd may still know the previous one."""
        return f"baremetal-web-step-{self.name}.*.service"


def environment_text(variables: Mapping[str, str]) -> str:
    """Return variables in a shell's notation: supervisord's own holds neither every quote nor a line break."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def run(
    command: list[str], variables: Mapping[str, str], seconds: float, directory: str, unit: Unit | None = None
) -> tuple[int, str]:
    """Run a command with these variables alone; return its exit status and its output.

    After so many seconds it is ended, with all that it has started, and TimeoutError is raised. Without a unit it runs
    as root, as a child.
    """
    # Variables may be secret, and systemd would fill in what a command has after a dollar; so neither is an argument.
    script = f"umask 022\n{environment_text(variables)}exec {shlex.join(command)} </dev/null\n"
    plain = ["/usr/bin/env", "-i", "/bin/sh", "-c", 'eval "$(/bin/cat)"']
    # Root goes there: an account may run where it cannot go by itself.
    there = ["/bin/sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", directory, *_as_account(unit), *plain]
    with subprocess.Popen(  # pylint: disable=ansible-bad-function
        [*_prefix(unit, seconds), *there],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            output = process.communicate(script.encode(errors="surrogateescape"), seconds)[0]
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"{seconds:g} s") from None
        finally:
            if unit:
                end(unit)
    return process.returncode, output.decode(errors="replace")


def _as_account(unit: Unit | None) -> list[str]:
    """Return what becomes the account; who is not root stays who he is."""
    if not unit or os.geteuid():
        return []
    group = pwd.getpwnam(unit.user).pw_gid
    confined = ["--no-new-privs"] if unit.confined else []
    return [*unit.launcher, "setpriv", f"--reuid={unit.user}", f"--regid={group}", "--init-groups", *confined, "--"]


def _prefix(unit: Unit | None, seconds: float) -> list[str]:
    """Return what makes the unit, or what does the same."""
    if not unit or os.geteuid():
        return []
    end(unit)  # of a run that was killed
    if os.path.exists(BUS):
        return _in_unit(unit, seconds)
    return _in_namespaces(unit)


def _in_unit(unit: Unit, seconds: float) -> list[str]:
    properties = {
        "PrivateTmp": "yes" if unit.private and "/tmp" not in unit.binds else "no",
        "RuntimeMaxSec": f"{seconds + LEEWAY_SECONDS:g}",  # where nobody is left who waits for it
        "KillMode": "control-group",
        "KillSignal": "SIGKILL",  # for what is left when the command has ended
    }
    binds = [f"--property=BindPaths={_quoted(source)}:{_quoted(target)}" for target, source in unit.binds.items()]
    service = unit.services.replace("*", os.urandom(4).hex())
    return [
        *("systemd-run", "--wait", "--pipe", "--collect", "--quiet", f"--unit={service}"),
        f"--description=Do a step of {unit.name} as {unit.user}",
        *(f"--property={name}={value}" for name, value in properties.items()),
        *binds,
        "--",
    ]


def _quoted(path: str) -> str:
    """Return a path as systemd reads it in a pair of paths."""
    return '"{}"'.format(path.replace("\\", "\\\\").replace('"', '\\"'))


def _in_namespaces(unit: Unit) -> list[str]:
    pairs = ((shlex.quote(source), shlex.quote(target)) for target, source in unit.binds.items())
    mounts = "".join(f"mount --bind {source} {target} || exit; " for source, target in pairs)
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
        # It stays root's, for the kernel forgets whose end is its end when it becomes another account.
        *("/bin/sh", "-c", f'{mounts}"$@"; exit $?', "sh"),
    ]


def end(unit: Unit) -> None:
    """End whatever is left of a unit."""
    if glob.glob(os.path.join(UNITS, unit.services)):
        subprocess.run(["systemctl", "stop", unit.services], check=False, capture_output=True, timeout=60)
