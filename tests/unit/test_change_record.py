"""The notes of a host: what came to it, and what was there before."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord, freeze, thaw
from ansible_collections.baremetal.web.plugins.module_utils._host.files import put_back, read_state
from conftest import ROOT

# Notes a package, and is cut off as by a lost connection; with "early" before it is saved.
CUT_OFF = f"""
import os, sys
sys.path.insert(0, {str(ROOT / ".collections")!r})
from ansible_collections.baremetal.web.plugins.module_utils._host import change_record
change_record.ROOT = sys.argv[1]
if os.geteuid():
    os.fchown = lambda *_: None
with change_record.ChangeRecord() as notes:
    notes.note("package", "nginx")
    if sys.argv[2] != "early":
        notes.save()
    os.kill(os.getpid(), 9)
"""
# Says when it has the change record, and notes something when it is told to.
HOLDER = CUT_OFF.replace("    os.kill(os.getpid(), 9)\n", "    print(flush=True)\n    input()\n")


def test_a_host_that_nothing_came_to_has_no_notes_and_asking_makes_none() -> None:
    assert change_record.read() == {}
    assert not os.path.exists(change_record.ROOT)


def test_what_was_before_is_noted_once_and_a_later_change_does_not_alter_it() -> None:
    for before in ({"enabled": False}, {"enabled": True}):
        with ChangeRecord() as notes:
            notes.note("unit", "nginx.service", before)
    assert change_record.read() == {"unit": {"nginx.service": {"enabled": False}}}


def test_a_file_is_noted_as_it_was_before_its_first_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in ("theirs\n", "ours\n"):
        path.write_text(content)
        with ChangeRecord() as notes:
            notes.note_file(str(path))
    state = thaw(change_record.read()["file"][str(path)])
    assert state is not None
    assert state.content == b"theirs\n"


def test_a_file_that_was_not_there_is_noted_as_such(tmp_path: Path) -> None:
    with ChangeRecord() as notes:
        notes.note_file(str(tmp_path / "file"))
    assert change_record.read() == {"file": {str(tmp_path / "file"): None}}


def test_a_directory_is_noted_with_those_above_it_that_are_made_too(tmp_path: Path) -> None:
    with ChangeRecord() as notes:
        notes.note_directory(str(tmp_path / "a" / "b"))
        notes.note_directory(str(tmp_path / "a" / "owned"), owned=True)
    paths = [str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    assert change_record.read() == {"directory": dict.fromkeys(paths), "tree": {str(tmp_path / "a" / "owned"): None}}


def test_a_directory_that_is_there_already_is_not_ours(tmp_path: Path) -> None:
    with ChangeRecord() as notes:
        notes.note_directory(str(tmp_path), owned=True)
    assert change_record.read() == {}


def test_what_is_as_it_was_is_forgotten_and_the_rest_stays() -> None:
    with ChangeRecord() as notes:
        notes.note("package", "nginx")
        notes.note("package", "python3")
    with ChangeRecord() as notes:
        notes.forget("package", "nginx")
        notes.forget("package", "never-noted")
        notes.forget("never-noted", "nginx")
    assert change_record.read() == {"package": {"python3": None}}


def test_taking_back_takes_back_what_this_run_noted_even_when_it_was_saved() -> None:
    with ChangeRecord() as notes:
        notes.note("package", "nginx")
    with ChangeRecord() as notes:
        notes.note("package", "python3")
        notes.forget("package", "nginx")
        notes.save()
        notes.revert()
    assert change_record.read() == {"package": {"nginx": None}}


def test_notes_are_kept_when_the_block_ends_with_an_error() -> None:
    def change() -> None:
        with ChangeRecord() as notes:
            notes.note("package", "nginx")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert change_record.read() == {"package": {"nginx": None}}


@pytest.mark.parametrize(("when", "noted"), [("early", {}), ("late", {"package": {"nginx": None}})])
def test_a_run_that_is_cut_off_leaves_what_it_saved(when: str, noted: dict) -> None:
    done = subprocess.run([sys.executable, "-c", CUT_OFF, change_record.ROOT, when], check=False)
    assert done.returncode == -9
    assert change_record.read() == noted
    with ChangeRecord() as notes:  # and nothing holds the next one up
        notes.note("package", "python3")
    assert "python3" in change_record.read()["package"]


def test_two_runs_on_a_host_wait_for_each_other_and_lose_no_note() -> None:
    command = [sys.executable, "-c", HOLDER, change_record.ROOT, "early"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        assert first.stdin
        first.stdout.readline()
        second = subprocess.Popen(
            [sys.executable, "-c", CUT_OFF.replace("nginx", "python3"), change_record.ROOT, "late"],
            stderr=subprocess.PIPE,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(0.5)
        first.stdin.write("\n")
        first.stdin.flush()
        second.communicate(timeout=60)
    assert change_record.read() == {"package": {"nginx": None, "python3": None}}


def test_notes_hold_what_others_may_not_read_so_nobody_else_may() -> None:
    previous = os.umask(0)
    try:
        with ChangeRecord() as notes:
            notes.note("package", "nginx")
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path(change_record.ROOT).iterdir()}
    assert modes == {"changes.json": 0o600, "lock": 0o600}
    assert stat.S_IMODE(os.stat(change_record.ROOT).st_mode) == 0o700


def test_notes_without_news_are_not_written_again() -> None:
    with ChangeRecord() as notes:
        notes.note("package", "nginx")
    before = os.stat(os.path.join(change_record.ROOT, "changes.json")).st_ino
    with ChangeRecord() as notes:
        notes.note("package", "nginx")
    assert os.stat(os.path.join(change_record.ROOT, "changes.json")).st_ino == before


def test_a_closed_change_record_leaves_nothing() -> None:
    with ChangeRecord() as notes:
        notes.note("package", "nginx")
        notes.save()
        notes.close()
    assert not os.path.exists(change_record.ROOT)


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "directory", "nothing"])
def test_whatever_stood_at_a_path_survives_the_change_record(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "path"
    if kind == "file":
        path.write_bytes(bytes(range(256)))
        path.chmod(0o4750)
    elif kind == "directory":
        path.mkdir(mode=0o751)
    elif kind != "nothing":
        path.symlink_to(tmp_path if kind == "link" else "nowhere")
    before = read_state(str(path))
    with ChangeRecord() as notes:
        notes.note("file", str(path), freeze(before))
    if kind == "directory":
        path.chmod(0o700)
    else:
        path.unlink(missing_ok=True)
        path.write_text("ours\n")
    put_back(str(path), thaw(change_record.read()["file"][str(path)]))
    assert read_state(str(path)) == before


def test_the_record_of_an_earlier_version_is_read_and_gets_its_new_name() -> None:
    root = Path(change_record.ROOT)
    root.mkdir()
    (root / "ledger.json").write_text('{"package": {"nginx": null}}')
    assert change_record.exists()
    assert change_record.read() == {"package": {"nginx": None}}
    assert [path.name for path in root.iterdir()] == ["ledger.json"]  # a reader changes nothing
    with ChangeRecord() as record:
        record.note("package", "redis")
    assert json.loads((root / "changes.json").read_text()) == {"package": {"nginx": None, "redis": None}}
    assert not (root / "ledger.json").exists()


def test_what_an_earlier_version_notes_later_is_added() -> None:
    root = Path(change_record.ROOT)
    with ChangeRecord() as record:
        record.note("package", "nginx", "as it was")
    # A controller that still has that version comes by.
    (root / "ledger.json").write_text('{"package": {"nginx": null, "redis": null}, "tree": {"/opt/x": null}}')
    with ChangeRecord():
        pass
    wanted = {"package": {"nginx": "as it was", "redis": None}, "tree": {"/opt/x": None}}
    assert json.loads((root / "changes.json").read_text()) == wanted
    assert not (root / "ledger.json").exists()
    assert (root / "changes.json").stat().st_mode & 0o777 == 0o600
