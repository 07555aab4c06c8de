# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the source of an app together on the controller, wherever it comes from: once in a run, for all hosts."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from ansible import constants
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.module_utils._host import archives
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.source_rules import SOURCES, wheel_version
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.downloads import UnreachableError, fetch
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import CACHE, found_file
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.lfs import LARGEST, is_pointer, is_pointer_file
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms import openpgp
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.requirements import (
    OTHER_FORMATS,
    Reader,
    Requirements,
    in_directory,
    other_format,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import role_options
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.secrets import without_credentials
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.sizes import in_bytes

# What the repository itself calls HEAD today; the mirror's own HEAD is what it was when it was made.
DEFAULT_BRANCH = "refs/baremetal/HEAD"
# Where nothing says what belongs to the app, these do not.
IGNORED = frozenset(
    (
        *(".git", ".hg", ".svn", ".env", ".venv", "venv", "__pycache__", "node_modules"),
        *(".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox"),
    )
)
SUBMODULE = "160000"
ASKED = "requirements"  # the controller's files, as they were at the beginning of the run
# How the files of Git LFS come into each kind of source.
_WITHOUT_POINTERS = {
    "path": "Run `git lfs pull` in the directory",
    "git": "Run `git lfs pull` in a checkout and name that directory as source.path",
    "archive": "Make the archive of a directory in which `git lfs pull` was run",
    "wheel": "Build the wheel in a directory in which `git lfs pull` was run",
}
# What the operator sets for a connection; other variables of git would lead to another repository, or run commands.
_GIT_VARIABLES = re.compile(
    r"GIT_(ASKPASS|SSH.*|SSL_.*|HTTP_.*|PROXY_.*|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|(KEY|VALUE)_\d+))"
)
# A repository's own configuration can name commands; these settings leave none that git would run for us.
_NO_COMMANDS = (
    *("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "core.pager=cat", "status.submoduleSummary=false"),
    *("gc.auto=0", "maintenance.auto=false"),
)
# For a repository that somebody else may have set up: git asks no other one for what it lacks.
_LOCAL = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
_SIGNATURE = re.compile(r"^-----BEGIN (PGP|SSH) ", re.MULTILINE)


# Files that often are what somebody meant.
_REQUIREMENTS = re.compile(
    r"^(?:[^/]+/)?(?:pyproject\.toml|[^/]*requirements[^/]*\.(?:txt|in|lock))$|^requirements/[^/]+\.(?:txt|in)$",
    re.IGNORECASE,
)


class Tree:
    """The files that are brought to a host, as they were when the run first asked for them."""

    def __init__(self, place: str):
        with open(os.path.join(place, "about.json"), encoding="utf-8") as stream:
            about = json.load(stream)
        self._place = place
        self.root: str = about["root"]
        self.version: str = about["version"]
        self.commit: str = about["commit"]
        self.wheel: str = about["wheel"]
        self._asked: str = about["asked"]
        self._kind: str = about["kind"]
        self._bounds = archives.Bounds(*about["bounds"])
        self._files: list[str] = about["files"]
        self._digest: str = about["digest"]

    def files(self) -> Iterator[str]:
        """Yield the relative paths of all files and links, in a fixed order."""
        yield from self._files

    def digest(self) -> str:
        """Return a digest of names, executable bits and contents."""
        return self._digest

    def read(self, name: str) -> str | None:
        """Return a file's text; None where there is none."""
        if os.path.normpath(name) not in self._files:
            return None
        with open(os.path.join(self.root, name), encoding="utf-8") as stream:
            return stream.read()

    def requirements(self, name: str, *, builds: bool, offline: bool = False, python: str = "") -> Requirements:
        """Return what a requirements file wants, of the controller or of the tree; raise AnsibleError with problems."""
        read, kind_of = in_directory(self.root)
        if self._asked:
            name, read = self._asked, in_directory(os.path.join(self._place, ASKED))[0]
        try:
            found = Reader(read, kind_of, builds=builds, offline=offline, python=python).file(name)
        except FileNotFoundError:
            raise AnsibleError(self._lacks(name)) from None
        except PermissionError:
            raise AnsibleError(f"python.requirements is {name!r}, which leads out of the source.") from None
        found.problems += self._wheel_problems(found)
        if found.problems:
            raise AnsibleError("\n".join(dict.fromkeys(found.problems)))
        return found

    def _wheel_problems(self, found: Requirements) -> Iterator[str]:
        """Find wheels of the tree that no host should unpack."""
        for entry in found.requirements:
            if wheel := re.match(r"\./([^\s\[]+\.whl)", entry.text):
                try:
                    archives.check_zip(os.path.join(self.root, wheel[1]), self._bounds.anew())
                except archives.ArchiveError as error:
                    yield f"{entry.where}: {wheel[1]} cannot be installed: {error}"

    def _lacks(self, name: str) -> str:
        others = [file for other in OTHER_FORMATS for file in self._files if file.lower() == other.lower()]
        why = {
            "path": "git tracks none. Create it and `git add` it" if self.commit else "Create it",
            "git": f"Commit {self.commit[:12]} has no such file. Commit one",
            "archive": "The archive has no such file. Pack one into it",
        }.get(self._kind, "Create it")
        way_out = f" It has {others[0]}: {other_format(others[0])}" if others else ""
        if near := [file for file in self._files if _REQUIREMENTS.search(file)]:
            way_out += f" It has {', '.join(near[:3])}, which python.requirements may name."
        return (
            f"python.requirements names {name!r}, which the source does not have.{way_out} {why}, or name a file of "
            'the controller in python.requirements_path. For an app without dependencies set requirements: "".'
        )

    def pack(self, target: str) -> None:
        """Write the tree into a compressed archive, which is made for the first host that needs it."""
        packed = os.path.join(self._place, "packed.tar.gz")
        with file_lock(f"{self._place}.lock"):
            if not os.path.exists(packed):
                with tarfile.open(f"{packed}.new", "w:gz", compresslevel=3) as tar:
                    for name in self._files:
                        tar.add(os.path.join(self.root, name), name, recursive=False)
                os.replace(f"{packed}.new", packed)
        shutil.copyfile(packed, target)


@contextlib.contextmanager
def open_source(source: dict[str, Any], search: list[str], requirements: str = "") -> Iterator[Tree]:
    """Provide the tree of a ``source``; ``requirements`` is a file of the controller in place of its own."""
    wanted = json.dumps([source, search, requirements], sort_keys=True)
    key = hashlib.sha256(wanted.encode()).hexdigest()[:16]
    # The forks of a run share this directory, and Ansible removes it at the end.
    place = os.path.join(constants.DEFAULT_LOCAL_TMP, "baremetal.web", key)
    os.makedirs(place, mode=0o700, exist_ok=True)
    failure, asked = os.path.join(place, "failure"), time.time()
    with file_lock(f"{place}.lock"):
        if not os.path.exists(os.path.join(place, "about.json")):
            # Who waited for an attempt that failed has the same answer; it is not worth waiting again.
            if os.path.exists(failure) and os.path.getmtime(failure) >= asked:
                with open(failure, encoding="utf-8") as stream:
                    kind, said = json.load(stream)
                raise (UnreachableError if kind == "UnreachableError" else AnsibleError)(said)
            try:
                _bring_together(source, search, requirements, place)
            except AnsibleError as error:
                with open(failure, "w", encoding="utf-8") as stream:
                    json.dump([type(error).__name__, str(error)], stream)
                raise
    yield Tree(place)


def open_app(app: dict[str, Any], search: list[str]) -> contextlib.AbstractContextManager[Tree]:
    """Provide the tree of an app; what the controller has to say of its requirements comes with it."""
    python = app["python"]
    path = python.get("requirements_path") or (python["requirements"] if app["source"].get("wheel") else "")
    return open_source(app["source"], search, path if wants_packages(python) else "")


def wants_packages(python: dict[str, Any]) -> bool:
    """Tell whether an app names requirements at all."""
    return bool(python.get("requirements_path") or python["requirements"])


def source_problems(app: dict[str, Any], search: list[str], *, offline: bool = False) -> list[str]:
    """Find what is wrong with an app's source and its requirements, before a host is asked.

    ``offline`` says that hosts ask no index. A source that cannot be reached now is said when the app is staged, so
    other apps go on.
    """
    try:
        with open_app(app, search) as tree:
            if wants_packages(app["python"]):
                app_requirements(tree, app["python"], offline=offline)
    except UnreachableError:
        return []
    except AnsibleError as error:
        return [f"app {app['name']}: {line}" for line in str(error).splitlines()]
    return []


def app_requirements(tree: Tree, python: dict[str, Any], *, offline: bool = False) -> Requirements:
    """Return what an app wants to have installed."""
    version = python.get("version", "auto")
    return tree.requirements(
        python["requirements"],
        builds=python["source_builds_enabled"],
        offline=offline,
        python="" if version == "auto" else version,  # the platform's, which is known when the app is staged
    )


def _bring_together(source: dict[str, Any], search: list[str], requirements: str, place: str) -> None:
    root = os.path.join(place, "tree")
    shutil.rmtree(root, ignore_errors=True)
    os.mkdir(root)
    about: dict[str, Any] = {"root": root, "version": "", "commit": "", "wheel": "", "asked": ""}
    about["kind"] = next(kind for kind in SOURCES if source.get(kind))
    if requirements:
        about["asked"] = _keep_requirements(found_file(requirements, search), os.path.join(place, ASKED))
    bounds = _bounds(source)
    about["bounds"] = [bounds.size, bounds.files]
    with tempfile.TemporaryDirectory(dir=place) as work:
        if source.get("path"):
            about |= _from_path(found_file(source["path"], search), root, bounds)
        elif source.get("git"):
            about |= _from_git(source["git"], search, root, work, bounds)
        elif source.get("archive"):
            about |= _from_archive(fetch(source["archive"], search, work, bounds), root, bounds)
        else:
            about |= _from_wheel(fetch(source["wheel"], search, work, bounds), root, bounds)
        if not about["files"]:
            raise AnsibleError("the source has no files, so there is no app in it. Correct source, or add the files.")
        if not source.get("lfs_pointers_enabled"):
            _refuse_pointers(source, about)
    about["digest"] = _digest(about["root"], about["files"])
    new = os.path.join(place, "about.json.new")
    with open(new, "w", encoding="utf-8") as stream:
        json.dump(about, stream)
    os.replace(new, os.path.join(place, "about.json"))


def _bounds(source: dict[str, Any]) -> archives.Bounds:
    """Return what a source may hold."""
    options = role_options("wsgi")["wsgi_apps"]["options"]["source"]["options"]
    size, files = (source.get(key) or options[key]["default"] for key in ("max_size", "max_files"))
    return archives.Bounds(in_bytes(size), files)


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Say of what is refused which source it is."""
    try:
        yield
    except archives.ArchiveError as error:
        raise AnsibleError(f"{what}: {error}") from None


def _refuse_pointers(source: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuse what would go live in the place of a file that Git LFS keeps elsewhere."""
    found = []
    for name in about["files"]:
        path = os.path.join(about["root"], name)
        if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < LARGEST:
            found += [name] * is_pointer_file(path)
    if about["wheel"]:
        with _named(f"{about['wheel']} cannot be installed"):
            members = archives.small_files(os.path.join(about["root"], about["wheel"]), LARGEST)
            found += [name for name, data in members if is_pointer(data)]
    if found:
        kind = next(kind for kind in _WITHOUT_POINTERS if source.get(kind))
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise AnsibleError(
            f"the source has {', '.join(found[:3])}{more}, which Git LFS has left a pointer for. The file itself is "
            f"elsewhere. {_WITHOUT_POINTERS[kind]}. If the pointer is wanted, set source.lfs_pointers_enabled: true."
        )


def _refuse_lacking_submodules(root: str, files: list[str], where: str, inside: str = "") -> None:
    """Refuse a tree without git's knowledge that names submodules and does not have them."""
    listed = os.path.join(inside, ".gitmodules")
    if listed not in files:
        return
    with open(os.path.join(root, listed), encoding="utf-8", errors="replace") as stream:
        paths = re.findall(r'^\s*path\s*=\s*"?([^"\n]+?)"?\s*$', stream.read(), re.MULTILINE)
    places = [os.path.normpath(os.path.join(inside, path)) for path in paths]
    lacking = [place for place in places if not any(name.startswith(f"{place}/") for name in files)]
    if lacking:
        raise AnsibleError(
            f"{where} has no files of the submodule {', '.join(lacking)}, which its {listed} names. Run "
            "`git submodule update --init --recursive` before you make it, or take the submodule out of that file."
        )
    for place in places:
        _refuse_lacking_submodules(root, files, where, place)


def _digest(root: str, files: list[str]) -> str:
    """Return a digest of files; refuse those that a release cannot hold."""
    whole, real = hashlib.sha256(), os.path.realpath(root)
    for name in files:
        path = os.path.join(root, name)
        whole.update(os.fsencode(f"{name}\0{os.access(path, os.X_OK)}\0"))
        if os.path.islink(path):
            target = os.readlink(path)
            if os.path.isabs(target) or os.path.commonpath([real, os.path.realpath(path)]) != real:
                raise AnsibleError(f"the source has the link {name} to {target}, which leads out of it.")
            whole.update(os.fsencode(target))
        else:
            with open(path, "rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def _declared_version(root: str) -> str:
    """Return the version that a project gives itself; empty when it gives none."""
    path = os.path.join(root, "pyproject.toml")
    with contextlib.suppress(OSError, KeyError, tomllib.TOMLDecodeError), open(path, "rb") as stream:
        return str(tomllib.load(stream)["project"]["version"])
    return ""


def _walk(root: str, ignored: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the relative paths of all files and links but the ignored ones, in a fixed order."""

    def refuse(error: OSError) -> None:
        raise AnsibleError(f"the source cannot be read: {error}")

    for directory, directories, names in os.walk(root, onerror=refuse):
        if len(os.path.relpath(directory, root).split("/")) > archives.DEEPEST:
            with _named("the source cannot be used"):
                archives.Bounds().take(os.path.relpath(directory, root) + "/…", 0)
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        directories[:] = sorted(name for name in directories if name not in links and name not in ignored)
        for name in sorted([*names, *links]):
            if name not in ignored and not (ignored and name.endswith((".pyc", ".pyo"))):
                yield os.path.relpath(os.path.join(directory, name), root)


# --- a directory


def _from_path(directory: str, target: str, bounds: archives.Bounds) -> dict[str, Any]:
    """Copy what belongs to an app out of a directory, so that every host gets the same."""
    tracked, commit = _tracked(directory)
    files = tracked or list(itertools.islice(_walk(directory, IGNORED), bounds.files + 1))
    for name in files:
        with _named(f"{directory} cannot be used"):
            bounds.take(name, os.lstat(os.path.join(directory, name)).st_size)
        original, copied = os.path.join(directory, name), os.path.join(target, name)
        if not os.path.isfile(original) and not os.path.islink(original):
            raise AnsibleError(f"the source has {name}, which is neither a file nor a link; take it out.")
        try:
            os.makedirs(os.path.dirname(copied), exist_ok=True)
            shutil.copy2(original, copied, follow_symlinks=False)
        except OSError as error:
            raise AnsibleError(f"the source cannot be read: {error}") from None
    if not tracked:
        _refuse_lacking_submodules(target, files, directory)
    return {"files": files, "version": _declared_version(target), "commit": commit}


def _tracked(directory: str) -> tuple[list[str], str]:
    """Return what git tracks in a directory, and its commit; nothing where git has no part in it."""
    top = _work_tree(directory)
    if not top:
        return [], ""
    entries = _git("ls-files", "-z", "--cached", "--stage", cwd=directory, **_LOCAL).split("\0")
    modes = dict(_entry(entry) for entry in entries if entry)
    _refuse_submodules(modes, directory)
    files = sorted(name for name in modes if _is_there(directory, name))
    if not files:
        return [], ""
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "HEAD", cwd=directory, **_LOCAL)
    except AnsibleError:  # nothing is committed yet
        return files, ""
    status = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", "--", ".")
    changed = _git(*status, cwd=directory, settings=_without_filters(directory), **_LOCAL)
    return files, commit + ("-dirty" if changed else "")


def _without_filters(directory: str) -> list[str]:
    """Return settings that empty each filter of a repository: git would run it for a file whose times have changed."""
    pattern = r"^filter\..*\.(clean|smudge|process|required)$"
    done = _run_git("config", "--null", "--name-only", "--get-regexp", pattern, cwd=directory, **_LOCAL)
    settings = []
    for name in sorted(set(filter(None, done.stdout.split("\0")))):
        if "=" in name:
            raise AnsibleError(
                f"{directory} has the git setting {name!r}, which cannot be turned off. Rename the filter."
            )
        settings.append(f"{name}={'false' if name.endswith('.required') else ''}")
    return settings


def _work_tree(directory: str) -> bool:
    """Tell whether a directory belongs to a work tree of git."""
    place = os.path.realpath(directory)
    while not os.path.lexists(os.path.join(place, ".git")):
        if place == os.path.dirname(place):
            return False
        place = os.path.dirname(place)
    done = _run_git("rev-parse", "--is-inside-work-tree", cwd=directory, **_LOCAL)
    if "dubious ownership" in done.stderr:
        raise AnsibleError(
            f"{directory} is in a git work tree of another user, which git does not read, so nobody knows what belongs "
            f"to the app. If you trust it: git config --global --add safe.directory '{place}'"
        )
    if done.returncode and "not a git repository" not in done.stderr:
        raise AnsibleError(f"git cannot read {directory}: {done.stderr.strip()}")
    return done.stdout.strip() == "true"


def _entry(line: str) -> tuple[str, str]:
    """Return the name and the mode of what git lists."""
    mode, _space, rest = line.partition(" ")
    return rest.partition("\t")[2], mode


def _is_there(root: str, name: str) -> bool:
    """Tell whether a tracked file still is one, and not behind a link that took the place of its directory."""
    path, parent = os.path.join(root, name), os.path.dirname(name)
    straight = os.path.realpath(os.path.join(root, parent)) == os.path.normpath(
        os.path.join(os.path.realpath(root), parent)
    )
    return straight and (os.path.isfile(path) or os.path.islink(path))


def _refuse_submodules(modes: dict[str, str], where: str) -> None:
    if names := sorted(name for name, mode in modes.items() if mode == SUBMODULE):
        raise AnsibleError(
            f"{where} has the submodule {', '.join(names)}, whose files git keeps elsewhere. Name what the app needs "
            "of it in the requirements. Or check it out with `git submodule update --init --recursive`, and give an "
            "archive of that directory, or a wheel, as the source."
        )


# --- a repository


def _start_git(
    *arguments: str, cwd: str | None = None, settings: Iterable[str] = (), **variables: str
) -> subprocess.Popen[bytes]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or _GIT_VARIABLES.fullmatch(name)
    }
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **variables}
    command = ["git", *(word for setting in (*_NO_COMMANDS, *settings) for word in ("-c", setting)), *arguments]
    try:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise AnsibleError("git is not installed on the controller; install it, for the source is in git.") from None


def _run_git(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    with _start_git(*arguments, **more) as process:
        output, errors = process.communicate()
    said = readable(without_credentials(os.fsdecode(errors)))
    return subprocess.CompletedProcess(process.args, process.returncode, os.fsdecode(output), said)


def _git(*arguments: str, **more: Any) -> str:
    done = _run_git(*arguments, **more)
    if done.returncode:
        raise AnsibleError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def _from_git(
    git: dict[str, Any], search: list[str], target: str, work: str, bounds: archives.Bounds
) -> dict[str, Any]:
    """Put one version of a repository into a directory."""
    repo, version = git["repo"], git["version"]
    repo = os.path.abspath(repo) if os.path.exists(repo) else repo
    shown = without_credentials(repo)
    archive = os.path.join(work, "commit.tar")
    with _mirror(repo) as mirror:
        wanted = DEFAULT_BRANCH if version == "HEAD" else version
        try:
            found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, cwd=mirror)
            commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{found}^{{commit}}", cwd=mirror)
        except AnsibleError:
            raise AnsibleError(f"{shown} has no branch, tag or commit {version!r}.") from None
        if git.get("signers"):
            _check_signature(mirror, shown, version, found, commit, found_file(git["signers"], search), work)
        with _named(f"{version} of {shown} cannot be used"):
            modes = _committed(mirror, commit, bounds)
        _refuse_submodules(modes, f"{version} of {shown}")
        _git("archive", f"--output={archive}", commit, cwd=mirror, settings=_without_filters(mirror))
        is_tag = not _run_git("show-ref", "--verify", "--quiet", f"refs/tags/{version}", cwd=mirror).returncode
    with _named(f"{version} of {shown} cannot be unpacked"):
        archives.unpack(archive, target, bounds.anew())
    declared = "" if is_tag else _declared_version(target)
    return {"files": list(_walk(target)), "version": declared or version, "commit": commit}


def _committed(mirror: str, commit: str, bounds: archives.Bounds) -> dict[str, str]:
    """Return the modes of all files of a commit by name; a small repository can name very many of them."""
    modes = {}
    with _start_git("ls-tree", "-r", "-z", "--long", commit, cwd=mirror) as process:
        try:
            for entry in _split(process.stdout):
                name, mode = _entry(entry)
                size = entry.partition("\t")[0].split()[-1]
                bounds.take(name, int(size) if size.isdigit() else 0)
                modes[name] = mode
        finally:
            process.kill()
    return modes


def _split(stream: IO[bytes]) -> Iterator[str]:
    """Yield what ends with NUL in a stream."""
    rest = b""
    while piece := stream.read(1 << 16):
        *whole, rest = (rest + piece).split(b"\0")
        yield from map(os.fsdecode, whole)


@contextlib.contextmanager
def _mirror(repo: str) -> Iterator[str]:
    """Provide a copy of a repository that is up to date; nobody else changes it meanwhile."""
    os.makedirs(CACHE, mode=0o700, exist_ok=True)
    mirror = os.path.join(CACHE, hashlib.sha256(repo.encode()).hexdigest()[:16] + ".git")
    with file_lock(f"{mirror}.lock"):
        if not os.path.isdir(mirror):
            _git("init", "--quiet", "--bare", "--template=", mirror)
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", f"+HEAD:{DEFAULT_BRANCH}")
        try:
            _git("fetch", "--quiet", "--prune", "--force", "--no-tags", "--", repo, *refs, cwd=mirror)
        except AnsibleError as error:
            raise UnreachableError(str(error)) from None
        yield mirror


def _check_signature(mirror: str, repo: str, version: str, found: str, commit: str, signers: str, work: str) -> None:
    """Refuse what carries no good signature by one of the signers; a signed tag speaks for its commit."""
    what, verify, signed = f"commit {commit[:12]}", "verify-commit", commit
    if _git("cat-file", "-t", found, cwd=mirror) == "tag":
        tag = _git("cat-file", "tag", found, cwd=mirror)
        if _SIGNATURE.search(tag):
            name = next(line[4:] for line in tag.splitlines() if line.startswith("tag "))
            what, verify, signed = f"tag {name}", "verify-tag", found
            # A signed tag of an old release could have been put in the place of another.
            if version.removeprefix("refs/").removeprefix("tags/") != name and version != found:
                raise AnsibleError(f"{repo} has at {version!r} the signed tag {name!r}, which is another one.")
    home = os.path.join(work, "gnupg")
    os.mkdir(home, 0o700)  # with no key of the user's own
    with open(signers, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    allowed = os.devnull
    if "-----BEGIN PGP PUBLIC KEY BLOCK-----" in text:
        try:
            keys = openpgp.dearmor(text.encode())
            openpgp.fingerprints(keys)
        except openpgp.KeyFileError as error:
            raise AnsibleError(f"{signers} cannot be used: {error}.") from None
        with open(os.path.join(home, "pubring.gpg"), "wb") as ring:
            ring.write(keys)
    elif misplaced := re.search(r"^(ssh-|ecdsa-|sk-)\S+ ", text, re.MULTILINE):
        raise AnsibleError(
            f"{signers} has a line that starts with {misplaced[0].strip()}; an allowed signer is a name or an e-mail "
            "address, then the key."
        )
    else:
        allowed = os.path.abspath(signers)
    settings = (f"gpg.ssh.allowedSignersFile={allowed}", "gpg.minTrustLevel=undefined")
    done = _run_git(verify, signed, cwd=mirror, settings=settings, GNUPGHOME=home)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2].removeprefix("gpg: ") or "it is not signed"
        raise AnsibleError(
            f"{repo}: the {what} of {version!r} has no good signature by one of {signers}: {why.rstrip('.')}. "
            "Nothing of it was brought to a host."
        )


# --- an archive, a wheel


def _from_archive(archive: str, target: str, bounds: archives.Bounds) -> dict[str, Any]:
    with _named(f"{os.path.basename(archive)} cannot be unpacked"):
        archives.unpack(archive, target, bounds)
    inside = [os.path.join(target, name) for name in os.listdir(target)]
    if len(inside) == 1 and os.path.isdir(inside[0]) and not os.path.islink(inside[0]):
        target = inside[0]
    version = _declared_version(target) or os.path.basename(archive)
    files = list(_walk(target, IGNORED))
    _refuse_lacking_submodules(target, files, os.path.basename(archive))
    return {"root": target, "files": files, "version": version}


def _from_wheel(wheel: str, target: str, bounds: archives.Bounds) -> dict[str, Any]:
    name = os.path.basename(wheel)
    with _named(f"{name} cannot be installed"):
        archives.check_zip(wheel, bounds)
    shutil.copyfile(wheel, os.path.join(target, name))
    return {"files": list(_walk(target)), "version": wheel_version(name), "wheel": name}


def _keep_requirements(path: str, target: str) -> str:
    """Copy a requirements file of the controller, and those that it names; return its name in the copy."""
    directory, name = os.path.split(os.path.realpath(path))
    read, kind_of = in_directory(directory)

    def keep(name: str) -> bytes | None:
        data = read(name)
        if data is not None:
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            with open(os.path.join(target, name), "wb") as stream:
                stream.write(data)
        return data

    Reader(keep, kind_of).file(name)
    return name
