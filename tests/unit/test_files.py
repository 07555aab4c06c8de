"""Several files of a host, changed as one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import files
from ansible_collections.baremetal.web.plugins.module_utils._host.files import (
    Entry,
    Transaction,
    read_state,
    write_file,
)
from conftest import GROUP, OWNER


def file_entry(path: Path, content: str = "new\n", mode: int = 0o640, secret: bool = False) -> Entry:
    return Entry(str(path), content.encode(), mode, OWNER, GROUP, secret)


def directory_entry(path: Path, mode: int = 0o750) -> Entry:
    return Entry(str(path), None, mode, OWNER, GROUP)


def snapshot(directory: Path) -> dict[str, Any]:
    return {str(path.relative_to(directory)): read_state(str(path)) for path in sorted(directory.rglob("*"))}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with one of everything."""
    place = tmp_path / "place"
    (place / "directory").mkdir(parents=True, mode=0o700)
    (place / "file").write_text("old\n")
    (place / "file").chmod(0o604)
    (place / "link").symlink_to("file")
    (place / "gone").write_text("to be removed\n")
    (place / "gone-link").symlink_to("nowhere")
    return place


@pytest.fixture
def everything(place: Path) -> Transaction:
    """Return a transaction that changes one of everything."""
    return Transaction(
        [
            directory_entry(place / "directory", 0o755),
            directory_entry(place / "made"),
            file_entry(place / "made" / "file"),
            file_entry(place / "file"),
            file_entry(place / "link"),
        ],
        [str(place / "gone"), str(place / "gone-link"), str(place / "never-was")],
    )


def test_a_transaction_makes_what_is_wanted(place: Path, everything: Transaction) -> None:
    everything.write()
    assert mode(place / "directory") == 0o755
    assert mode(place / "made") == 0o750
    for name in ("made/file", "file", "link"):
        assert (place / name).read_text() == "new\n"
        assert mode(place / name) == 0o640
        assert not (place / name).is_symlink()
    assert not os.path.lexists(place / "gone")
    assert not os.path.lexists(place / "gone-link")


def test_the_changed_paths_are_named_and_no_others(place: Path, everything: Transaction) -> None:
    names = ("directory", "made", "made/file", "file", "link", "gone", "gone-link")
    assert sorted(everything.changed) == sorted(str(place / name) for name in names)


def test_a_second_transaction_finds_nothing_to_change(everything: Transaction) -> None:
    everything.write()
    again = Transaction(everything.entries, everything.absent)
    assert again.changed == []
    assert again.diff() == []


def test_an_unchanged_file_is_not_written_again(place: Path) -> None:
    entry = file_entry(place / "file")
    Transaction([entry], []).write()
    before = (place / "file").stat().st_ino
    Transaction([entry, file_entry(place / "other")], []).write()
    assert (place / "file").stat().st_ino == before


@pytest.mark.parametrize("change", [{"content": "other\n"}, {"mode": 0o600}], ids=["the content", "the mode"])
def test_a_difference_is_a_change(place: Path, change: dict[str, Any]) -> None:
    Transaction([file_entry(place / "file")], []).write()
    assert Transaction([file_entry(place / "file", **change)], []).changed == [str(place / "file")]


def test_a_file_of_a_user_that_does_not_exist_yet_is_a_change(place: Path) -> None:
    entry = file_entry(place / "file")._replace(owner="no-such-user")
    Transaction([file_entry(place / "file")], []).write()
    assert Transaction([entry], []).changed == [str(place / "file")]


def test_undo_puts_content_mode_and_links_back(place: Path, everything: Transaction) -> None:
    before = snapshot(place)
    everything.write()
    assert snapshot(place) != before
    everything.undo()
    assert snapshot(place) == before


def test_undo_works_after_a_write_that_broke_off(place: Path) -> None:
    before = snapshot(place)
    theirs = file_entry(place / "other")._replace(owner="no-such-user")
    transaction = Transaction([file_entry(place / "made" / "file"), file_entry(place / "file"), theirs], [])
    with pytest.raises(LookupError, match=f"There is no user no-such-user, which {place}/other is to belong to"):
        transaction.write()
    transaction.undo()
    assert snapshot(place) == before


def test_undo_removes_the_directories_that_were_made_on_the_way(place: Path) -> None:
    before = snapshot(place)
    transaction = Transaction(
        [
            directory_entry(place / "a" / "b" / "c"),
            directory_entry(place / "d"),
            file_entry(place / "d" / "e" / "f" / "file"),
        ],
        [],
    )
    transaction.write()
    assert (place / "d" / "e" / "f" / "file").exists()
    transaction.undo()
    assert snapshot(place) == before


def test_a_directory_that_was_made_stays_when_somebody_put_something_into_it(place: Path) -> None:
    transaction = Transaction([directory_entry(place / "made")], [])
    transaction.write()
    (place / "made" / "theirs").touch()
    transaction.undo()
    assert (place / "made" / "theirs").exists()


def test_the_diff_shows_content_and_mode_before_and_after(place: Path) -> None:
    (shown,) = Transaction([file_entry(place / "file")], []).diff()
    assert shown["before_header"] == shown["after_header"] == str(place / "file")
    assert (shown["before"], shown["after"]) == ("old\n# mode 0604\n", "new\n# mode 0640\n")


def test_the_diff_of_a_secret_shows_that_it_changed_and_not_what_it_is(place: Path) -> None:
    transaction = Transaction([file_entry(place / "file", "hunter2", 0o600, secret=True)], [])
    (shown,) = transaction.diff()
    text = shown["before"] + shown["after"]
    assert "hunter2" not in text
    assert "old" not in text
    assert shown["before"] != shown["after"]


def test_the_diff_of_a_removed_file_shows_what_is_lost(place: Path) -> None:
    (shown,) = Transaction([], [str(place / "gone")]).diff()
    assert shown["before"].startswith("to be removed\n")
    assert shown["after"] == ""


def test_the_diff_of_a_removed_file_that_others_cannot_read_does_not_show_it(place: Path) -> None:
    (place / "gone").chmod(0o640)
    (shown,) = Transaction([], [str(place / "gone")]).diff()
    assert (shown["before"], shown["after"]) == ("(secret)\n# mode 0640\n", "")


def test_a_file_is_never_open_to_more_users_than_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "secret", set()

    def watch(name: str) -> None:
        real = getattr(os, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            seen.update(mode(place) for place in tmp_path.iterdir())
            answer = real(*arguments, **options)
            seen.update(mode(place) for place in tmp_path.iterdir())
            return answer

        monkeypatch.setattr(files.os, name, watched)

    for name in ("fdopen", "fchown", "fchmod", "fsync", "replace"):
        watch(name)
    previous = os.umask(0)
    try:
        write_file(str(path), b"hunter2", 0o600, os.geteuid(), os.getegid())
    finally:
        os.umask(previous)
    assert seen == {0o600}


@pytest.mark.parametrize("wanted", [0o400, 0o600, 0o644, 0o755])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, wanted: int) -> None:
    previous = os.umask(0o077)
    try:
        write_file(str(tmp_path / "file"), b"", wanted, os.geteuid(), os.getegid())
    finally:
        os.umask(previous)
    assert mode(tmp_path / "file") == wanted


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = snapshot(place)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(str(place / "file"), b"new", 0o644, os.geteuid(), os.getegid())
    assert snapshot(place) == before


@pytest.mark.parametrize(("secret", "wanted"), [(False, 0o644), (True, 0o600)])
def test_a_secret_file_without_a_mode_is_closed_to_others(tmp_path: Path, secret: bool, wanted: int) -> None:
    options = {"path": str(tmp_path / "file"), "content": "x", "mode": None, "owner": OWNER, "group": GROUP}
    assert Entry.file(options, secret=secret).mode == wanted
