# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of the controller with every wheel that hosts need: what belongs into it, and how it gets there."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.lfs import is_pointer_file

# ansible-core brings it; the environment of its import test does not.
with suppress(ImportError):
    from packaging.markers import Marker
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.tags import Tag, compatible_tags, cpython_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

# That of the oldest supported platform; a wheel for it works on all.
GLIBC_MINOR = 34
# Below these a wheel has another name, or there is none for the machine.
_LEAST_GLIBC_MINOR = {"x86_64": 5}
_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


class Locked(NamedTuple):
    """One package of a lock."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def read_lock(text: str, what: str) -> list[Locked]:
    """Read a requirements file in which every package has one version and its hashes."""
    packages = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        # A wheel of the source comes with it.
        if not line or line.startswith(("--", "-c ")) or re.match(r"\./\S+\.whl\b", line):
            continue
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        try:
            requirement = Requirement(re.split(r"\s--hash=", line)[0])
        except InvalidRequirement:
            raise AnsibleError(f"{what}: {line[:60]!r} is no package with a version.") from None
        (specifier,) = [*requirement.specifier, None][:1]
        if not hashes or specifier is None or specifier.operator != "==":
            raise AnsibleError(
                f"{what}: {line[:60]!r} has no exact version with its hashes, so nobody knows which wheels to keep. "
                "Make the file with `uv pip compile --universal --generate-hashes`."
            )
        packages.append(Locked(requirement.name, specifier.version, requirement.marker, hashes))
    return packages


class Target(NamedTuple):
    """A Python on a kind of machine that wheels have to fit."""

    version: str
    machine: str

    def __str__(self) -> str:
        return f"Python {self.version} on {self.machine}"

    @property
    def platforms(self) -> list[str]:
        """Return the platforms of wheels that it takes, newest first."""
        names = []
        for minor in range(GLIBC_MINOR, _LEAST_GLIBC_MINOR.get(self.machine, 17) - 1, -1):
            names.append(f"manylinux_2_{minor}_{self.machine}")
            names += [f"{_ALIASES[minor]}_{self.machine}"] if minor in _ALIASES else []
        return [*names, f"linux_{self.machine}"]

    @property
    def tags(self) -> set[Tag]:
        major, minor = map(int, self.version.split("."))
        interpreter = f"cp{major}{minor}"
        return {
            *cpython_tags((major, minor), [interpreter], self.platforms),
            *compatible_tags((major, minor), interpreter, self.platforms),
        }

    def needs(self, package: Locked) -> bool:
        """Tell whether the package is wanted there at all."""
        environment = {
            "implementation_name": "cpython",
            "implementation_version": f"{self.version}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.version}.0",
            "python_version": self.version,
            "sys_platform": "linux",
            "extra": "",
        }
        return package.marker is None or package.marker.evaluate(environment)


class Wheelhouse:
    """The directory."""

    def __init__(self, path: str):
        self.path = os.path.abspath(os.path.expanduser(path))

    def _names(self) -> Iterator[str]:
        with os.scandir(self.path) as entries:
            yield from sorted(entry.name for entry in entries if entry.name.endswith(".whl"))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each wheel by its name."""
        if not os.path.isdir(self.path):
            raise AnsibleError(
                f"python_wheelhouse is {self.path}, which is no directory of the controller. Where the package index "
                "can be reached, `ansible-playbook baremetal.web.wheelhouse -i INVENTORY` makes it."
            )
        found = {}
        for name in self._names():
            if is_pointer_file(os.path.join(self.path, name)):
                raise AnsibleError(
                    f"{os.path.join(self.path, name)} is a pointer of Git LFS, not the wheel itself. Run "
                    "`git lfs pull` in that directory."
                )
            with open(os.path.join(self.path, name), "rb") as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found

    def wanted(self, *texts: str) -> dict[str, str]:
        """Return the wheels that requirements can use; where one has no hashes, that can be any."""
        digests = self.digests()
        if not all("--hash=" in text for text in texts if re.search(r"^\s*[^#\s]", text, re.MULTILINE)):
            return digests
        named = {digest for text in texts for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", text)}
        return {name: digest for name, digest in digests.items() if digest in named}

    def missing(self, target: Target, packages: list[Locked]) -> list[Locked]:
        """Return the packages of which there is no wheel that fits."""
        tags = target.tags
        fitting = {digest for name, digest in self.digests().items() if _tags(name) & tags}
        return [package for package in packages if target.needs(package) and not package.hashes & fitting]

    def fill(self, target: Target, packages: list[Locked], index_url: str) -> tuple[list[str], list[str]]:
        """Fetch wheels of packages; return the names of the new ones, and a sentence for each that is not to be had."""
        with tempfile.TemporaryDirectory(prefix=".fetched-", dir=self.path) as directory:
            complaints: dict[str, str] = {}
            if _download(target, packages, directory, index_url):
                # One after the other, to find out which there are.
                said = {str(package): _download(target, [package], directory, index_url) for package in packages}
                complaints = {name: text for name, text in said.items() if text}
            new = sorted(os.listdir(directory))
            for name in new:
                path = os.path.join(directory, name)
                os.chmod(path, 0o644)
                os.replace(path, os.path.join(self.path, name))
        return new, [f"no wheel of {name} for {target}: {said}" for name, said in complaints.items()]

    def pack(self, names: list[str], target: str) -> None:
        """Write some of the wheels into an archive; they are compressed already."""
        with tarfile.open(target, "w") as tar:
            for name in names:
                tar.add(os.path.join(self.path, name), name, recursive=False)


def _tags(name: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return frozenset()


def _download(target: Target, packages: list[Locked], directory: str, index_url: str) -> str:
    """Let pip fetch packages; return what it says when it cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", directory]
    command += ["--python-version", target.version, "--implementation", "cp"]
    command += [word for abi in (f"cp{target.version.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    command += [word for platform in target.platforms for word in ("--platform", platform)]
    lines = (" ".join([str(one), *(f"--hash=sha256:{digest}" for digest in sorted(one.hashes))]) for one in packages)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines))
        file.flush()
        environment = {**os.environ, **({"PIP_INDEX_URL": index_url} if index_url else {})}
        done = subprocess.run(
            [*command, "--requirement", file.name], env=environment, capture_output=True, text=True, check=False
        )
    if "No module named pip" in done.stderr:
        raise AnsibleError(
            f"{sys.executable}, which runs Ansible, has no pip; `{sys.executable} -m ensurepip` adds it."
        )
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()[-3:]
    return readable(re.sub(r"//[^/@\s]+@", "//", " ".join(said))) if done.returncode else ""
