# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the source of an app together on the controller, wherever it comes from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.urls import open_url

from ansible_collections.baremetal.web.plugins.plugin_utils.apps import find_path

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "baremetal.web")
# What the repository itself calls HEAD today; the mirror's own HEAD is what it was when it was made.
DEFAULT_BRANCH = "refs/baremetal/HEAD"
IGNORED = frozenset(
    (
        *(".git", ".hg", ".svn", ".env", ".venv", "venv", "__pycache__", "node_modules"),
        *(".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox"),
    )
)


class Tree:
    """A directory of the controller, without what does not belong into a release."""

    def __init__(self, root: str, version: str = ""):
        self.root = root
        self.version = version or self._declared_version()

    def _declared_version(self) -> str:
        """Return the version that the project gives itself; empty when it gives none."""
        path = os.path.join(self.root, "pyproject.toml")
        with contextlib.suppress(OSError, KeyError, tomllib.TOMLDecodeError), open(path, "rb") as stream:
            return str(tomllib.load(stream)["project"]["version"])
        return ""

    def files(self) -> Iterator[str]:
        """Yield the relative paths of all files and links, in a fixed order."""

        def refuse(error: OSError) -> None:
            raise AnsibleError(f"the source cannot be read: {error}")

        for directory, directories, names in os.walk(self.root, onerror=refuse):
            links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
            directories[:] = sorted(
                name
                for name in directories
                if name not in IGNORED and name not in links and not name.endswith(".egg-info")
            )
            for name in sorted([*names, *links]):
                if name not in IGNORED and not name.endswith((".pyc", ".pyo")):
                    yield os.path.relpath(os.path.join(directory, name), self.root)

    def digest(self) -> str:
        """Return a digest of names, executable bits and contents."""
        whole = hashlib.sha256()
        for name in self.files():
            path = os.path.join(self.root, name)
            whole.update(f"{name}\0{os.access(path, os.X_OK)}\0".encode())
            if os.path.islink(path):
                whole.update(os.readlink(path).encode())
            else:
                with open(path, "rb") as stream:
                    whole.update(hashlib.file_digest(stream, "sha256").digest())
        return whole.hexdigest()

    def read(self, name: str) -> str | None:
        """Return a file's text; None where there is none."""
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.root, name), encoding="utf-8") as stream:
            return stream.read()
        return None

    def pack(self, target: str) -> None:
        """Write the tree into a compressed archive."""
        with tarfile.open(target, "w:gz", compresslevel=3) as tar:
            for name in self.files():
                path = os.path.join(self.root, name)
                if os.path.islink(path) and not self._holds(path):
                    raise AnsibleError(f"the source has the link {name} to {os.readlink(path)}, which leads out of it.")
                tar.add(path, name, recursive=False)

    def _holds(self, link: str) -> bool:
        target = os.readlink(link)
        root = os.path.realpath(self.root)
        return not os.path.isabs(target) and os.path.commonpath([root, os.path.realpath(link)]) == root


def _git(*arguments: str, cwd: str | None = None) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise AnsibleError("git is not installed on the controller; a source.git needs it.") from None
    if done.returncode:
        raise AnsibleError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _checkout(repo: str, version: str, target: str) -> str:
    """Put one version of a repository into a directory; return its commit."""
    repo = os.path.abspath(repo) if os.path.exists(repo) else repo
    os.makedirs(CACHE, mode=0o700, exist_ok=True)
    mirror = os.path.join(CACHE, hashlib.sha256(repo.encode()).hexdigest()[:16] + ".git")
    with open(f"{mirror}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(mirror):
            _git("init", "--quiet", "--bare", mirror)
        refs = ("+refs/heads/*:refs/heads/*", f"+HEAD:{DEFAULT_BRANCH}")
        _git("fetch", "--quiet", "--prune", "--force", "--tags", "--", repo, *refs, cwd=mirror)
        wanted = DEFAULT_BRANCH if version == "HEAD" else version
        try:
            commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}", cwd=mirror)
        except AnsibleError:
            raise AnsibleError(f"{repo} has no branch, tag or commit {version!r}.") from None
        archive = f"{target}.tar"
        _git("archive", f"--output={archive}", commit, cwd=mirror)
    _unpack(archive, target)
    return commit


def _unpack(archive: str, target: str) -> None:
    """Unpack a tar or zip archive; nothing of it may land elsewhere."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as archived:
            archived.extractall(target)
        return
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(target, filter="data")
            return
        # Pythons before 3.11.4 know no filter.
        for member in tar.getmembers():
            places = [member.name, *([os.path.join(os.path.dirname(member.name), member.linkname)] * member.issym())]
            places += [member.linkname] * member.islnk()
            if not all(_is_inside(place) for place in places) or not (
                member.isfile() or member.isdir() or member.issym() or member.islnk()
            ):
                raise AnsibleError(f"{os.path.basename(archive)} has {member.name!r}, which leads out of the archive.")
        tar.extractall(target)


def _is_inside(path: str) -> bool:
    return not os.path.isabs(path) and not os.path.normpath(path).startswith("..")


def _fetch(archive: dict[str, Any], search: list[str], directory: str) -> str:
    """Return the path of an archive whose checksum, if one is given, is right."""
    if archive.get("url"):
        path = os.path.join(directory, os.path.basename(archive["url"].partition("?")[0]))
        with open_url(archive["url"]) as response, open(path, "wb") as stream:
            shutil.copyfileobj(response, stream)
    else:
        path = find_path(archive["path"], search)
    if archive.get("checksum"):
        with open(path, "rb") as stream:
            actual = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != archive["checksum"]:
            raise AnsibleError(f"{os.path.basename(path)} has the checksum {actual}, not {archive['checksum']}.")
    return path


@contextlib.contextmanager
def open_source(source: dict[str, Any], search: list[str]) -> Iterator[Tree]:
    """Provide the tree of a resolved ``source`` while in use."""
    with tempfile.TemporaryDirectory(prefix="baremetal-web-") as directory:
        target = os.path.join(directory, "tree")
        if source.get("path"):
            yield Tree(find_path(source["path"], search))
        elif source.get("git"):
            commit = _checkout(source["git"]["repo"], source["git"]["version"], target)
            yield Tree(target, f"{source['git']['version']} ({commit[:12]})")
        else:
            path = _fetch(source["archive"], search, directory)
            _unpack(path, target)
            inside = os.listdir(target)
            if len(inside) == 1 and os.path.isdir(os.path.join(target, inside[0])):
                target = os.path.join(target, inside[0])
            yield Tree(target, os.path.basename(path))
