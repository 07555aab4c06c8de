"""The home of an app: which release is live is one file, and what is cut off leaves one of two live."""

from __future__ import annotations

import json
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, trees
from ansible_collections.baremetal.web.plugins.module_utils._host.locks import file_lock
from ansible_collections.baremetal.web.plugins.module_utils._release import home as module
from ansible_collections.baremetal.web.plugins.module_utils._release.home import (
    Home,
    ReleaseError,
    readlink_name,
    replace_symlink,
    size,
)
from conftest import GROUP, OWNER, A, B, C, D, E, killed_at


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return the home of an app that has room and no release."""
    monkeypatch.setattr(module, "BUILD_HOME", str(tmp_path / "build"))
    home = Home("shop", str(tmp_path / "w"))
    home.create_directories(OWNER, GROUP)
    return home


def lay(home: Home, release: str, staged: float = 1, **manifest: Any) -> None:
    path = Path(home.release(release))
    path.mkdir()
    (path / "release.json").write_text(json.dumps({"release": release, "staged": staged, **manifest}))


# Links.


def test_a_link_points_to_its_newest_target(tmp_path: Path) -> None:
    link = str(tmp_path / "current")
    assert readlink_name(link) == ""
    for target in ("releases/one", "releases/two", "releases/two"):
        replace_symlink(link, target)
        assert os.readlink(link) == target
        assert readlink_name(link) == os.path.basename(target)
    assert os.listdir(tmp_path) == ["current"]


def test_a_link_is_moved_even_after_an_attempt_that_broke_off(tmp_path: Path) -> None:
    (tmp_path / "current.new").symlink_to("left-behind")
    replace_symlink(str(tmp_path / "current"), "releases/one")
    assert readlink_name(str(tmp_path / "current")) == "one"


def test_a_link_is_there_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, seen = tmp_path / "current", []
    replace_symlink(str(link), "one")
    for name in ("unlink", "symlink", "replace"):
        real = getattr(os, name)

        def watched(*arguments: Any, real: Callable[..., Any] = real) -> None:
            real(*arguments)
            seen.append(os.readlink(link))

        monkeypatch.setattr(module.os, name, watched)
    replace_symlink(str(link), "two")
    assert seen[-1] == "two"
    assert set(seen) == {"one", "two"}


# Slots.


def test_without_a_release_none_is_live(home: Home, tmp_path: Path) -> None:
    assert (home.current, home.standby, home.previous(), home.staged()) == ("", "", "", [])
    absent = Home("absent", str(tmp_path / "w"))
    assert (absent.current, absent.standby, absent.staged(), absent.history(), absent.manifest(A)) == (
        "",
        "",
        [],
        [],
        {},
    )


def test_the_marker_alone_says_which_slot_is_live(home: Home) -> None:
    home.switch(A, "a")
    replace_symlink(home.slot_link("b"), f"../run/{B}.sock")
    assert (home.slot, home.current, home.standby) == ("a", A, B)
    Path(home.marker).touch()
    assert (home.slot, home.current, home.standby) == ("b", B, A)
    os.unlink(home.marker)
    assert (home.slot, home.current, home.standby) == ("a", A, B)


def test_the_links_lead_to_the_files_and_the_socket_of_the_live_release(home: Home) -> None:
    for release, slot in ((A, "a"), (B, "b"), (C, "a")):
        home.switch(release, slot)
        assert os.path.realpath(home.current_link) == os.path.realpath(home.release(release))
        for link in (home.current_socket, home.slot_link(slot)):
            assert os.path.realpath(link) == os.path.realpath(home.socket(release))


def test_a_switch_in_the_slot_that_is_live_changes_nothing_but_its_release(home: Home) -> None:
    home.switch(A, "a")
    home.switch(B, "b")
    home.switch(C, "b")
    assert (home.slot, home.current, home.standby) == ("b", C, A)


def test_the_web_server_can_see_the_marker_and_the_links_whatever_the_umask_is(home: Home) -> None:
    before = os.umask(0o077)
    try:
        home.switch(A, "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(home.marker).st_mode) == 0o644


def test_a_release_that_is_alone_in_both_slots_has_no_standby_one(home: Home) -> None:
    home.switch(A, "a")
    home.switch(A, "b")
    assert (home.current, home.standby) == (A, "")


def test_when_none_is_live_any_more_nothing_leads_anywhere(home: Home) -> None:
    home.switch(A, "a")
    home.switch(B, "b")
    home.deactivate()
    assert home.current == ""
    assert os.listdir(home.slots) == []
    assert {"current", "current.sock"} & set(os.listdir(home.path)) == set()
    home.deactivate()


STEPS = [(os, name) for name in ("open", "chmod", "close", "fsync", "unlink", "symlink", "replace", "rmdir")]


@pytest.mark.parametrize("slot", ["a", "b"])
def test_a_switch_that_is_killed_leaves_exactly_one_live_and_the_next_one_finishes_it(home: Home, slot: str) -> None:
    other = "b" if slot == "a" else "a"
    home.switch(A, other)
    number = 0
    while killed_at(number, lambda: home.switch(B, slot), STEPS):
        assert home.current in (A, B), number
        assert home.occupant(other) == A, number
        home.follow()
        assert {readlink_name(home.current_link), readlink_name(home.current_socket)[:-5]} == {home.current}, number
        home.switch(B, slot)
        assert (home.current, home.standby) == (B, A), number
        assert sorted(os.listdir(home.slots)) == ["a.sock", *["b"] * (slot == "b"), "b.sock"], number
        home.switch(A, other)
        home.vacate(slot)
        number += 1
    assert number > 8
    assert home.current == B


def test_a_removal_that_is_killed_leaves_no_half_of_a_release(home: Home) -> None:
    number, killed = 0, True
    while killed:
        lay(home, A)
        for name in ("app", "venv"):
            Path(home.release(A), name).mkdir()
            Path(home.release(A), name, "code").touch()
        killed = killed_at(number, lambda: home.drop(A), STEPS)
        whole = len(list(Path(home.release(A)).rglob("code"))) == 2
        assert home.staged() == [] or whole, number
        home.drop(A)
        assert os.listdir(home.releases) == [], number
        number += 1
    assert number > 4


# Releases.


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7"])
def test_a_release_whose_notes_cannot_be_read_is_not_complete(home: Home, text: str) -> None:
    path = Path(home.release(A), "release.json")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert (home.manifest(A), home.staged()) == ({}, [])


def test_complete_releases_are_listed_in_the_order_in_which_they_were_staged(home: Home) -> None:
    for release, staged in ((A, 3), (f"{A}.2", 4), (B, 1), (C, 2)):
        lay(home, release, staged)
    (Path(home.release(D)) / "app").mkdir(parents=True)  # the build broke off
    lay(home, E, 0)  # its hooks were not at their end
    Path(home.releases, "a-file").touch()
    assert home.staged() == [B, C, A, f"{A}.2"]
    assert home.same(A) == home.same(f"{A}.2") == [A, f"{A}.2"]


def test_what_is_remembered_of_a_release_is_added_to(home: Home) -> None:
    lay(home, A, version="1")
    home.remember(A, healthy=5)
    home.remember(A, version="2")
    assert home.manifest(A) == {"release": A, "staged": 1, "version": "2", "healthy": 5}


@pytest.mark.parametrize(("keep", "left"), [(2, [D, E]), (3, [C, D, E]), (5, [A, B, C, D, E]), (9, [A, B, C, D, E])])
def test_the_newest_releases_are_kept(home: Home, keep: int, left: list[str]) -> None:
    for number, release in enumerate((A, B, C, D, E), 1):
        lay(home, release, number)
    assert home.prune(keep) == [release for release in (A, B, C, D, E) if release not in left]
    assert home.staged() == left


def test_the_live_release_and_the_one_before_are_kept_however_old_they_are(home: Home) -> None:
    for number, release in enumerate((A, B, C, D, E), 1):
        lay(home, release, number)
    home.log("deploy", "live", release=A)
    home.switch(B, "a")
    home.log("rollback", "live", release=B)
    home.prune(2)
    assert home.staged() == [A, B, D, E]


def test_the_release_in_the_other_slot_is_kept(home: Home) -> None:
    for number, release in enumerate((A, B, C, D), 1):
        lay(home, release, number)
    home.switch(A, "a")
    home.switch(D, "b")
    home.prune(2)
    assert home.staged() == [A, C, D]


def test_a_build_that_broke_off_is_cleared_away(home: Home) -> None:
    lay(home, A)
    (Path(home.release(B)) / "app").mkdir(parents=True)
    Path(home.socket(B)).touch()
    assert home.prune(2) == [B]
    assert (os.listdir(home.releases), os.listdir(home.run)) == ([A], [])


def test_the_size_of_a_release_counts_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    once = size(str(tmp_path))
    assert 100_000 <= once < 120_000
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "elsewhere").symlink_to("/usr")
    assert size(str(tmp_path)) == once
    assert size(str(tmp_path / "no-such-place")) == 0


# What happened.


def test_each_action_leaves_one_line_in_the_log_that_others_cannot_read(home: Home) -> None:
    home.log("deploy", "refused", release=A, by="me@here")
    home.log("deploy", "live", release=B, by="me@here")
    assert [(row["release"], row["action"], row["result"], row["by"]) for row in home.history()] == [
        (A, "deploy", "refused", "me@here"),
        (B, "deploy", "live", "me@here"),
    ]
    assert home.history()[0]["time"].endswith("Z")
    assert stat.S_IMODE(os.stat(os.path.join(home.path, "releases.log")).st_mode) & 0o007 == 0


def test_a_line_that_a_full_disk_has_cut_off_hides_no_other(home: Home) -> None:
    home.log("deploy", "live", release=A)
    with open(os.path.join(home.path, "releases.log"), "ab") as stream:
        stream.write(b'{"release": "\xe6\xbc')
    home.log("deploy", "live", release=B)
    home.log("deploy", "live", release=C)
    assert [row["release"] for row in home.history()] == [A, B, C]


def test_the_previous_release_is_the_one_that_was_live_before(home: Home) -> None:
    for result, release in (("live", A), ("live", B), ("refused", C), ("live", B)):
        home.log("deploy", result, release=release)
    home.switch(B, "a")
    assert home.previous() == A
    home.log("rollback", "live", release=A)
    home.switch(A, "b")
    assert home.previous() == B


# Room.


def test_the_directories_of_an_app_are_open_to_those_only_who_need_them(home: Home) -> None:
    before = os.umask(0)
    try:
        home.create_directories(OWNER, GROUP)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE(os.stat(os.path.join(home.path, name)).st_mode) for name in os.listdir(home.path)}
    assert modes == {"releases": 0o755, "run": 0o750, "sockets": 0o711, "slots": 0o755, "data": 0o700}
    assert stat.S_IMODE(os.stat(home.path).st_mode) == 0o751


def test_the_home_of_an_app_is_noted_as_ours_with_all_in_it(home: Home) -> None:
    notes = change_record.read()
    assert notes["app"][home.path] == {"user": OWNER}
    assert os.path.dirname(home.path) in notes["directory"]
    assert module.BUILD_HOME in notes["tree"]


def test_a_home_that_was_there_before_is_not_noted_and_one_that_was_keeps_its_newest_user(home: Home) -> None:
    theirs = Home("theirs", os.path.dirname(home.path))
    os.makedirs(theirs.path)
    theirs.create_directories(OWNER, GROUP)
    with change_record.ChangeRecord() as notes:
        notes.note_app(home.path, "somebody")
    home.create_directories(OWNER, GROUP)
    assert change_record.read()["app"] == {home.path: {"user": OWNER}}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_data_that_was_kept_when_its_app_was_removed_is_the_apps_again(home: Home, tmp_path: Path) -> None:
    data = Path(home.data)
    (data / "uploads").mkdir(parents=True)
    (data / "uploads" / "photo").touch()
    (tmp_path / "outside").touch()
    (data / "link").symlink_to(tmp_path / "outside")
    home.create_directories("nobody", GROUP)
    uid = pwd.getpwnam("nobody").pw_uid
    assert {path.lstat().st_uid for path in (data, *data.rglob("*"))} == {uid}
    assert (tmp_path / "outside").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("last", ["photo", "text"])
def test_data_that_is_the_apps_again_in_part_only_is_given_to_it_by_the_next_run(
    home: Home, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    def cut_off(name: str, *arguments: Any, **options: Any) -> None:
        if name == last:
            raise KeyboardInterrupt
        one(name, *arguments, **options)

    data, one = Path(home.data), trees._chown
    (data / "uploads").mkdir(parents=True)
    for path in (data / "uploads" / "text", data / "photo"):
        path.touch()
    with monkeypatch.context() as patch:
        patch.setattr(trees, "_chown", cut_off)
        with pytest.raises(KeyboardInterrupt):
            home.create_directories("nobody", GROUP)
    home.create_directories("nobody", GROUP)
    uid = pwd.getpwnam("nobody").pw_uid
    assert {path.lstat().st_uid for path in (data, *data.rglob("*"))} == {uid}


@pytest.fixture
def lived_in(home: Home) -> Path:
    """Return the data of an app that ran as nobody, with a shared directory in which is nothing yet."""
    home.create_directories("nobody", GROUP)
    uid = pwd.getpwnam("nobody").pw_uid
    for path in (Path(home.data, "shared"), Path(home.data, "shared", "uploads")):
        path.mkdir()
        os.chown(path, uid, uid)
    return Path(home.data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_another_user_of_an_app_with_data_is_refused_before_anything_is_changed(home: Home, lived_in: Path) -> None:
    (lived_in / "shared" / "uploads" / "photo").touch()
    before = {str(path): path.lstat() for path in Path(home.path).rglob("*")}
    noted = change_record.read()["app"]
    with pytest.raises(ReleaseError, match=r"user is daemon, .* belong to nobody(?s:.)*-e remove=shop"):
        home.create_directories("daemon", GROUP)
    assert {str(path): path.lstat() for path in Path(home.path).rglob("*")} == before
    assert change_record.read()["app"] == noted
    home.create_directories("nobody", GROUP)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_another_user_of_an_app_without_data_gets_its_directories(home: Home, lived_in: Path) -> None:
    for user in ("daemon", "nobody"):
        home.create_directories(user, GROUP)
        uid = pwd.getpwnam(user).pw_uid
        assert {path.stat().st_uid for path in (lived_in, *lived_in.rglob("*"))} == {uid}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_data_of_an_account_that_is_gone_is_not_given_to_another_one(home: Home, lived_in: Path) -> None:
    (lived_in / "photo").touch()
    os.chown(lived_in, 64123, 64123)
    with pytest.raises(ReleaseError, match="belong to the account 64123, which is gone"):
        home.create_directories("nobody", GROUP)


# One at a time.


def test_what_is_held_is_refused_to_a_second_one_until_it_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / ".lock")
    late = ReleaseError("under way")
    with file_lock(path, 0, late), pytest.raises(ReleaseError, match="under way"), file_lock(path, 0, late):
        pass
    with file_lock(path, 0, late):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
