# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide virtual environments, with uv where the tool environment has it, with venv and pip to get there."""

from __future__ import annotations

import csv
import glob
import hashlib
import os
import re
from collections.abc import Iterable

from ansible_collections.baremetal.web.plugins.module_utils._host import index_proxy, transient
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit

LEAST_VERSION = (3, 10)  # of the servers in the lock files
RECORDS = "requirements.d"
MISSING_WHEEL = (
    "No index was asked, for python_wheelhouse is set. If a wheel is missing there: run "
    "`ansible-playbook baremetal.web.wheelhouse -i INVENTORY` where the index can be reached, then this again."
)
# How uv and pip name a package that has no wheel for this Python; pip says the same of one that does not exist.
_NO_WHEEL = (
    re.compile(r"Wheels are required for `([^`]+)`"),
    re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:[=<>!~]\S*)? ha(?:s|ve) no usable wheels"),
    re.compile(r"No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]*)"),
)
# How they say that an index or a proxy cannot be reached; pip can also find nothing at an index that a proxy refused.
_NO_CONNECTION = re.compile(r"connection broken by|error sending request|407 Proxy Authentication Required")
_NOTHING_FOUND = "from versions: none"


class VenvError(Exception):
    """The environment cannot be made; the text says why."""

    def __init__(self, text: str):
        super().__init__(readable(text))


def run(
    command: list[str],
    what: str,
    unit: Unit | None = None,
    environment: dict[str, str] | None = None,
    seconds: float = 900,
    directory: str = "/",
    lines: int = 12,
    secrets: Iterable[str] = (),
) -> str:
    """Run a command, in a unit when told; raise with the last lines of its output when it fails or takes too long.

    ``secrets`` are URLs; nobody gets to see their logins.
    """
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        **(environment or {}),
    }
    try:
        status, output = transient.run(command, variables, seconds, directory, unit)
    except TimeoutError as error:
        raise VenvError(f"{what} did not end within {error}") from None
    if status:
        tail = index_proxy.conceal("\n".join(output.strip().splitlines()[-lines:]), secrets)
        raise VenvError(f"{what} failed with exit status {status}\n{tail}".strip())
    return output


def _version(command: str, unit: Unit | None = None) -> tuple[int, int]:
    out = run([command, "-I", "-c", "import sys; print(*sys.version_info[:2])"], f"{command}", unit)
    major, minor = out.split()
    return int(major), int(minor)


def find_interpreter(version: str) -> str:
    """Return the path of the wanted interpreter; ``auto`` is python3 when new enough, else the newest there is.

    A path in place of a version is the interpreter itself.
    """
    if os.path.isabs(version):
        if os.path.exists(version):
            return version
        raise VenvError(f"{version} is not on this host yet. Run site.yml, which lets conda make it.")
    if version != "auto":
        command = f"/usr/bin/python{version}"
        if os.path.exists(command):
            return command
        default = "/usr/bin/python3"
        if os.path.exists(default) and "{}.{}".format(*_version(default)) == version:
            return default
        raise VenvError(f"Python {version} is not installed on this host ({command} is missing).")
    candidates = sorted(
        (path for path in glob.glob("/usr/bin/python3*") if re.fullmatch(r"/usr/bin/python3(\.\d+)?", path)),
        key=lambda path: (path == "/usr/bin/python3", [int(number) for number in re.findall(r"\d+", path)]),
        reverse=True,
    )
    for command in candidates:
        if _version(command) >= LEAST_VERSION:
            return command
    raise VenvError(f"No Python of version {LEAST_VERSION[0]}.{LEAST_VERSION[1]} or newer is installed on this host.")


def fingerprint(requirements: str, python: str) -> str:
    """Return what makes an installed set the same set: its requirements and the interpreter they are for."""
    return hashlib.sha256(f"{os.path.realpath(python)}\n{requirements}".encode()).hexdigest()


def record_path(path: str, name: str) -> str:
    return os.path.join(path, RECORDS, f"{name}.sha256")


def is_installed(path: str, name: str, requirements: str, python: str) -> bool:
    """Tell whether a set is recorded as installed in a working environment, which still has the files of the set."""
    try:
        with open(record_path(path, name), encoding="ascii") as stream:
            recorded = stream.read().strip()
    except FileNotFoundError:
        return False
    works = recorded == fingerprint(requirements, python) and os.path.exists(os.path.join(path, "bin", "python"))
    return works and not damaged(path, requirements)


def damaged(path: str, requirements: str) -> list[str]:
    """Return which packages of a set lack a file that was installed, or have it with another size."""
    pinned = {_canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", requirements, re.MULTILINE)}
    found = []
    for record_file in glob.glob(
        os.path.join(glob.escape(path), "lib", "python*", "site-packages", "*.dist-info", "RECORD")
    ):
        name = _canonical(os.path.basename(os.path.dirname(record_file)).partition("-")[0])
        if name in pinned and not _is_whole(record_file):
            found.append(name)
    return sorted(found)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_whole(record_file: str) -> bool:
    """Tell whether all files of an installed package are there; bytecode is made again where it is missing."""
    packages = os.path.dirname(os.path.dirname(record_file))
    own = os.path.relpath(record_file, packages)
    with open(record_file, encoding="utf-8", newline="") as stream:
        for name, _digest, size in (row for row in csv.reader(stream) if len(row) == 3):
            try:
                found = os.stat(os.path.join(packages, name)).st_size
            except OSError:
                if not name.endswith(".pyc"):
                    return False
                continue
            # It cannot have the size of itself, and some wheels say 0.
            if size.isdigit() and found != int(size) and name != own:
                return False
    return True


def install(
    path: str,
    python: str,
    requirements: list[str],
    *,
    home: str,
    directory: str = "/",
    uv: str = "",
    index_url: str = "",
    proxy_url: str = "",
    no_proxy: Iterable[str] = (),
    wheels: str = "",
    source_builds: bool = False,
    unit: Unit | None = None,
    cache: str = "",
    package: str = "",
    option: str = "source_builds_enabled",
) -> None:
    """Make the environment when it is missing, install requirements files in their order, and then a wheel by itself.

    A path in a requirements file is relative to ``directory``. With a directory of wheels no index is asked.
    Fetched files are kept for the next time in ``cache``, if there is one. ``option`` is what users call
    ``source_builds``.
    ``home`` is an empty directory, so that no settings, logins or packages of an account's own have an effect.
    """
    interpreter = os.path.join(path, "bin", "python")
    # Nothing of a host's own pip.conf, in the environment's directory either.
    environment = {"HOME": home, "PIP_CONFIG_FILE": os.devnull}
    if uv:
        environment.update(
            **({"UV_CACHE_DIR": os.path.join(cache, ".cache", "uv")} if cache else {"UV_NO_CACHE": "1"}),
            UV_LINK_MODE="copy",
            UV_NO_PROGRESS="1",
            UV_PYTHON_DOWNLOADS="never",
            UV_SYSTEM_CERTS="1",
            UV_NO_CONFIG="1",  # else a file of the host or of the source could name an index
        )
        create = [uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python, path]
        command = [uv, "pip", "install", "--quiet", "--python", interpreter, "--compile-bytecode"]
    else:
        create = [python, "-m", "venv", path]
        command = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    if wheels:
        command += ["--no-index", "--find-links", wheels]
    elif index_url:  # by environment, for it may hold a password
        environment["UV_DEFAULT_INDEX" if uv else "PIP_INDEX_URL"] = index_url
    if not wheels:
        environment.update(index_proxy.variables(proxy_url, no_proxy))
    secrets = [index_url, proxy_url]
    if not source_builds:
        command += ["--only-binary", ":all:"]
    if not os.path.exists(interpreter) or _version(interpreter, unit) != _version(python):
        # venv leaves those that are there, though they lead to another version. Where another user builds, it is new.
        for link in [] if unit else glob.glob(os.path.join(glob.escape(path), "bin", "python*")):
            os.unlink(link)
        run(create, f"Making the environment {path} with {python}", unit, environment)
    for file in requirements:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
        if re.search(r"^\s*[^#\s]", text, re.MULTILINE):
            hashes = ["--require-hashes"] if "--hash=" in text else []
            again = _again(damaged(path, text), uv)
            try:
                run(
                    [*command, *hashes, *again, "-r", file],
                    f"Installing {os.path.basename(file)} into {path}",
                    unit,
                    environment,
                    directory=directory,
                    secrets=secrets,
                )
            except VenvError as error:
                said = str(error)
                reached = not _NO_CONNECTION.search(said)
                advice = [MISSING_WHEEL if wheels else _without_connection(said, reached, proxy_url)]
                if reached and not source_builds:
                    advice.insert(0, _without_wheels(said, _version(interpreter, unit), option))
                raise VenvError("\n".join(filter(None, (said, *advice)))) from None
    if package:
        what = f"Installing {os.path.basename(package)} into {path}"
        alone = [*command, "--no-index", "--no-deps", package]
        run(alone, what, unit, environment, directory=directory, secrets=secrets)
    lock = os.path.join(path, ".lock")
    if os.path.lexists(lock):  # uv's, which it leaves open to everybody
        run(["chmod", "--", "600", lock], f"Closing {lock}", unit)


def _again(packages: list[str], uv: str) -> list[str]:
    """Return the options that install packages again, which both tools take for installed."""
    if not packages:
        return []
    return [f"--reinstall-package={name}" for name in packages] if uv else ["--force-reinstall"]


def _without_wheels(said: str, version: tuple[int, int], option: str) -> str:
    """Return what to do about packages that the tools found no wheel of; empty when they named none."""
    names = sorted({name for pattern in _NO_WHEEL for name in pattern.findall(said)})
    if not names:
        return ""
    return (
        f"There is no wheel of {', '.join(names)} for Python {version[0]}.{version[1]} on this host, and packages are "
        f"not built there. Name a version that has one, or bring a wheel in the source, such as ./wheels/NAME.whl. Or "
        f"set {option}: true, and python_compiler_enabled: true for C code."
    )


def _without_connection(said: str, reached: bool, proxy_url: str) -> str:
    """Return what to do about an index that the tools did not reach, or may not have; empty for one that they did."""
    if proxy_url and (not reached or _NOTHING_FOUND in said):
        return (
            f"Packages are fetched through the proxy {index_proxy.place(proxy_url)} of python_proxy. Is it reached "
            "from this host, and are its user and password right? Name an index that is reached without it in "
            "python_proxy.no_proxy."
        )
    return "" if reached else "If this host reaches the package index through a proxy only, set python_proxy."


def record(path: str, python: str, name: str, requirements: str) -> None:
    """Note what is installed, so that the next run knows."""
    os.makedirs(os.path.join(path, RECORDS), exist_ok=True)
    with open(record_path(path, name), "w", encoding="ascii") as stream:
        stream.write(fingerprint(requirements, python) + "\n")
