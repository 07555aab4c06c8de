"""Trees that another account has had: what is copied or given, and what leads root nowhere."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import trees
from ansible_collections.baremetal.web.plugins.module_utils._host.files import make_directory
from ansible_collections.baremetal.web.plugins.module_utils._host.trees import TreeError, chown_tree, copy, has_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")

THEIRS, OTHER = 64123, 64124


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Return a tree of an account."""
    tree = tmp_path / "theirs"
    (tree / "package" / "deep").mkdir(parents=True)
    (tree / "package" / "code.py").write_text("code")
    (tree / "package" / "deep" / "run").write_text("#!/bin/sh\n")
    (tree / "package" / "deep" / "run").chmod(0o6777)
    (tree / "package" / "link").symlink_to("code.py")
    (tree / "package").chmod(0o777)
    own(tree)
    return tree


def own(tree: Path, uid: int = THEIRS) -> None:
    for path in (tree, *tree.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def owners(tree: Path) -> set[int]:
    return {path.lstat().st_uid for path in (tree, *tree.rglob("*"))}


def test_a_copy_has_the_same_content_with_plain_modes_and_its_own_owner(theirs: Path, tmp_path: Path) -> None:
    os.utime(theirs / "package" / "code.py", (1, 1))
    target = tmp_path / "ours"
    copy(str(theirs), str(target), THEIRS)
    assert (target / "package" / "link").read_text() == "code"
    assert os.readlink(target / "package" / "link") == "code.py"
    found = {
        path.name: stat.S_IMODE(path.lstat().st_mode) for path in (target, *target.rglob("*")) if path.name != "link"
    }
    assert found == {"ours": 0o755, "package": 0o755, "deep": 0o755, "code.py": 0o644, "run": 0o755}
    assert (target / "package" / "code.py").stat().st_mtime == 1
    assert owners(target) == {0}
    back = tmp_path / "back"
    copy(str(target), str(back), 0, OTHER, OTHER)
    assert owners(back) == {OTHER}


def test_who_holds_a_file_or_a_directory_open_has_nothing_of_the_copy(theirs: Path, tmp_path: Path) -> None:
    target = tmp_path / "ours"
    place = os.open(theirs / "package", os.O_RDONLY)
    with open(theirs / "package" / "code.py", "a", encoding="ascii") as held:
        copy(str(theirs), str(target), THEIRS)
        held.write(" of somebody else")
    os.close(os.open("more.py", os.O_WRONLY | os.O_CREAT, dir_fd=place))
    os.close(place)
    assert (target / "package" / "code.py").read_text() == "code"
    assert sorted(path.name for path in target.rglob("*")) == ["code.py", "deep", "link", "package", "run"]


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Path]:
    """Return a directory of root's with a file, which has to stay as it is."""
    roots = tmp_path / "roots"
    roots.mkdir(mode=0o700)
    (roots / "secret").write_text("root's")
    (roots / "secret").chmod(0o600)
    before = [(path.name, path.lstat().st_uid, path.lstat().st_mode) for path in (roots, *roots.rglob("*"))]
    yield roots
    assert before == [(path.name, path.lstat().st_uid, path.lstat().st_mode) for path in (roots, *roots.rglob("*"))]


def test_a_link_stays_a_link_and_is_not_followed(theirs: Path, tmp_path: Path, roots: Path) -> None:
    (theirs / "out").symlink_to(roots)
    (theirs / "file").symlink_to(roots / "secret")
    own(theirs)
    copy(str(theirs), str(tmp_path / "ours"), THEIRS, OTHER, OTHER)
    assert os.readlink(tmp_path / "ours" / "out") == str(roots)
    assert (tmp_path / "ours" / "file").is_symlink()


def test_another_name_of_a_foreign_file_is_refused(theirs: Path, tmp_path: Path, roots: Path) -> None:
    os.link(roots / "secret", theirs / "package" / "mine")
    with pytest.raises(TreeError, match="'package/mine' belongs to root, not to the account 64123"):
        copy(str(theirs), str(tmp_path / "ours"), THEIRS)
    (theirs / "package" / "mine").unlink()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused_and_holds_nobody(theirs: Path, tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(theirs / "x")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(theirs / "x"))
    own(theirs)
    with pytest.raises(TreeError, match=f"'x' is a {kind}"):
        copy(str(theirs), str(tmp_path / "ours"), THEIRS)


def test_a_tree_without_end_is_refused_with_a_sentence(theirs: Path, tmp_path: Path) -> None:
    place = theirs
    for _ in range(trees.DEEPEST + 2):
        place /= "d"
    place.mkdir(parents=True)
    own(theirs)
    with pytest.raises(TreeError, match="deeper than 100 directories"):
        copy(str(theirs), str(tmp_path / "ours"), THEIRS)


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(theirs: Path, tmp_path: Path, roots: Path) -> None:
    """The account goes on changing its tree while it is copied, as fast as it can."""
    (theirs / "swapped").mkdir()
    (theirs / "trap").symlink_to(roots)
    own(theirs)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (theirs / "swapped").rename(theirs / "away")
            (theirs / "trap").rename(theirs / "swapped")
            (theirs / "swapped").rename(theirs / "trap")
            (theirs / "away").rename(theirs / "swapped")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(100):
            target = tmp_path / str(number)
            with suppress(OSError):
                copy(str(theirs), str(target), THEIRS)
            assert not [path for path in target.rglob("secret") if not path.parent.is_symlink()]
        assert any((tmp_path / str(number) / "package" / "code.py").exists() for number in range(100))
    finally:
        done.set()
        thread.join()


def test_a_file_system_that_copies_nothing_itself_gets_the_content(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (theirs / "big").write_bytes(os.urandom(300_000))
    own(theirs)
    copy(str(theirs), str(tmp_path / "ours"), THEIRS)
    assert (tmp_path / "ours" / "big").read_bytes() == (theirs / "big").read_bytes()


def test_what_an_account_has_is_given_and_what_others_have_is_not(theirs: Path, roots: Path) -> None:
    (theirs / "out").symlink_to(roots)
    own(theirs)
    (theirs / "of-root").touch()
    chown_tree(str(theirs), OTHER, OTHER, owner=THEIRS)
    assert owners(theirs / "package") == {OTHER}
    assert {theirs.stat().st_uid, (theirs / "out").lstat().st_uid} == {OTHER}
    assert (theirs / "of-root").stat().st_uid == 0


def test_another_name_of_a_file_outside_is_not_given_and_two_names_inside_are(theirs: Path, roots: Path) -> None:
    os.link(roots / "secret", theirs / "mine")
    os.link(theirs / "package" / "code.py", theirs / "code")
    chown_tree(str(theirs), OTHER, OTHER)
    assert (roots / "secret").stat().st_uid == 0
    assert (theirs / "code").stat().st_uid == OTHER
    (theirs / "mine").unlink()


def test_directories_alone_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not has_files(str(tmp_path))
    (tmp_path / "a" / "b" / "link").symlink_to(tmp_path)
    assert has_files(str(tmp_path))


def test_a_link_that_an_account_puts_in_the_place_of_a_directory_of_root_s_is_not_followed(
    tmp_path: Path, roots: Path
) -> None:
    (tmp_path / "service").mkdir()
    own(tmp_path / "service")
    (tmp_path / "service" / "data").symlink_to(roots)
    os.lchown(tmp_path / "service" / "data", THEIRS, THEIRS)
    with pytest.raises(OSError, match="data"):
        make_directory(str(tmp_path / "service" / "data"), 0o777, THEIRS, THEIRS)


def test_a_link_of_root_s_own_in_the_place_of_a_directory_is_meant(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "srv").symlink_to("disk")
    make_directory(str(tmp_path / "srv"), 0o711)
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o711
    assert subprocess.run(["test", "-L", str(tmp_path / "srv")], check=False).returncode == 0
