"""Runs on a host: prints what is there (files below some directories, accounts, units, ports, packages), as JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys

ROOTS = sys.argv[1:] or ("/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var")
# What changes by itself, or is listed in another way.
LEFT_OUT = (
    "/etc/.pwd.lock",
    "/etc/group",
    "/etc/group-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ld.so.cache",
    "/etc/mtab",
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/subgid",
    "/etc/subgid-",
    "/etc/subuid",
    "/etc/subuid-",
    "/home/ops/.ansible",
    "/root/before.json",
    "/usr/share/mime",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/dnf",
    "/var/cache/ldconfig",
    "/var/cache/libdnf5",
    "/var/lib/apt",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/var/lib/sudo",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",
)


def look(path: str) -> str:
    """Describe a file, link or directory."""
    info = os.lstat(path)
    shown = f"{info.st_mode:o} {info.st_uid} {info.st_gid}"
    if os.path.islink(path):
        return f"{shown} -> {os.readlink(path)}"
    if os.path.isdir(path) and os.listdir(path) == ["__pycache__"]:
        raise FileNotFoundError(path)  # what Python leaves of a package is none
    if not os.path.isfile(path):
        return shown
    with open(path, "rb") as stream:
        return f"{shown} {hashlib.sha256(stream.read()).hexdigest()}"


def files() -> dict[str, str]:
    """Describe everything below the roots."""
    found = {}
    for root in ROOTS:
        for directory, directories, names in os.walk(root):
            directories[:] = [
                name for name in directories if os.path.join(directory, name) not in LEFT_OUT and name != "__pycache__"
            ]
            for name in [*directories, *names]:
                path = os.path.join(directory, name)
                if path not in LEFT_OUT:
                    with contextlib.suppress(OSError):  # gone meanwhile
                        found[path] = look(path)
    return found


def lines(*command: str, separator: str | None = None) -> dict[str, str]:
    """Return the lines of a command's output by their first word."""
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = (line.split(separator) for line in printed.splitlines() if line.split())
    return {first: " ".join(others) for first, *others in words}


def running() -> dict[str, str]:
    """Return the units that run, without systemd's own, some of which run at the first boot only."""
    units = lines(
        *(
            "systemctl",
            "list-units",
            "--type=service,socket,timer",
            "--state=active",
            "--no-legend",
            "--plain",
            "--full",
        )
    )
    own = ("systemd-", "ldconfig.", "user@", "user-runtime-dir@")
    return {unit: about for unit, about in units.items() if not unit.startswith(own)}


def packages() -> dict[str, str]:
    """Return the installed packages."""
    try:
        return lines("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\\n")
    except FileNotFoundError:
        return lines("rpm", "--query", "--all", "--queryformat", "%{NAME} %{VERSION}\\n")


def main() -> None:
    print(
        json.dumps(
            {
                "files": files(),
                "users": lines("getent", "passwd", separator=":"),
                "groups": lines("getent", "group", separator=":"),
                "units": lines("systemctl", "list-unit-files", "--no-legend", "--plain"),
                "running": running(),
                "logs": dict.fromkeys(os.listdir("/var/log"), ""),
                "ports": dict.fromkeys(lines("sh", "-c", "ss -ltnH | awk '{print $4}'"), ""),
                "packages": packages(),
            }
        )
    )


main()
