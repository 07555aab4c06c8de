"""The source of an app, wherever it comes from."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.plugin_utils import sources
from ansible_collections.baremetal.web.plugins.plugin_utils.apps import search_path
from ansible_collections.baremetal.web.plugins.plugin_utils.sources import Tree, open_source


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


def digest(root: Path) -> str:
    return Tree(str(root)).digest()


@pytest.mark.parametrize(
    "litter",
    [
        *(".git/HEAD", ".venv/bin/python", "venv/bin/python", "shop/__pycache__/a.pyc", "shop/a.pyc", ".env"),
        *("node_modules/a/index.js", "shop.egg-info/PKG-INFO", ".pytest_cache/x", "shop/.mypy_cache/x", ".tox/py/x"),
    ],
)
def test_what_does_not_belong_into_a_release_is_left_out(tree: Path, litter: str) -> None:
    before, names = digest(tree), list(Tree(str(tree)).files())
    (tree / litter).parent.mkdir(parents=True, exist_ok=True)
    (tree / litter).write_text("litter")
    assert digest(tree) == before
    assert list(Tree(str(tree)).files()) == names


@pytest.mark.parametrize("name", [".github/x", "shop/environment.py", "shop/venv.py", ".dockerignore", "shop/git"])
def test_what_only_looks_like_litter_belongs_to_a_release(tree: Path, name: str) -> None:
    before = digest(tree)
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("wanted")
    assert name in Tree(str(tree)).files()
    assert digest(tree) != before


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
def test_a_change_of_the_tree_is_another_release(tree: Path, change: Callable[[Path], None]) -> None:
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
def test_what_does_not_reach_the_host_is_no_change(tree: Path, change: Callable[[Path], None]) -> None:
    before = digest(tree)
    change(tree)
    assert digest(tree) == before


def test_a_packed_tree_is_the_same_tree_when_unpacked(tree: Path, tmp_path: Path) -> None:
    (tree / ".git").mkdir()
    (tree / ".git" / "HEAD").touch()
    archive, unpacked = tmp_path / "packed.tar.gz", tmp_path / "unpacked"
    Tree(str(tree)).pack(str(archive))
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
    assert digest(unpacked) == digest(tree)
    assert not (unpacked / ".git").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "shop/../../outside"])
def test_a_link_that_leads_out_of_the_tree_is_refused_by_name(tree: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").touch()
    (tree / "link").symlink_to(target)
    with pytest.raises(AnsibleError, match=f"link.*{target}"):
        Tree(str(tree)).pack(str(tmp_path / "packed.tar.gz"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_refused_by_name(tree: Path) -> None:
    (tree / "shop").chmod(0)
    with pytest.raises(AnsibleError, match="shop"):
        digest(tree)


def test_a_file_of_the_tree_is_read_and_a_missing_one_is_none(tree: Path) -> None:
    assert Tree(str(tree)).read("shop/__init__.py") == "app = 1\n"
    assert Tree(str(tree)).read("requirements.txt") is None


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
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(sources, "CACHE", str(tmp_path / "cache" / "baremetal.web"))
    return Repository(tmp_path / "repository")


def content(repository: Path | str, version: str = "HEAD") -> str | None:
    with open_source({"git": {"repo": str(repository), "version": version}}, search_path(None)) as tree:
        return tree.read("file")


@pytest.mark.parametrize(
    ("version", "expected"),
    [("HEAD", "two"), ("main", "two"), ("feature", "three"), ("v1", "one"), ("first", "one"), ("third", "three")],
)
def test_a_branch_a_tag_and_a_commit_are_versions(repository: Repository, version: str, expected: str) -> None:
    assert content(repository.path, getattr(repository, version, version)) == expected


def test_the_version_of_a_repository_names_the_commit(repository: Repository) -> None:
    with open_source({"git": {"repo": str(repository.path), "version": "feature"}}, []) as tree:
        assert tree.version == f"feature ({repository.third[:12]})"


@pytest.mark.parametrize("version", ["no-such-branch", "0" * 40, "--help", "main:file", ""])
def test_an_unknown_version_is_refused_by_repository_and_version(repository: Repository, version: str) -> None:
    with pytest.raises(AnsibleError) as refusal:
        content(repository.path, version)
    assert repr(version) in str(refusal.value)
    assert str(repository.path) in str(refusal.value)


def test_a_repository_that_cannot_be_read_is_refused_with_gits_own_words(
    repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(AnsibleError, match=r"git \w+ failed: .*no-such-repository"):
        content(tmp_path / "no-such-repository")


def test_a_repository_that_went_away_is_named(repository: Repository) -> None:
    content(repository.path)
    repository.path.rename(repository.path.with_name("elsewhere"))
    with pytest.raises(AnsibleError, match=f"{repository.path}"):
        content(repository.path)


def test_a_branch_moves_on_between_two_releases(repository: Repository) -> None:
    assert content(repository.path, "main") == "two"
    repository.commit("four")
    assert content(repository.path, "main") == "four"


def test_a_branch_that_was_rewritten_is_followed(repository: Repository) -> None:
    assert content(repository.path, "main") == "two"
    repository.git("reset", "--quiet", "--hard", repository.first)
    repository.commit("other")
    assert content(repository.path, "main") == "other"


def test_a_branch_that_was_deleted_is_unknown(repository: Repository) -> None:
    assert content(repository.path, "feature") == "three"
    repository.git("branch", "--quiet", "-D", "feature")
    with pytest.raises(AnsibleError, match="'feature'"):
        content(repository.path, "feature")


def test_head_is_the_default_branch_of_today(repository: Repository) -> None:
    assert content(repository.path) == "two"
    repository.git("branch", "--quiet", "-m", "main", "trunk")
    repository.commit("four")
    assert content(repository.path) == "four"


def test_a_relative_repository_is_found_again_when_it_is_in_the_cache(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.path.parent)
    assert content("./repository") == "two"
    repository.commit("four")
    assert content("./repository") == "four"


def test_the_cache_is_closed_to_others_and_holds_no_work_tree(repository: Repository) -> None:
    content(repository.path)
    cache = Path(sources.CACHE)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert not list(cache.rglob("file"))


def test_a_source_leaves_nothing_behind(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with open_source({"git": {"repo": str(repository.path), "version": "main"}}, []) as tree:
        assert Path(tree.root).is_relative_to(tmp_path / "temporary")
    assert not list((tmp_path / "temporary").iterdir())


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
    with open_source({"archive": {"path": archive.name, "checksum": sha256(archive)}}, [str(archive.parent)]) as tree:
        assert tree.read("shop/__init__.py") == "app = 1\n"
        assert tree.version == archive.name


def test_a_program_in_an_archive_stays_executable(pack: Callable[..., Path], tree: Path) -> None:
    with open_source({"archive": {"path": str(pack("gztar"))}}, []) as opened:
        assert opened.digest() == digest(tree)


def test_an_archive_with_another_checksum_is_refused_with_both(pack: Callable[..., Path]) -> None:
    archive, wanted = pack("gztar"), f"sha256:{'0' * 64}"
    with (
        pytest.raises(AnsibleError) as refusal,
        open_source({"archive": {"path": str(archive), "checksum": wanted}}, []),
    ):
        pass
    for part in (archive.name, sha256(archive), wanted):
        assert part in str(refusal.value)


def test_an_archive_that_leads_out_of_its_place_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    (tmp_path / "payload").write_text("evil")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "payload", "../../evil")
    with (
        pytest.raises((AnsibleError, tarfile.TarError), match="evil"),
        open_source({"archive": {"path": str(archive)}}, []),
    ):
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the temporary directory over HTTP on loopback; return its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_archive_is_fetched_and_held_against_its_checksum(pack: Callable[..., Path], web: str) -> None:
    archive = pack("gztar")
    url = f"{web}/{archive.name}?token=a/b"
    with open_source({"archive": {"url": url, "checksum": sha256(archive)}}, []) as tree:
        assert tree.read("shop/__init__.py") == "app = 1\n"
    with (
        pytest.raises(AnsibleError, match="checksum"),
        open_source({"archive": {"url": url, "checksum": f"sha256:{'0' * 64}"}}, []),
    ):
        pass
