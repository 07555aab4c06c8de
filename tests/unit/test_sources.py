"""The source of an app, wherever it comes from."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.filter.check_apps import check_apps
from ansible_collections.baremetal.web.plugins.plugin_utils._apps import sources
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import examine
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sources import (
    Tree,
    app_requirements,
    open_app,
    open_source,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.files import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms import openpgp
from conftest import run_ansible, wait_until

FORK = multiprocessing.get_context("fork")  # as Ansible starts its workers


@pytest.fixture
def new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Do what a start of Ansible does: give the run a directory of its own."""

    def _new_run() -> Path:
        (tmp_path / "runs").mkdir(exist_ok=True)
        run = tempfile.mkdtemp(dir=tmp_path / "runs")
        monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", run)
        return Path(run)

    return _new_run


@pytest.fixture(autouse=True)
def run(new_run: Callable[[], Path]) -> Path:
    """Return the directory of the run."""
    return new_run()


@pytest.fixture(autouse=True)
def own_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the cache of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(sources, "CACHE", str(tmp_path / "cache" / "baremetal.web"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "shop" / "static").mkdir(parents=True)
    (root / "shop" / "__init__.py").write_text("app = 1\n")
    (root / "shop" / "static" / "a.css").write_text("a {}\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "README").symlink_to("shop/__init__.py")
    (root / "files").symlink_to("shop/static")
    return root


def look(source: dict[str, Any], *search: Path, requirements: str = "") -> Tree:
    with open_source(source, [str(path) for path in search], requirements) as tree:
        return tree


@pytest.fixture
def digest(new_run: Callable[[], Path]) -> Callable[[Path], str]:
    """Return the digest that a directory has in a run of now."""

    def _digest(root: Path) -> str:
        new_run()
        return look({"path": str(root)}).digest()

    return _digest


Digest = Callable[[Path], str]


def names(root: Path) -> list[str]:
    return list(look({"path": str(root)}).files())


@pytest.mark.parametrize(
    "litter",
    [
        *(".git/HEAD", ".venv/bin/python", "venv/bin/python", "shop/__pycache__/a.pyc", "shop/a.pyc", ".env"),
        *("node_modules/a/index.js", ".pytest_cache/x", "shop/.mypy_cache/x", ".tox/py/x"),
    ],
)
def test_what_does_not_belong_into_a_release_is_left_out(tree: Path, digest: Digest, litter: str) -> None:
    before, files = digest(tree), names(tree)
    (tree / litter).parent.mkdir(parents=True, exist_ok=True)
    (tree / litter).write_text("litter")
    assert digest(tree) == before
    assert names(tree) == files


@pytest.mark.parametrize("name", [".github/x", "shop/environment.py", "shop/venv.py", ".dockerignore", "shop/git"])
def test_what_only_looks_like_litter_belongs_to_a_release(tree: Path, digest: Digest, name: str) -> None:
    before = digest(tree)
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("wanted")
    assert digest(tree) != before
    assert name in names(tree)


def rename(tree: Path) -> None:
    (tree / "run.sh").rename(tree / "walk.sh")


def retarget(tree: Path) -> None:
    (tree / "README").unlink()
    (tree / "README").symlink_to("shop/static/a.css")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: (tree / "shop" / "__init__.py").write_text("app = 2\n"), id="content"),
        pytest.param(rename, id="name"),
        pytest.param(lambda tree: (tree / "run.sh").chmod(0o644), id="executable bit"),
        pytest.param(retarget, id="target of a link"),
        pytest.param(lambda tree: (tree / "run.sh").unlink(), id="a file less"),
        pytest.param(lambda tree: (tree / "empty").touch(), id="a file more"),
    ],
)
def test_a_change_of_the_tree_is_another_release(tree: Path, digest: Digest, change: Callable[[Path], None]) -> None:
    before = digest(tree)
    change(tree)
    assert digest(tree) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: os.utime(tree / "run.sh", (0, 0)), id="times"),
        pytest.param(lambda tree: (tree / "shop" / "__init__.py").chmod(0o600), id="who may read it"),
        pytest.param(lambda tree: (tree / "empty").mkdir(), id="an empty directory"),
        pytest.param(lambda tree: tree.rename(tree.with_name("moved")).rename(tree), id="its place"),
    ],
)
def test_what_does_not_reach_the_host_is_no_change(tree: Path, digest: Digest, change: Callable[[Path], None]) -> None:
    before = digest(tree)
    change(tree)
    assert digest(tree) == before


def test_a_packed_tree_is_the_same_tree_when_unpacked(tree: Path, digest: Digest, tmp_path: Path) -> None:
    (tree / ".git").mkdir()
    (tree / ".git" / "HEAD").touch()
    archive, unpacked = tmp_path / "packed.tar.gz", tmp_path / "unpacked"
    look({"path": str(tree)}).pack(str(archive))
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
    assert digest(unpacked) == digest(tree)
    assert not (unpacked / ".git").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "shop/../../outside"])
def test_a_link_that_leads_out_of_the_tree_is_refused_by_name(tree: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").touch()
    (tree / "link").symlink_to(target)
    with pytest.raises(AnsibleError, match=f"link.*{target}"):
        look({"path": str(tree)})


def test_what_is_neither_a_file_nor_a_link_is_refused_by_name(tree: Path) -> None:
    os.mkfifo(tree / "shop" / "pipe")
    with pytest.raises(AnsibleError, match="shop/pipe"):
        look({"path": str(tree)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["shop", "run.sh"])
def test_what_cannot_be_read_is_refused_by_name(tree: Path, name: str) -> None:
    (tree / name).chmod(0)
    with pytest.raises(AnsibleError, match=name):
        look({"path": str(tree)})


def test_a_file_of_the_tree_is_read_and_a_missing_one_is_none(tree: Path) -> None:
    (tree / ".env").write_text("not for hosts")
    assert look({"path": str(tree)}).read("./shop/__init__.py") == "app = 1\n"
    for name in ("requirements.txt", ".env", "../tree/run.sh"):
        assert look({"path": str(tree)}).read(name) is None


@pytest.mark.parametrize(
    ("project", "version"),
    [
        ('[project]\nname = "shop"\nversion = "1.2.3"\n', "1.2.3"),
        ('[project]\nname = "shop"\n', ""),
        ("[tool.ruff]\n", ""),
        ("not [ TOML", ""),
        (None, ""),
    ],
)
def test_a_tree_has_the_version_that_its_project_declares(tree: Path, project: str | None, version: str) -> None:
    if project is not None:
        (tree / "pyproject.toml").write_text(project)
    with open_source({"path": "tree"}, [str(tree.parent)]) as opened:
        assert opened.version == version


class Repository:
    """A git repository with the branches main and feature, and the tag v1 on main's first commit."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.first = self.commit("one")
        self.git("tag", "-a", "-m", "v1", "v1")
        self.second = self.commit("two")
        self.git("checkout", "--quiet", "-b", "feature")
        self.third = self.commit("three")
        self.git("checkout", "--quiet", "main")

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
        done = subprocess.run(["git", *identity, *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, content: str) -> str:
        (self.path / "file").write_text(content)
        self.git("add", "file")
        self.git("commit", "--quiet", "-m", content)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    return Repository(tmp_path / "repository")


@pytest.fixture
def content(new_run: Callable[[], Path]) -> Callable[..., str | None]:
    """Return what a repository's file holds in a run of now."""

    def _content(repository: Path | str, version: str = "HEAD") -> str | None:
        new_run()
        with open_source({"git": {"repo": str(repository), "version": version}}, search_path(None)) as tree:
            return tree.read("file")

    return _content


Content = Callable[..., str | None]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("HEAD", "two"), ("main", "two"), ("feature", "three"), ("v1", "one"), ("first", "one"), ("third", "three")],
)
def test_a_branch_a_tag_and_a_commit_are_versions(
    repository: Repository, content: Content, version: str, expected: str
) -> None:
    assert content(repository.path, getattr(repository, version, version)) == expected


def test_a_repository_gives_its_commit_and_the_version_that_was_asked_for(repository: Repository) -> None:
    tree = look({"git": {"repo": str(repository.path), "version": "feature"}})
    assert (tree.version, tree.commit) == ("feature", repository.third)


@pytest.mark.parametrize(("version", "expected"), [("HEAD", "1.2"), ("main", "1.2"), ("v2", "v2")])
def test_a_tag_is_a_version_and_what_moves_has_the_one_that_its_project_declares(
    repository: Repository, version: str, expected: str
) -> None:
    (repository.path / "pyproject.toml").write_text('[project]\nversion = "1.2"\n')
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "project")
    repository.git("tag", "v2")
    assert look({"git": {"repo": str(repository.path), "version": version}}).version == expected


@pytest.mark.parametrize("version", ["no-such-branch", "0" * 40, "--help", "main:file", ""])
def test_an_unknown_version_is_refused_by_repository_and_version(
    repository: Repository, content: Content, version: str
) -> None:
    with pytest.raises(AnsibleError) as refusal:
        content(repository.path, version)
    assert repr(version) in str(refusal.value)
    assert str(repository.path) in str(refusal.value)


def test_a_repository_that_cannot_be_read_is_refused_with_gits_own_words(
    repository: Repository, content: Content, tmp_path: Path
) -> None:
    with pytest.raises(AnsibleError, match=r"git \w+ failed: .*no-such-repository"):
        content(tmp_path / "no-such-repository")


def test_a_repository_that_went_away_is_named(repository: Repository, content: Content) -> None:
    content(repository.path)
    repository.path.rename(repository.path.with_name("elsewhere"))
    with pytest.raises(AnsibleError, match=f"{repository.path}"):
        content(repository.path)


def test_a_branch_moves_on_between_two_releases(repository: Repository, content: Content) -> None:
    assert content(repository.path, "main") == "two"
    repository.commit("four")
    assert content(repository.path, "main") == "four"


def test_a_branch_that_was_rewritten_is_followed(repository: Repository, content: Content) -> None:
    assert content(repository.path, "main") == "two"
    repository.git("reset", "--quiet", "--hard", repository.first)
    repository.commit("other")
    assert content(repository.path, "main") == "other"


def test_a_branch_that_was_deleted_is_unknown(repository: Repository, content: Content) -> None:
    assert content(repository.path, "feature") == "three"
    repository.git("branch", "--quiet", "-D", "feature")
    with pytest.raises(AnsibleError, match="'feature'"):
        content(repository.path, "feature")


def test_head_is_the_default_branch_of_today(repository: Repository, content: Content) -> None:
    assert content(repository.path) == "two"
    repository.git("branch", "--quiet", "-m", "main", "trunk")
    repository.commit("four")
    assert content(repository.path) == "four"


def test_a_relative_repository_is_found_again_when_it_is_in_the_cache(
    repository: Repository, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.path.parent)
    assert content("./repository") == "two"
    repository.commit("four")
    assert content("./repository") == "four"


def test_the_cache_is_closed_to_others_and_holds_no_work_tree(repository: Repository, content: Content) -> None:
    content(repository.path)
    cache = Path(sources.CACHE)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert not list(cache.rglob("file"))


def test_a_tag_that_was_moved_is_followed_and_a_deleted_one_unknown(repository: Repository, content: Content) -> None:
    assert content(repository.path, "v1") == "one"
    repository.git("tag", "--force", "-a", "-m", "v1", "v1", repository.third)
    assert content(repository.path, "v1") == "three"
    repository.git("tag", "--delete", "v1")
    with pytest.raises(AnsibleError, match="'v1'"):
        content(repository.path, "v1")


def test_a_repository_with_a_submodule_is_refused_by_its_name(repository: Repository, content: Content) -> None:
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{repository.first},vendor/lib")
    repository.git("commit", "--quiet", "-m", "submodule")
    with pytest.raises(AnsibleError, match="submodule vendor/lib"):
        content(repository.path)


@pytest.mark.parametrize(("port", "said"), [(1, "failed"), (0, "failed")])
def test_no_credentials_of_a_repository_are_shown(content: Content, port: int, said: str) -> None:
    with pytest.raises(AnsibleError, match=said) as refusal:
        content(f"http://me:hunter2@127.0.0.1:{port}/repository")
    assert "hunter2" not in str(refusal.value)
    assert "127.0.0.1" in str(refusal.value)


def test_a_hook_of_another_repository_does_not_lead_git_astray(
    repository: Repository, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git" / "index"))
    assert content(repository.path, repository.third) == "three"
    assert look({"path": str(repository.path)}).commit == repository.second


HEAD = {"version": "HEAD"}
# What a repository's own configuration can make git run; {0} is a command that says that it was run.
COMMANDS = {
    "core.fsmonitor": "{0}",
    "core.hooksPath": "hooks",
    "core.pager": "{0}",
    "core.editor": "{0}",
    "core.sshCommand": "{0}",
    "core.gitProxy": "{0}",
    "core.askPass": "{0}",
    "core.alternateRefsCommand": "{0}",
    "credential.helper": "!{0}",
    "filter.probe.clean": "{0}",
    "filter.probe.smudge": "{0}",
    "filter.probe.process": "{0}",
    "filter.Case.With.Dots.clean": "{0}",
    "diff.probe.command": "{0}",
    "diff.probe.textconv": "{0}",
    "diff.external": "{0}",
    "merge.probe.driver": "{0}",
    "gpg.program": "{0}",
    "gpg.ssh.program": "{0}",
    "alias.status": "!{0}",
    "alias.ls-files": "!{0}",
    "uploadpack.packObjectsHook": "{0}",
    "remote.origin.uploadpack": "{0}",
    "status.submoduleSummary": "true",
    "log.showSignature": "true",
    "pager.status": "{0}",
    "include.path": "more",
}


@pytest.mark.parametrize("kind", ["path", "git"])
def test_no_command_of_a_repositorys_own_configuration_is_run(
    repository: Repository, tmp_path: Path, kind: str
) -> None:
    ran, script = tmp_path / "ran", tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {ran}\ncat\n')
    script.chmod(0o755)
    (repository.path / ".gitattributes").write_text(
        "file filter=probe diff=probe merge=probe\nother filter=Case.With.Dots\n"
    )
    (repository.path / "other").write_text("text")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "attributes")
    hooks = repository.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "post-checkout", "pre-auto-gc"):
        shutil.copy(script, hooks / name)
    shutil.copytree(hooks, repository.path / "hooks")
    (repository.path / ".git" / "more").write_text(
        f'[core]\nfsmonitor = {script}\n[filter "probe"]\nclean = {script}\n'
    )
    repository.git("config", "remote.origin.url", "ssh://127.0.0.1:1/none")
    with (repository.path / ".git" / "config").open("a") as config:
        for setting, command in COMMANDS.items():
            section, _dot, key = setting.rpartition(".")
            kind_of, _dot, name = section.partition(".")
            head = f'{kind_of} "{name}"' if name else kind_of
            config.write(f'[{head}]\n{key} = "{command.format(f"{script} {setting}")}"\n')
    for name in ("file", "other"):  # as large as before, so that git has to look at what is in it
        os.utime(repository.path / name, (1, 1))
    ran.unlink(missing_ok=True)
    tree = look({"path": str(repository.path)} if kind == "path" else {"git": {"repo": str(repository.path), **HEAD}})
    assert tree.commit.partition("-")[0] == repository.git("-c", "core.fsmonitor=false", "rev-parse", "HEAD")
    assert not ran.exists(), ran.read_text()


def test_a_filter_of_a_repository_would_be_run_by_git_itself(repository: Repository, tmp_path: Path) -> None:
    """The proof of the test before: the same status without our settings."""
    (tmp_path / "script").write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\ncat\n")
    (tmp_path / "script").chmod(0o755)
    (repository.path / ".gitattributes").write_text("file filter=probe\n")
    repository.git("config", "filter.probe.clean", str(tmp_path / "script"))
    os.utime(repository.path / "file", (1, 1))
    repository.git("status", "--porcelain")
    assert (tmp_path / "ran").exists()


def test_a_filter_that_cannot_be_turned_off_is_refused(repository: Repository) -> None:
    repository.git("config", "filter.a=b.clean", "touch ran")
    with pytest.raises(AnsibleError, match=r"'filter\.a=b\.clean'.*Rename the filter"):
        look({"path": str(repository.path)})


def test_no_variable_of_git_leads_elsewhere(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = look({"path": str(repository.path)})
    for variable in (
        *("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_EDITOR", "GIT_EXEC_PATH", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS"),
        *("GIT_NAMESPACE", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_ATTR_SOURCE", "GIT_TEMPLATE_DIR", "GIT_TRACE"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    assert look({"git": {"repo": str(repository.path), **HEAD}}).digest() == expected.digest()
    assert not (tmp_path / "nothing").exists()


# --- a directory that git knows


def test_of_a_work_tree_only_what_git_tracks_is_taken_as_it_is_in_the_directory(repository: Repository) -> None:
    (repository.path / "untracked").write_text("secret")
    (repository.path / "file").write_text("changed")
    tree = look({"path": str(repository.path)})
    assert list(tree.files()) == ["file"]
    assert tree.read("file") == "changed"


def test_what_is_tracked_belongs_to_the_app_whatever_its_name(repository: Repository) -> None:
    for name in ("shop/venv/__init__.py", "node_modules/a.js", "with space/\u00e9\n.txt"):
        (repository.path / name).parent.mkdir(parents=True)
        (repository.path / name).touch()
        repository.git("add", "--force", name)
    expected = ["file", "node_modules/a.js", "shop/venv/__init__.py", "with space/\u00e9\n.txt"]
    assert list(look({"path": str(repository.path)}).files()) == expected


def test_a_work_tree_without_changes_is_the_same_release_as_its_repository(repository: Repository) -> None:
    (repository.path / "venv").mkdir()
    (repository.path / "venv" / "run.sh").write_text("#!/bin/sh\n")
    (repository.path / "venv" / "run.sh").chmod(0o755)
    (repository.path / "link").symlink_to("venv/run.sh")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "more")
    directory = look({"path": str(repository.path)})
    remote = look({"git": {"repo": str(repository.path), "version": "main"}})
    assert directory.digest() == remote.digest()
    assert directory.commit == remote.commit


def test_a_directory_in_a_work_tree_is_taken_without_what_is_beside_it(repository: Repository) -> None:
    (repository.path / "apps" / "shop").mkdir(parents=True)
    (repository.path / "apps" / "shop" / "a.py").touch()
    (repository.path / "apps" / "shop" / "b.py").touch()
    repository.git("add", "apps/shop/a.py")
    repository.git("commit", "--quiet", "-m", "shop")
    (repository.path / "file").write_text("a change elsewhere")
    tree = look({"path": "apps/shop"}, repository.path)
    assert list(tree.files()) == ["a.py"]
    assert tree.commit == repository.git("rev-parse", "HEAD")


def test_a_directory_of_which_git_tracks_nothing_is_taken_as_it_is(repository: Repository) -> None:
    (repository.path / "build").mkdir()
    (repository.path / "build" / "a.py").touch()
    (repository.path / "build" / ".env").touch()
    tree = look({"path": str(repository.path / "build")})
    assert (list(tree.files()), tree.commit) == (["a.py"], "")


def test_the_commit_of_a_work_tree_says_whether_tracked_files_differ(
    repository: Repository, new_run: Callable[[], Path]
) -> None:
    def commit() -> str:
        new_run()
        return look({"path": str(repository.path)}).commit

    (repository.path / "untracked").touch()
    assert commit() == repository.second
    (repository.path / "file").write_text("changed")
    assert commit() == f"{repository.second}-dirty"
    repository.git("add", "file")
    assert commit() == f"{repository.second}-dirty"


def test_a_work_tree_before_its_first_commit_has_none(tmp_path: Path, repository: Repository) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.py").touch()
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path / "new", check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path / "new", check=True)
    tree = look({"path": str(tmp_path / "new")})
    assert (list(tree.files()), tree.commit) == (["a.py"], "")


def test_a_tracked_file_that_is_gone_is_left_out(repository: Repository, tmp_path: Path) -> None:
    for name in ("gone", "replaced", "moved/a"):
        (repository.path / name).parent.mkdir(exist_ok=True)
        (repository.path / name).touch()
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "more")
    (repository.path / "gone").unlink()
    (repository.path / "replaced").unlink()
    (repository.path / "replaced").mkdir()
    (repository.path / "moved").rename(tmp_path / "moved")
    (repository.path / "moved").symlink_to(tmp_path / "moved")  # for git, what was in it is gone
    tree = look({"path": str(repository.path)})
    assert list(tree.files()) == ["file"]
    assert tree.commit.endswith("-dirty")


def test_a_work_tree_with_a_submodule_is_refused_by_its_name(repository: Repository) -> None:
    subprocess.run(["git", "init", "--quiet", "lib"], cwd=repository.path, check=True)
    (repository.path / "lib" / "x").touch()
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    subprocess.run(["git", "add", "x"], cwd=repository.path / "lib", check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "x"], cwd=repository.path / "lib", check=True)
    repository.git("add", "lib")
    with pytest.raises(AnsibleError, match="submodule lib"):
        look({"path": str(repository.path)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_work_tree_of_another_user_is_refused_with_the_way_out(repository: Repository) -> None:
    for path in (repository.path, repository.path / ".git"):
        os.chown(path, 12345, 12345)
    (repository.path / "app").mkdir()
    with pytest.raises(AnsibleError) as refusal:
        look({"path": str(repository.path / "app")})
    assert str(repository.path / "app") in str(refusal.value)
    assert f"safe.directory '{repository.path}'" in str(refusal.value)


def test_a_work_tree_is_refused_where_git_is_missing(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(AnsibleError, match="git is not installed"):
        look({"path": str(repository.path)})


# --- who signed it


class Signer:
    """Somebody with a key; commits and tags in a repository with it."""

    def __init__(self, repository: Repository, signers: Path, *options: str):
        self.repository = repository
        self.signers = signers
        self.options = [word for option in options for word in ("-c", option)]

    def tag(self, name: str) -> None:
        self.repository.git(*self.options, "tag", "-s", "-m", name, name)

    def commit(self, content: str) -> None:
        (self.repository.path / "file").write_text(content)
        self.repository.git(*self.options, "commit", "--quiet", "-S", "-a", "-m", content)


def with_ssh(repository: Repository, directory: Path) -> Signer:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    directory.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], check=True)
    (directory / "signers").write_text(f"me@example.com {(directory / 'key.pub').read_text()}")
    return Signer(repository, directory / "signers", "gpg.format=ssh", f"user.signingKey={directory / 'key'}")


def with_gpg(repository: Repository, directory: Path) -> Signer:
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    home = Path(tempfile.mkdtemp(prefix="gnupg-"))  # its agent's socket allows no long path
    directory.mkdir()
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    try:
        parameters = "%no-protection\nKey-Type: eddsa\nKey-Curve: ed25519\nName-Email: me@example.com\n%commit\n"
        subprocess.run([*gpg, "--generate-key"], input=parameters.encode(), capture_output=True, check=True)
        exported = subprocess.run([*gpg, "--armor", "--export"], capture_output=True, check=True).stdout
        secret = subprocess.run([*gpg, "--export-secret-keys"], capture_output=True, check=True).stdout
        (directory / "signers").write_bytes(exported)
        (directory / "secret").write_bytes(secret)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)  # the agent takes its sockets away at the same time
    # What signs brings the key along and takes it away again, with the agent that it needs.
    program = directory / "sign"
    program.write_text(
        "#!/bin/sh\nGNUPGHOME=$(mktemp -d) || exit 1\nexport GNUPGHOME\n"
        f"gpg --batch --quiet --import '{directory / 'secret'}' 2>/dev/null\n"
        'gpg --batch "$@"; status=$?\ngpgconf --kill all; rm -rf "$GNUPGHOME"; exit $status\n'
    )
    program.chmod(0o755)
    return Signer(repository, directory / "signers", f"gpg.program={program}", "user.signingKey=me@example.com")


@pytest.fixture(params=[with_ssh, with_gpg], ids=["ssh", "gpg"])
def signer(request: pytest.FixtureRequest, repository: Repository, tmp_path: Path) -> Signer:
    return request.param(repository, tmp_path / "signer")


def signed(signer: Signer, version: str) -> str | None:
    git = {"repo": str(signer.repository.path), "version": version, "signers": signer.signers.name}
    return look({"git": git}, signer.signers.parent).read("file")


def test_a_tag_or_a_commit_that_a_signer_signed_is_taken(signer: Signer) -> None:
    signer.tag("v2")  # of a commit that nobody signed
    assert signed(signer, "v2") == "two"
    signer.commit("three, signed")
    assert signed(signer, "main") == "three, signed"
    signer.repository.git("tag", "-a", "-m", "not signed", "v3")
    assert signed(signer, "v3") == "three, signed"


@pytest.mark.parametrize("version", ["main", "v1", "HEAD"])
def test_what_nobody_signed_is_refused(signer: Signer, version: str) -> None:
    with pytest.raises(AnsibleError, match=rf"'{version}' has no good signature .*{signer.signers}: it is not signed"):
        signed(signer, version)


def test_what_somebody_else_signed_is_refused(signer: Signer, tmp_path: Path) -> None:
    other = (with_gpg if "gpg.program" in str(signer.options) else with_ssh)(signer.repository, tmp_path / "other")
    other.tag("v2")
    other.commit("three, signed")
    for version, what in (("v2", "tag v2"), ("main", "commit")):
        with pytest.raises(AnsibleError, match=f"{what}.*has no good signature"):
            signed(signer, version)


def test_the_keys_of_the_user_that_runs_ansible_do_not_count(
    signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (with_ssh if "gpg.program" in str(signer.options) else with_gpg)(signer.repository, tmp_path / "other")
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "gnupg"))
    (tmp_path / "gnupg").mkdir(0o700)
    if "gpg.program" in str(other.options):
        (tmp_path / "gnupg" / "pubring.gpg").write_bytes(openpgp.dearmor(other.signers.read_bytes()))
    config = tmp_path / "gitconfig"
    config.write_text(f'[gpg "ssh"]\nallowedSignersFile = {other.signers}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    other.commit("three, signed")
    assert subprocess.run(["git", "verify-commit", "HEAD"], cwd=signer.repository.path, check=False).returncode == 0
    with pytest.raises(AnsibleError, match="has no good signature"):
        signed(signer, "main")


def test_a_commit_that_was_changed_after_it_was_signed_is_refused(signer: Signer) -> None:
    signer.commit("three, signed")
    text = subprocess.run(
        ["git", "cat-file", "commit", "HEAD"], cwd=signer.repository.path, capture_output=True, check=True
    ).stdout.replace(b"three, signed", b"three, forged")
    command = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
    forged = subprocess.run(command, cwd=signer.repository.path, input=text, capture_output=True, check=True).stdout
    signer.repository.git("update-ref", "refs/heads/main", forged.decode().strip())
    with pytest.raises(AnsibleError, match="has no good signature"):
        signed(signer, "main")


def test_a_signed_tag_in_the_place_of_another_is_refused_with_both_names(signer: Signer) -> None:
    signer.tag("v2")
    signer.repository.git("update-ref", "refs/tags/v3", "v2")
    with pytest.raises(AnsibleError, match=r"'v3'.*'v2'"):
        signed(signer, "v3")
    assert signed(signer, "refs/tags/v2") == signed(signer, signer.repository.git("rev-parse", "v2")) == "two"


def test_a_public_key_without_a_name_is_no_list_of_signers(repository: Repository, tmp_path: Path) -> None:
    signer = with_ssh(repository, tmp_path / "signer")
    signer.signers.write_text((tmp_path / "signer" / "key.pub").read_text())
    with pytest.raises(AnsibleError, match=r"a line that starts with ssh-ed25519"):
        signed(signer, "main")


def test_damaged_keys_are_refused_by_their_file(repository: Repository, tmp_path: Path) -> None:
    signer = Signer(repository, tmp_path / "signers")
    signer.signers.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnothing\n-----END PGP PUBLIC KEY BLOCK-----\n")
    with pytest.raises(AnsibleError, match=f"{signer.signers} cannot be used: "):
        signed(signer, "main")


# --- an archive, a wheel


@pytest.fixture
def pack(tree: Path, tmp_path: Path) -> Callable[..., Path]:
    """Pack the tree, with one directory at its top or flat."""

    def _pack(kind: str, top: bool = True) -> Path:
        root, base = (tree.parent, tree.name) if top else (tree, ".")
        return Path(shutil.make_archive(str(tmp_path / "packed"), kind, root, base))

    return _pack


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("top", [True, False], ids=["one directory at the top", "flat"])
@pytest.mark.parametrize("kind", ["gztar", "tar", "zip"])
def test_an_archive_is_unpacked_and_its_single_top_directory_stripped(
    pack: Callable[..., Path], kind: str, top: bool
) -> None:
    archive = pack(kind, top)
    tree = look({"archive": {"path": archive.name, "checksum": sha256(archive)}}, archive.parent)
    assert tree.read("shop/__init__.py") == "app = 1\n"
    assert (tree.version, tree.commit) == (archive.name, "")


def test_an_archive_has_the_version_that_its_project_declares(pack: Callable[..., Path], tree: Path) -> None:
    (tree / "pyproject.toml").write_text('[project]\nversion = "1.2"\n')
    archive = pack("gztar")
    assert look({"archive": {"path": str(archive), "checksum": sha256(archive)}}).version == "1.2"


def test_an_archive_of_a_directory_is_the_same_release(pack: Callable[..., Path], tree: Path, digest: Digest) -> None:
    (tree / "shop" / "__pycache__").mkdir()
    (tree / "shop" / "__pycache__" / "a.pyc").touch()
    archive = pack("gztar")
    assert look({"archive": {"path": str(archive), "checksum": sha256(archive)}}).digest() == digest(tree)


@pytest.mark.parametrize("kind", ["archive", "wheel"])
def test_a_file_with_another_checksum_is_refused_with_both(
    pack: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    file, wanted = pack("zip").rename(tmp_path / "shop-1.2-py3-none-any.whl"), f"sha256:{'0' * 64}"
    with pytest.raises(AnsibleError) as refusal:
        look({kind: {"path": str(file), "checksum": wanted}})
    for part in (file.name, sha256(file), wanted):
        assert part in str(refusal.value)


def test_an_archive_that_leads_out_of_its_place_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    (tmp_path / "payload").write_text("evil")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "payload", "../../evil")
    with pytest.raises(AnsibleError, match=r"evil\.tar\.gz .*evil"):
        look({"archive": {"path": str(archive), "checksum": sha256(archive)}})


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4"])
def test_what_is_no_archive_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "packed.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(AnsibleError, match=r"packed\.tar\.gz cannot be unpacked"):
        look({"archive": {"path": str(archive), "checksum": sha256(archive)}})


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Serve the temporary directory over HTTP on loopback; return its address, and the list of what is asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    asked: list[str] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


Web = tuple[str, list[str]]


def test_an_archive_is_fetched_and_held_against_its_checksum(pack: Callable[..., Path], web: Web) -> None:
    archive = pack("gztar")
    url = f"{web[0]}/{archive.name}?token=a/b"
    assert look({"archive": {"url": url, "checksum": sha256(archive)}}).read("shop/__init__.py") == "app = 1\n"
    with pytest.raises(AnsibleError, match="checksum"):
        look({"archive": {"url": url, "checksum": f"sha256:{'0' * 64}"}})


def test_an_address_that_gives_nothing_is_named_without_its_credentials(web: Web) -> None:
    url = f"{web[0].replace('//', '//me:hunter2@')}/missing.tar.gz?token=hunter3"
    with pytest.raises(AnsibleError, match=r"/missing\.tar\.gz cannot be fetched: .*404") as refusal:
        look({"archive": {"url": url, "checksum": f"sha256:{'0' * 64}"}})
    assert "hunter" not in str(refusal.value)


def test_a_wheel_comes_with_the_requirements_of_the_controller(tmp_path: Path) -> None:
    wheel = tmp_path / "hello_flask-1.2-py3-none-any.whl"
    zipfile.ZipFile(wheel, "w").close()
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "hello.txt").write_text("flask==3.1\n")
    source = {"wheel": {"path": wheel.name, "checksum": sha256(wheel)}}
    tree = look(source, tmp_path, requirements="locks/hello.txt")
    assert (tree.wheel, tree.version, tree.commit) == (wheel.name, "1.2", "")
    assert list(tree.files()) == [wheel.name]
    assert tree.requirements("", builds=False).files() == {"requirements.txt": "flask==3.1\n"}
    assert (Path(tree.root) / tree.wheel).read_bytes() == wheel.read_bytes()
    assert list(look(source, tmp_path).files()) == [wheel.name]


def test_a_wheel_keeps_its_name_on_its_way_from_an_address(tmp_path: Path, web: Web) -> None:
    wheel = tmp_path / "hello_flask-1.2+local-py3-none-any.whl"
    zipfile.ZipFile(wheel, "w").close()
    url = f"{web[0]}/{wheel.name.replace('+', '%2B')}?token=a/b#sha256=1"
    tree = look({"wheel": {"url": url, "checksum": sha256(wheel)}})
    assert (tree.wheel, tree.version) == (wheel.name, "1.2+local")


@pytest.mark.parametrize("kind", ["path", "archive"])
def test_only_a_wheel_is_a_wheel(pack: Callable[..., Path], tree: Path, kind: str) -> None:
    archive = pack("zip")
    source = {"path": str(tree)} if kind == "path" else {"archive": {"path": str(archive), "checksum": sha256(archive)}}
    assert look(source).wheel == ""


# --- requirements


def describe(source: dict[str, Any], **python: Any) -> dict[str, Any]:
    entry = {"name": "shop", "source": source, "entrypoint": "shop:app", "python": python}
    (completed,), problems = examine([entry], [], ["web1"])
    assert problems == []
    return completed


KIND_OF_SOURCE = pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda top, kind: as_path(top, kind), "", "Create it"),
        (lambda top, kind: as_git(top, kind), "", "Commit [0-9a-f]{12} has no such file"),
        (lambda top, kind: as_archive(top, kind), "gztar", "The archive has no such file"),
        (lambda top, kind: as_wheel(top, kind), "", "a wheel does not bring its own"),
    ],
    ids=["path", "git", "archive", "wheel"],
)


def problems_of(*arguments: Any, **options: Any) -> list[str]:
    return check_apps(*arguments, **options)["problems"]


@KIND_OF_SOURCE
def test_requirements_that_a_source_lacks_are_refused_before_a_host_is_asked_and_can_be_the_controllers(
    tree: Path, tmp_path: Path, make: Callable[..., Any], kind: str, said: str, new_run: Callable[[], Path]
) -> None:
    source = make(tree, kind)
    entry = {"name": "shop", "source": source, "entrypoint": "shop:app"}
    (problem,) = problems_of([entry], None, names=["web1"])
    assert re.search(f"python.requirements names 'requirements.txt', .*{said}.*python.requirements_path", problem)
    (tmp_path / "locks" / "more").mkdir(parents=True)
    (tmp_path / "locks" / "shop.txt").write_text("-r more/base.txt\njinja2\n")
    (tmp_path / "locks" / "more" / "base.txt").write_text("flask\n")
    app = describe(source, requirements_path=str(tmp_path / "locks" / "shop.txt"))
    new_run()
    with open_app(app, []) as opened:
        (tmp_path / "locks" / "more" / "base.txt").write_text("meanwhile\n")
        assert app_requirements(opened, app["python"]).files() == {"requirements.txt": "flask\njinja2\n"}


@KIND_OF_SOURCE
def test_a_line_that_is_not_allowed_is_named_by_file_and_line_before_a_host_is_asked(
    tree: Path, tmp_path: Path, make: Callable[..., Any], kind: str, said: str
) -> None:
    for top in (tree, tmp_path):
        (top / "base.txt").write_text("# first\n-e .\n")
        (top / "requirements.txt").write_text("-r base.txt\n")
    python = {"requirements": "requirements.txt"} if kind or "wheel" not in said else {"requirements_path": "base.txt"}
    entry = {"name": "shop", "source": make(tree, kind), "entrypoint": "shop:app", "python": python}
    (problem,) = problems_of([entry], str(tmp_path), names=["web1"])
    assert problem.startswith("app shop: base.txt line 2: '-e .' is not allowed")


@pytest.mark.parametrize(
    "source",
    [
        {"git": {"repo": "http://127.0.0.1:1/repository", "version": "main"}},
        {"archive": {"url": "http://127.0.0.1:1/shop.tar.gz", "checksum": f"sha256:{'0' * 64}"}},
    ],
)
def test_a_source_that_cannot_be_reached_keeps_no_other_app_back(source: dict[str, Any]) -> None:
    entry = {"name": "shop", "source": source, "entrypoint": "shop:app"}
    assert problems_of([entry], None, names=["web1"]) == []
    with pytest.raises(AnsibleError, match=r"failed|cannot be fetched"):
        look(source)


def test_a_file_that_git_does_not_track_is_named_as_such(repository: Repository) -> None:
    (repository.path / "requirements.txt").write_text("flask\n")
    entry = {"name": "shop", "source": {"path": str(repository.path)}, "entrypoint": "shop:app"}
    (problem,) = problems_of([entry], None, names=["web1"])
    assert "git tracks none. Create it and `git add` it, or name a file of the controller" in problem


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("uv.lock", "uv export"),
        ("poetry.lock", "poetry export"),
        ("Pipfile.lock", "pipenv requirements"),
        ("pdm.lock", "pdm export"),
        ("environment.yml", "pip list --format freeze"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "beside"])
def test_a_lock_of_another_tool_gets_the_command_that_makes_requirements_of_it(
    tree: Path, name: str, command: str, named: bool
) -> None:
    (tree / name).touch()
    python = {"requirements": name} if named else {}
    entry = {"name": "shop", "source": {"path": str(tree)}, "entrypoint": "shop:app", "python": python}
    (problem,) = problems_of([entry], None, names=["web1"])
    assert f"{name} is no requirements file. `" in problem
    assert command in problem


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pyproject.toml", "It has pyproject.toml, which python.requirements may name. Create"),
        ("requirements/prod.txt", "It has requirements/prod.txt, which"),
        ("backend/requirements.txt", "It has backend/requirements.txt, which"),
        ("Requirements.txt", "It has Requirements.txt, which"),
        ("requirements-dev.in", "It has requirements-dev.in, which"),
        ("docs/what/requirements.txt", "does not have. Create"),
    ],
)
def test_a_file_that_may_be_meant_is_named(tree: Path, name: str, said: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("flask\n")
    entry = {"name": "shop", "source": {"path": str(tree)}, "entrypoint": "shop:app"}
    (problem,) = problems_of([entry], None, names=["web1"])
    assert said in problem


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "__pycache__").mkdir(parents=True)
    (tmp_path / "empty" / "__pycache__" / "x.pyc").touch()
    source = {"path": str(tmp_path / "empty")}
    entry = {"name": "shop", "source": source, "entrypoint": "shop:app", "python": {"requirements": ""}}
    (problem,) = problems_of([entry], None, names=["web1"])
    assert problem.startswith("app shop: the source has no files, so there is no app in it")


def test_hosts_with_a_wheelhouse_are_not_sent_to_an_address(tree: Path) -> None:
    line = f"a @ https://x.example/a-1-py3-none-any.whl --hash=sha256:{'a' * 64}\n"
    (tree / "requirements.txt").write_text(line)
    entry = {"name": "shop", "source": {"path": str(tree)}, "entrypoint": "shop:app"}
    assert problems_of([entry], None, names=["web1"]) == []
    (problem,) = problems_of([entry], None, names=["web1"], wheelhouse="house")
    assert problem.startswith("app shop: requirements.txt line 1: 'a @ https://x.example/a-1-py3-none-any.whl")
    assert "With python_wheelhouse hosts ask none" in problem


def test_only_one_requirements_file_can_be_given(tree: Path) -> None:
    python = {"requirements": "other.txt", "requirements_path": "no/such.txt"}
    entry = {"name": "shop", "source": {"path": str(tree)}, "entrypoint": "shop:app", "python": python}
    problems = problems_of([entry], None, names=["web1"])
    assert len(problems) == 2
    assert "give one of them" in problems[0]
    assert "python.requirements_path names 'no/such.txt', which is no file on the controller" in problems[1]


@pytest.mark.parametrize("place", ["", "src"])
@pytest.mark.parametrize("metadata", ["shop.egg-info", "shop-1.2.dist-info"])
def test_the_metadata_of_a_package_in_the_source_is_found(
    tree: Path, new_run: Callable[[], Path], place: str, metadata: str
) -> None:
    (tree / place / metadata).mkdir(parents=True)
    name = "PKG-INFO" if "egg" in metadata else "METADATA"
    (tree / place / metadata / name).write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.2\n")
    for make, kind in ((as_path, ""), (as_archive, "gztar")):
        new_run()
        found = look(make(tree, kind))
        command = [sys.executable, "-c", "import importlib.metadata as m; print(m.version('shop'))"]
        environment = {"PYTHONPATH": str(Path(found.root) / place)}
        assert subprocess.check_output(command, env=environment, text=True) == "1.2\n"


# --- what stands for files that are elsewhere

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"


def as_path(top: Path, _kind: str) -> dict[str, Any]:
    return {"path": str(top)}


def as_git(top: Path, _kind: str) -> dict[str, Any]:
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    for words in (("init", "-q"), ("add", "-f", "."), (*identity, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], cwd=top, check=True)
    return {"git": {"repo": str(top), "version": "HEAD"}}


def as_archive(top: Path, kind: str) -> dict[str, Any]:
    archive = Path(shutil.make_archive(str(top.parent / "packed"), kind, top.parent, top.name))
    return {"archive": {"path": str(archive), "checksum": sha256(archive)}}


def as_wheel(top: Path, _kind: str) -> dict[str, Any]:
    archive = Path(shutil.make_archive(str(top.parent / "packed"), "zip", top))
    wheel = archive.rename(top.parent / "hello-1.0-py3-none-any.whl")
    return {"wheel": {"path": str(wheel), "checksum": sha256(wheel)}}


KINDS = pytest.mark.parametrize(
    ("make", "kind"),
    [(as_path, ""), (as_git, ""), (as_archive, "gztar"), (as_archive, "zip"), (as_wheel, "")],
    ids=["path", "git", "tar", "zip", "wheel"],
)


@KINDS
@pytest.mark.parametrize("text", [POINTER, POINTER.replace("git-lfs", "hawser"), POINTER.replace("\n", "\r\n")])
def test_a_pointer_of_git_lfs_is_refused_by_its_path_in_every_source(
    tree: Path, new_run: Callable[[], Path], make: Callable[[Path, str], dict[str, Any]], kind: str, text: str
) -> None:
    (tree / "shop" / "logo.png").write_text(text, newline="")
    source = make(tree, kind)
    with pytest.raises(AnsibleError, match=r"shop/logo\.png, which Git LFS.*`git lfs pull`.*lfs_pointers_enabled"):
        look(source)
    new_run()
    assert look({**source, "lfs_pointers_enabled": True}).digest()


@KINDS
def test_what_only_mentions_git_lfs_goes_live(
    tree: Path, make: Callable[[Path, str], dict[str, Any]], kind: str
) -> None:
    (tree / "lfs.md").write_text(f"See:\n{POINTER}")
    (tree / "version.txt").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert look(make(tree, kind)).digest()


@pytest.mark.parametrize("kind", ["archive", "wheel"])
def test_a_file_that_is_a_pointer_itself_is_refused_before_its_checksum(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "hello-1.0-py3-none-any.whl"
    file.write_text(POINTER)
    with pytest.raises(AnsibleError, match=r"hello-1.0-py3-none-any\.whl is a pointer of Git LFS"):
        look({kind: {"path": str(file), "checksum": f"sha256:{'0' * 64}"}})


@pytest.mark.parametrize(("make", "kind"), [(as_path, ""), (as_archive, "gztar"), (as_archive, "zip")])
@pytest.mark.parametrize("inside", ["", "vendor/lib/"])
def test_a_tree_that_lacks_the_files_of_a_submodule_is_refused(
    tree: Path, make: Callable[[Path, str], dict[str, Any]], kind: str, inside: str, new_run: Callable[[], Path]
) -> None:
    (tree / "vendor" / "lib").mkdir(parents=True)
    (tree / "vendor" / "lib" / "a.py").touch()
    modules = '[submodule "lib"]\n\tpath = {}\n\turl = https://x.example/lib.git\n'
    (tree / ".gitmodules").write_text(modules.format("vendor/lib"))
    (tree / inside / "more").mkdir()
    with (tree / inside / ".gitmodules").open("a") as listed:
        listed.write(modules.format("more"))
    with pytest.raises(AnsibleError, match=f"no files of the submodule {inside}more, .*update --init --recursive"):
        look(make(tree, kind))
    new_run()
    (tree / inside / "more" / "b.py").touch()
    assert look(make(tree, kind)).digest()


# --- once in a run


def ask(source: dict[str, Any], answers: Any) -> None:
    try:
        with open_source(source, []) as tree, tempfile.NamedTemporaryFile() as archive:
            tree.pack(archive.name)
            answers.put((tree.digest(), tree.version, sha256(Path(archive.name))))
    except AnsibleError as error:
        answers.put(str(error))


def by_forks(source: dict[str, Any], number: int = 5) -> list[Any]:
    """Return what the forks of a run got that asked at the same time."""
    answers = FORK.Queue()
    forks = [FORK.Process(target=ask, args=(source, answers)) for _ in range(number)]
    for fork in forks:
        fork.start()
    got = [answers.get(timeout=60) for _ in forks]
    for fork in forks:
        fork.join(60)
    return got


def test_an_archive_is_fetched_once_for_all_forks_of_a_run(
    pack: Callable[..., Path], web: Web, new_run: Callable[[], Path]
) -> None:
    archive = pack("gztar")
    source = {"archive": {"url": f"{web[0]}/{archive.name}", "checksum": sha256(archive)}}
    for number in (1, 2):
        assert len(set(by_forks(source))) == 1
        assert len(web[1]) == number
        new_run()


def test_a_run_of_ansible_fetches_once_for_all_hosts_and_takes_everything_away(
    pack: Callable[..., Path], tree: Path, web: Web, tmp_path: Path
) -> None:
    (tree / "requirements.txt").touch()
    archive = pack("gztar")
    source = {"archive": {"url": f"{web[0]}/{archive.name}", "checksum": sha256(archive)}}
    apps = [{"name": "shop", "source": source, "entrypoint": "shop:app"}]
    task = {"ansible.builtin.debug": {"msg": "{{ apps | baremetal.web.wheel_requirements }}"}}
    play = {"hosts": "all", "connection": "local", "gather_facts": False, "vars": {"apps": apps}, "tasks": [task]}
    place = tmp_path / "place"
    place.mkdir()
    (place / "play.yml").write_text(json.dumps([play]))
    said = run_ansible(place, "playbook", "-i", "a,b,c,d,e,f,", "play.yml")
    assert said.count("app shop, requirements.txt") == 6
    assert len(web[1]) == 1
    assert not [path for path in (place / "home" / "tmp").rglob("*") if path.is_file()]


def waiting(pids: set[str]) -> int:
    """Return how many of these processes wait for a lock."""
    held = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return sum(words[1] == "->" and words[5] in pids for words in held)


def test_what_cannot_be_fetched_is_tried_once_for_those_who_wait_and_again_for_those_who_come_later(
    web: Web, run: Path
) -> None:
    source = {"archive": {"url": f"{web[0]}/missing.tar.gz", "checksum": f"sha256:{'0' * 64}"}}
    with pytest.raises(AnsibleError):
        look(source)
    (lock,) = (run / "baremetal.web").glob("*.lock")
    web[1].clear()
    answers = FORK.Queue()
    forks = [FORK.Process(target=ask, args=(source, answers)) for _ in range(5)]
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for fork in forks:
            fork.start()
        wait_until(lambda: waiting({str(fork.pid) for fork in forks}) == 5)
        fcntl.flock(held, fcntl.LOCK_UN)  # closing it is not enough, for the forks have it open as well
    got = {answers.get(timeout=60) for _ in forks}
    for fork in forks:
        fork.join(60)
    assert len(got) == len(web[1]) / 2 == 1  # http.server logs an error and its request
    with pytest.raises(AnsibleError, match="404"):
        look(source)
    assert len(web[1]) == 4


@pytest.mark.parametrize("kind", ["path", "git"])
def test_all_hosts_of_a_run_get_the_same_whatever_happens_to_the_source_meanwhile(
    repository: Repository, new_run: Callable[[], Path], tmp_path: Path, kind: str
) -> None:
    path = str(repository.path)
    source = {"path": path} if kind == "path" else {"git": {"repo": path, "version": "main"}}
    before, archive = look(source), tmp_path / "packed.tar.gz"
    repository.commit("four")
    assert look(source).digest() == before.digest()
    assert look(source).read("file") == "two"
    look(source).pack(str(archive))
    with tarfile.open(archive) as tar:
        assert tar.extractfile("file").read() == b"two"
    new_run()
    assert look(source).read("file") == "four"


def test_an_attempt_that_was_cut_off_leaves_nothing_that_counts(tree: Path, run: Path) -> None:
    expected = look({"path": str(tree)}).digest()
    (about,) = run.rglob("about.json")
    about.unlink()
    (about.parent / "tree" / "half").touch()
    again = look({"path": str(tree)})
    assert again.digest() == expected
    assert not (Path(again.root) / "half").exists()


def test_a_source_leaves_nothing_outside_the_directory_of_the_run(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path
) -> None:
    monkeypatch.setattr(sources.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    tree = look({"git": {"repo": str(repository.path), "version": "main"}})
    assert Path(tree.root).is_relative_to(run)
    assert not list((tmp_path / "temporary").iterdir())
    assert {path.name for path in Path(tree.root).parent.iterdir()} == {"about.json", "tree"}
    assert Path(tree.root).parent.stat().st_mode & 0o777 == 0o700
