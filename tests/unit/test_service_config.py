"""A service and its files, changed as one: taken by the service's own checker, or as before."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import (
    change_record,
    configuration,
    pending_marker,
    services,
)
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import thaw
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Transaction, read_state
from ansible_collections.baremetal.web.plugins.modules import service_config as module
from conftest import GROUP, OWNER, ROOT, StandIns, Systemd

Change = Callable[..., dict[str, Any]]
UNIT = "web.service"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the directory of a host's files, with one of somebody else."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "theirs").write_text("theirs\n")
    (place / "theirs").chmod(0o604)
    return place


@pytest.fixture
def change(run_module: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Run the module; files are given as path and content, with options for all of them."""
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(tmp_path / "marks"))
    monkeypatch.setattr(services, "UNIT_DIRECTORY", str(tmp_path / "units"))

    def _change(
        files: Mapping[Path, str] | None = None,
        check: list[str] | None = None,
        options: Mapping[str, Any] | None = None,
        check_mode: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        own = {"owner": OWNER, "group": GROUP}
        entries = [
            {"path": str(path), "content": text, **own, **(options or {})} for path, text in (files or {}).items()
        ]
        directories = [{**own, **directory} for directory in more.pop("directories", [])]
        arguments = {"files": entries, "directories": directories, "check": check or [], **more}
        return run_module("service_config", arguments, check_mode)

    return _change


def snapshot(directory: Path) -> dict[str, Any]:
    return {str(path.relative_to(directory)): read_state(str(path)) for path in sorted(directory.rglob("*"))}


def noted(kind: str = "file") -> dict[str, Any]:
    return change_record.read().get(kind, {})


# Files, and what judges them.


def test_files_that_their_checker_takes_are_there_to_stay(change: Change, place: Path) -> None:
    assert change({place / "file": "new\n"}, ["true"])["changed"]
    assert (place / "file").read_text() == "new\n"
    assert not change({place / "file": "new\n"}, ["false"])["changed"]


def test_a_file_that_came_is_noted_with_what_stood_there_before_its_first_change(change: Change, place: Path) -> None:
    for text in ("one\n", "two\n"):
        change({place / "file": text, place / "theirs": text}, options={"foreign": "replace"})
    assert noted()[str(place / "file")] is None
    before = thaw(noted()[str(place / "theirs")])
    assert before is not None
    assert (before.content, before.mode) == (b"theirs\n", 0o604)


def test_a_file_that_is_as_wanted_already_is_not_ours(change: Change, place: Path) -> None:
    assert not change({place / "theirs": "theirs\n"}, options={"mode": "0604"})["changed"]
    assert noted() == {}


@pytest.mark.parametrize(
    "refusal",
    [
        {"check": ["sh", "-c", "echo this will not do >&2; exit 1"]},
        {"check": ["no-such-checker"]},
        {"check": ["sh", "-c", "echo took other.conf"], "check_expects": ["took place/web.conf"]},
        {"check": ["sh", "-c", "echo warning: conflicting name >&2"], "check_forbids": ["conflicting n[a-z]me"]},
        {"options": {"foreign": "replace", "owner": "no-such-user"}},
    ],
    ids=["refused", "no checker", "not mentioned", "forbidden", "no such user"],
)
def test_what_is_refused_leaves_every_file_directory_and_note_as_it_was(
    change: Change, place: Path, refusal: dict[str, Any]
) -> None:
    change({place / "ours": "one\n", place / "gone": "one\n"})
    before, notes = snapshot(place), change_record.read()
    result = change(
        {place / "ours": "two\n", place / "a" / "b" / "file": "new\n", place / "theirs": "two\n"},
        directories=[{"path": str(place / "c" / "d")}, {"path": str(place / "e"), "owned": True}],
        absent=[str(place / "gone")],
        **{"options": {"foreign": "replace"}, **refusal},
    )
    assert result["failed"]
    assert "every file is as it was before" in result["msg"]
    assert snapshot(place) == before
    assert change_record.read() == notes
    assert list(Path(pending_marker.DIRECTORY).iterdir()) == []


def test_a_refusal_quotes_the_checker(change: Change, place: Path) -> None:
    checker = ["sh", "-c", f"grep -q new {place}/file && echo this will not do >&2; exit 1"]
    assert "this will not do" in change({place / "file": "new\n"}, checker)["msg"]


def test_a_checker_that_takes_a_file_up_mentions_it(change: Change, place: Path) -> None:
    listing = ["sh", "-c", f"for file in {place}/*.conf; do echo taken: $file; done"]
    expected = [f"taken: {place}/web.conf"]
    assert not change({place / "web.conf": ""}, listing, check_expects=expected)["failed"]
    result = change({place / "web.cnf": ""}, listing, check_expects=[f"taken: {place}/web.cnf"])
    assert f"does not mention taken: {place}/web.cnf" in result["msg"]
    assert not (place / "web.cnf").exists()


def test_a_warning_is_refused_where_it_matters_and_quoted(change: Change, place: Path) -> None:
    warning = ["sh", "-c", "echo warning: old notation >&2"]
    assert not change({place / "file": "one\n"}, warning, check_forbids=["conflicting"])["failed"]
    assert "warning: old notation" in change({place / "file": "two\n"}, warning, check_forbids=["^warning"])["msg"]
    assert (place / "file").read_text() == "one\n"


def test_a_checker_speaks_english_whatever_language_the_host_has(
    change: Change, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    # Not by $LC_ALL, which is expanded before the shell sees it.
    speaks = ["sh", "-c", 'test "$(printenv LC_ALL LANGUAGE)" = C.UTF-8']
    assert not change({place / "file": "new\n"}, speaks)["failed"]


def test_check_mode_names_the_files_and_writes_and_notes_none(change: Change, place: Path) -> None:
    before = snapshot(place)
    result = change({place / "file": "new\n"}, ["false"], check_mode=True)
    assert result["changed"]
    assert result["files"] == [str(place / "file")]
    assert snapshot(place) == before
    assert change_record.read() == {}


def test_files_that_were_written_and_never_applied_are_applied_by_the_next_run(
    change: Change, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(transaction: Transaction) -> None:
        assert noted() == {str(place / "file"): None}  # on disk before the change
        written(transaction)
        raise KeyboardInterrupt

    written = Transaction.write
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "write", cut_off)
        with pytest.raises(KeyboardInterrupt):
            change({place / "file": "new\n"}, ["true"])
    applied = place / "applied"
    assert change({place / "file": "new\n"}, ["touch", str(applied)])["changed"]
    assert applied.exists()
    assert noted() == {str(place / "file"): None}


# Files of others.


def test_a_file_of_somebody_else_is_refused_by_name_and_nothing_is_written(change: Change, place: Path) -> None:
    before = snapshot(place)
    result = change({place / "file": "ours\n", place / "theirs": "ours\n"})
    assert result["failed"]
    assert result["msg"].startswith(f"{place}/theirs was not written by this collection. Move it away")
    assert snapshot(place) == before
    assert change({place / "theirs": "ours\n"}, check_mode=True)["failed"]


def test_a_secret_file_of_somebody_else_is_refused_too(change: Change, place: Path) -> None:
    entry = {"path": str(place / "theirs"), "content": "hunter2", "owner": OWNER, "group": GROUP}
    result = change(secret_files=[entry])
    assert f"{place}/theirs was not written by this collection" in result["msg"]


# Secrets that a host makes.


@pytest.fixture
def keep(change: Change, place: Path) -> Change:
    """Run the module with a secret, and a configuration that has its hashes."""

    def _keep(
        password: Path | None = None, check_mode: bool = False, service: str | None = None, **more: Any
    ) -> dict[str, Any]:
        own = {"owner": OWNER, "group": GROUP}
        secret = {"name": "web", "path": str(password or place / "password"), **own, **more}
        content = "password = @web.sha1@ @web.sha256@ of @web.sha3@, not @other.sha1@"
        config = {"path": str(place / "config"), "content": content, **own}
        return change(name=service, secrets=[secret], secret_files=[config], check_mode=check_mode)

    return _keep


def test_a_secret_is_made_once_and_only_its_hash_is_used(keep: Change, place: Path) -> None:
    path = place / "made" / "password"
    first, second = keep(path), keep(path)
    secret = path.read_text().strip()
    hashes = [hashlib.new(name, secret.encode()).hexdigest() for name in ("sha1", "sha256")]
    assert (first["changed"], second["changed"]) == (True, False)
    assert len(secret) == 32
    assert (place / "config").read_text() == f"password = {' '.join(hashes)} of @web.sha3@, not @other.sha1@"
    assert secret not in str(first)
    assert hashes[0] not in str(first)
    assert str(path) in noted()


@pytest.mark.parametrize(("group", "mode"), [("root", 0o600), ("nogroup", 0o640)])
def test_a_secret_that_is_open_to_others_is_closed_and_stays_the_same(
    keep: Change, place: Path, group: str, mode: int
) -> None:
    if os.geteuid() != 0:
        pytest.skip("the group of a file is another one only where root says so")
    (place / "password").write_text("chosen by somebody\n")
    (place / "password").chmod(0o644)
    assert keep(group=group)["changed"]
    assert (place / "password").read_text() == "chosen by somebody\n"
    assert (place / "password").stat().st_mode & 0o777 == mode
    assert not keep(group=group)["changed"]


def test_an_empty_file_is_no_secret(keep: Change, place: Path) -> None:
    (place / "password").write_text("\n")
    assert keep()["changed"]
    assert len((place / "password").read_text().strip()) == 32


def test_two_hosts_do_not_make_the_same_secret(keep: Change, place: Path) -> None:
    paths = [place / "one", place / "other"]
    for path in paths:
        keep(path)
    assert len({path.read_text() for path in paths}) == 2


def test_a_secret_that_can_be_guessed_is_refused(keep: Change, place: Path) -> None:
    result = keep(length=8)
    assert result["failed"]
    assert f"length of {place}/password is 8" in result["msg"]
    assert not (place / "password").exists()
    assert not (place / "config").exists()


def test_a_secret_is_not_made_for_a_group_that_is_not_there(keep: Change, place: Path) -> None:
    result = keep(group="no-such-group")
    assert result["failed"]
    assert "no-such-group" in result["msg"]
    assert not (place / "password").exists()


def test_a_service_has_nothing_to_take_up_where_only_a_secret_was_open_to_others(
    keep: Change, place: Path, systemd: Systemd
) -> None:
    systemd.add(UNIT)
    assert keep(service=UNIT)["action"] != "none"
    before = len(systemd.calls)
    (place / "password").chmod(0o644)
    result = keep(service=UNIT)
    assert (result["changed"], result["action"]) == (True, "none")
    assert len(systemd.calls) == before
    assert (place / "password").stat().st_mode & 0o777 == 0o600


def test_neither_a_secret_nor_its_hash_is_told(place: Path) -> None:
    path = place / "password"
    path.write_text("chosen by somebody\n")
    file = {"path": str(place / "config"), "content": "a line with @web.sha256@"}
    arguments = {"secrets": [{"name": "web", "path": str(path)}], "secret_files": [file], "_ansible_check_mode": True}
    command = [sys.executable, "-m", module.__name__]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
    said = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(said)["changed"]
    assert hashlib.sha256(b"chosen by somebody").hexdigest() not in said
    assert "chosen" not in said


def test_no_secret_is_made_in_check_mode(keep: Change, place: Path) -> None:
    result = keep(check_mode=True)
    assert result["changed"]
    assert "(secret)" in str(result["diff"])
    assert "@web" not in str(result["diff"])
    assert not (place / "password").exists()


def test_a_file_of_ours_that_somebody_changed_is_made_ours_again(change: Change, place: Path) -> None:
    change({place / "file": "ours\n"})
    (place / "file").write_text("theirs\n")
    assert not change({place / "file": "ours\n"})["failed"]
    assert (place / "file").read_text() == "ours\n"


def test_a_file_of_somebody_else_that_may_be_kept_is_and_is_told(change: Change, place: Path) -> None:
    result = change({place / "file": "ours\n", place / "theirs": "ours\n"}, options={"foreign": "keep"})
    assert result["kept"] == [str(place / "theirs")]
    assert result["files"] == [str(place / "file")]
    assert (place / "theirs").read_text() == "theirs\n"
    assert str(place / "theirs") not in noted()
    assert not change({place / "theirs": "ours\n"}, options={"foreign": "keep"})["changed"]


def test_a_secret_file_of_somebody_else_that_may_be_kept_is(change: Change, place: Path) -> None:
    entry = {"path": str(place / "theirs"), "content": "hunter2", "owner": OWNER, "group": GROUP, "foreign": "keep"}
    change(secret_files=[entry])
    assert (place / "theirs").read_text() == "theirs\n"


@pytest.fixture
def packaged(place: Path, stand_ins: StandIns) -> Path:
    """Return a file that a stand-in for rpm says is as its package installed it."""
    path = place / "packaged"
    path.write_text("packaged\n")
    stand_ins.add("rpm", f"printf '%s\\t%s\\n' {path} \"$(printf 'packaged\\n' | sha256sum | cut -d ' ' -f 1)\"")
    return path


@pytest.mark.parametrize("foreign", ["refuse", "keep", "replace"])
def test_a_file_that_is_as_its_package_installed_it_is_replaced(change: Change, packaged: Path, foreign: str) -> None:
    assert not change({packaged: "ours\n"}, options={"foreign": foreign})["failed"]
    assert packaged.read_text() == "ours\n"
    before = thaw(noted()[str(packaged)])
    assert before is not None
    assert before.content == b"packaged\n"


def test_a_packaged_file_that_other_packages_need_is_kept_until_they_are_gone(
    change: Change, place: Path, packaged: Path
) -> None:
    needed = {"foreign": "keep", "kept_with": [f"{place}/default.d/*.conf"]}
    (place / "default.d").mkdir()
    (place / "default.d" / "php.conf").touch()
    result = change({packaged: "ours\n"}, options=needed)
    assert (result["changed"], result["kept"]) == (False, [str(packaged)])
    (place / "default.d" / "php.conf").unlink()
    assert change({packaged: "ours\n"}, options=needed)["changed"]
    (place / "default.d" / "php.conf").touch()  # one that is ours already stays ours
    assert change({packaged: "two\n"}, options=needed)["kept"] == []


def test_a_packaged_file_that_must_not_be_there_is_noted_and_put_back_when_that_is_refused(
    change: Change, packaged: Path
) -> None:
    before = read_state(str(packaged))
    assert change(check=["false"], absent_if_packaged=[str(packaged)])["failed"]
    assert read_state(str(packaged)) == before
    assert noted() == {}
    assert change(check=["true"], absent_if_packaged=[str(packaged)])["changed"]
    assert not packaged.exists()
    assert thaw(change_record.read()["removed"][str(packaged)]) == before


def test_a_link_to_a_packaged_file_is_noted_as_a_link(change: Change, place: Path, conffile: Path) -> None:
    (place / "enabled").symlink_to(conffile)
    assert change(absent_if_packaged=[str(place / "enabled")])["changed"]
    assert conffile.exists()
    before = thaw(change_record.read()["removed"][str(place / "enabled")])
    assert before is not None
    assert before.link == str(conffile)


def test_a_file_that_somebody_changed_is_not_taken_for_one_of_a_package(change: Change, packaged: Path) -> None:
    packaged.write_text("with a line of mine\n")
    assert not change(absent_if_packaged=[str(packaged)])["changed"]
    assert packaged.exists()


def test_files_of_ours_that_match_a_pattern_and_are_not_wanted_are_removed_and_forgotten(
    change: Change, place: Path
) -> None:
    change({place / "mine-old.conf": "old\n", place / "other.conf": "old\n"})
    (place / "mine-theirs.conf").write_text("theirs\n")
    before, notes = snapshot(place), change_record.read()
    wanted, pattern = {place / "mine-new.conf": "new\n"}, [f"{place}/mine-*.conf"]
    assert change(wanted, ["false"], exclusive=pattern)["failed"]
    assert (snapshot(place), change_record.read()) == (before, notes)
    assert change(wanted, ["true"], exclusive=pattern)["changed"]
    assert sorted(path.name for path in place.glob("*.conf")) == ["mine-new.conf", "mine-theirs.conf", "other.conf"]
    assert sorted(noted()) == [str(place / "mine-new.conf"), str(place / "other.conf")]
    assert not change(wanted, ["false"], exclusive=pattern)["changed"]


def conflicts(place: Path) -> list[dict[str, Any]]:
    return [
        {
            "files": [f"{place}/*.conf", f"{place}/no-such-file"],
            "regex": r"^\s*listen\s+80;",
            "explanation": "listens on port 80 as well.",
        }
    ]


def test_a_file_that_would_lose_what_it_is_to_keep_stays_as_it_is(change: Change, place: Path) -> None:
    change({place / "file": "to shop\nto blog\n"})
    answer = change({place / "file": "to blog\n", place / "other": "to shop\n"}, keeps=r"^to (\w+)$")
    assert (place / "file").read_text() == "to shop\nto blog\n"
    assert answer["files"] == [str(place / "other")]
    assert answer["kept"] == [str(place / "file")]
    refused = change({place / "file": "to blog\nto wiki\n"}, keeps=r"^to (\w+)$")
    assert refused["msg"].endswith(
        "is to keep shop until another file has that. So it does not get wiki either. Nothing was changed."
    )
    assert change({place / "file": "to blog\n"}, keeps=r"^to (wiki|blog)$")["changed"]
    change({place / "file": "to shop\nto blog\n"})
    assert change({place / "file": "to blog\nto shop\nto wiki\n"}, keeps=r"^to (\w+)$")["changed"]


def test_what_stands_in_the_way_in_a_file_of_somebody_else_is_refused_with_its_name(
    change: Change, place: Path
) -> None:
    (place / "their.conf").write_text("server {\n  listen 80;\n}\n")
    before = snapshot(place)
    result = change({place / "our.conf": "listen 80;\n"}, conflicts=conflicts(place))
    assert result["msg"].startswith(f"{place}/their.conf listens on port 80 as well. Nothing was changed.")
    assert (snapshot(place), change_record.read()) == (before, {})
    (place / "their.conf").write_text("# listen 80;\n  listen 8080;\n")
    assert not change({place / "our.conf": "listen 80;\n"}, conflicts=conflicts(place))["failed"]


def test_what_stands_in_files_of_ours_and_in_those_that_go_is_no_conflict(
    change: Change, place: Path, packaged: Path
) -> None:
    change({place / "one.conf": "listen 80;\n"})
    welcome = packaged.rename(place / "welcome.conf")
    welcome.write_text("listen 80;\n")
    wanted = {place / "two.conf": "listen 80;\n"}
    assert change(wanted, conflicts=conflicts(place))["failed"]
    assert not change(wanted, conflicts=conflicts(place), absent=[str(welcome)])["failed"]
    assert not change(wanted, conflicts=conflicts(place))["changed"]


# Directories and accounts.


def test_directories_that_come_are_noted_with_those_above_them(change: Change, place: Path) -> None:
    change(
        {place / "a" / "b" / "file": "new\n"},
        directories=[{"path": str(place / "c" / "d")}, {"path": str(place / "e"), "owned": True}],
    )
    assert sorted(noted("directory")) == [str(place / name) for name in ("a", "a/b", "c", "c/d")]
    assert noted("tree") == {str(place / "e"): None}


def test_a_directory_that_only_changes_its_mode_is_not_ours(change: Change, place: Path) -> None:
    assert change(directories=[{"path": str(place), "mode": "0700", "owned": True}])["changed"]
    assert change_record.read() == {}


@pytest.fixture
def passwd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let accounts be lines of a file, for those of this machine are none of the tests' business."""
    path = tmp_path / "passwd"
    path.touch()
    monkeypatch.setattr(configuration, "is_known", lambda name: name in path.read_text().split())
    return path


def test_an_account_that_the_checker_brings_about_is_noted_and_one_that_was_there_is_not(
    change: Change, place: Path, passwd: Path
) -> None:
    passwd.write_text("theirs\n")
    make = ["sh", "-c", f"echo ours >> {passwd}"]
    assert change({place / "file": "new\n"}, make, accounts=["ours", "theirs"])["changed"]
    assert noted("account") == {"ours": None}
    assert not change({place / "file": "new\n"}, ["false"], accounts=["ours", "theirs"])["changed"]


def test_an_account_that_somebody_removed_is_a_change(change: Change, place: Path, passwd: Path) -> None:
    make = ["sh", "-c", f"echo ours > {passwd}"]
    change({place / "file": "new\n"}, make, accounts=["ours"])
    passwd.write_text("")
    assert change({place / "file": "new\n"}, make, accounts=["ours"])["changed"]
    assert passwd.read_text() == "ours\n"


def test_an_account_that_was_not_made_is_not_noted(change: Change, place: Path, passwd: Path) -> None:
    assert change({place / "file": "new\n"}, ["false"], accounts=["ours"])["failed"]
    assert change_record.read() == {}


def test_an_account_of_a_run_that_was_cut_off_is_ours(
    change: Change, place: Path, passwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_module: Any) -> None:
        passwd.write_text("ours\n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(configuration.Configuration, "_validate", cut_off)
        with pytest.raises(KeyboardInterrupt):
            change({place / "file": "new\n"}, ["true"], accounts=["ours"])
    change({place / "file": "new\n"}, ["true"], accounts=["ours"])
    assert noted("account") == {"ours": None}


# The service; systemctl is a stand-in.


@pytest.fixture
def config(place: Path, systemd: Systemd) -> Path:
    """Return the configuration of a running unit, which does not come up with the word bad in it."""
    path = place / "web.conf"
    path.write_text("good\n")
    with change_record.ChangeRecord() as notes:
        notes.note("file", str(path))  # ours
    systemd.add(UNIT, start=f"! grep -q bad {path} && cp {path} {place}/taken-up")
    return path


def test_a_running_service_reloads_what_it_can_and_restarts_for_the_rest(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    assert change({config: "two\n"}, name=UNIT)["action"] == "reloaded"
    assert change({config: "three\n"}, name=UNIT, on_change="restart")["action"] == "restarted"
    assert systemd.calls == [f"reload {UNIT}", f"restart {UNIT}"]
    assert (place / "taken-up").read_text() == "three\n"


def test_a_service_that_is_as_wanted_is_left_alone(change: Change, config: Path, systemd: Systemd) -> None:
    result = change({config: "good\n"}, name=UNIT)
    assert (result["changed"], result["action"], systemd.calls) == (False, "none", [])


@pytest.mark.parametrize(
    ("active", "enabled", "action", "calls"),
    [
        (False, True, "started", [f"start {UNIT}"]),
        (False, False, "started", [f"enable --quiet {UNIT}", f"start {UNIT}"]),
        (True, False, "started", [f"enable --quiet {UNIT}", f"start {UNIT}"]),
    ],
)
def test_a_service_is_brought_up_now_and_for_the_next_boot_and_what_it_was_is_noted(
    change: Change, systemd: Systemd, active: bool, enabled: bool, action: str, calls: list[str]
) -> None:
    systemd.add(UNIT, active=active, enabled=enabled)
    assert change(name=UNIT)["action"] == action
    assert systemd.calls == calls
    assert noted("unit") == {UNIT: {"active": active, "enabled": enabled}}
    assert not change(name=UNIT)["changed"]


def test_what_a_service_was_is_noted_before_its_first_change_only(
    change: Change, config: Path, systemd: Systemd
) -> None:
    change({config: "two\n"}, name=UNIT)
    (systemd.units / f"{UNIT}.active").unlink()
    change({config: "three\n"}, name=UNIT)
    assert noted("unit") == {UNIT: {"active": True, "enabled": True}}


def test_a_change_of_the_unit_file_is_a_restart(change: Change, config: Path, systemd: Systemd) -> None:
    change({config: "good\n", Path(services.UNIT_DIRECTORY) / UNIT: "[Service]\n"}, name=UNIT)
    assert systemd.calls == ["daemon-reload", f"restart {UNIT}"]


@pytest.mark.parametrize(
    ("brought", "text", "action"), [(True, None, "restarted"), (True, "old\n", "reloaded"), (False, None, "reloaded")]
)
def test_a_drop_in_is_taken_up_by_a_restart_before_there_is_anything_to_lose_or_the_run_says_so(
    change: Change, config: Path, systemd: Systemd, brought: bool, text: str | None, action: str
) -> None:
    drop_in = Path(services.UNIT_DIRECTORY) / f"{UNIT}.d" / "own.conf"
    drop_in.parent.mkdir(parents=True)
    with change_record.ChangeRecord() as notes:
        if brought:
            notes.note("package", UNIT.rpartition(".")[0])
        if text:
            drop_in.write_text(text)
            notes.note("file", str(drop_in))  # ours
    result = change({config: "good\n", drop_in: "[Service]\n"}, name=UNIT)
    assert result["action"] == action
    assert systemd.calls[0] == "daemon-reload"
    said = [str(warning) for warning in result.get("warnings", [])]
    assert any(f"systemctl restart {UNIT}" in warning for warning in said) == (action == "reloaded")


def test_a_configuration_that_the_service_does_not_come_up_with_is_put_back_and_the_service_runs_again(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    notes = change_record.read()
    result = change({config: "bad\n"}, name=UNIT, on_change="restart")
    assert f"systemctl restart {UNIT} failed: {UNIT} does not come up" in result["msg"]
    assert config.read_text() == (place / "taken-up").read_text() == "good\n"
    assert systemd.is_active(UNIT)
    assert change_record.read() == notes


def test_a_service_that_never_ran_is_not_started_with_files_that_were_refused(change: Change, systemd: Systemd) -> None:
    systemd.add(UNIT, active=False, start="false")
    result = change(name=UNIT)
    assert result["msg"].startswith(f"systemctl start {UNIT} failed")  # for no file has changed
    assert not systemd.is_active(UNIT)
    assert change_record.read() == {}


def test_a_service_that_is_older_than_what_it_is_made_of_restarts_once(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    newer = [str(place / "theirs"), str(place / "no-such-file")]
    assert change({config: "good\n"}, name=UNIT, restart_if_newer=newer, check_mode=True)["changed"]
    assert change({config: "good\n"}, name=UNIT, restart_if_newer=newer)["action"] == "restarted"
    assert not change({config: "good\n"}, name=UNIT, restart_if_newer=newer)["changed"]
    assert systemd.calls == [f"restart {UNIT}"]


def test_it_counts_when_a_file_came_to_the_host_not_the_time_that_its_package_gave_it(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    os.utime(place / "theirs", (1, 1))
    assert change({config: "good\n"}, name=UNIT, restart_if_newer=[str(place / "theirs")])["action"] == "restarted"


def test_a_file_from_a_time_that_has_not_come_restarts_nothing(
    change: Change, config: Path, place: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.add(UNIT, since=int(time.time()) - 7200)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)  # the clock was set back since the file was written
    assert not change({config: "good\n"}, name=UNIT, restart_if_newer=[str(place / "theirs")])["changed"]


def test_a_file_that_came_where_one_was_taken_away_is_somebody_elses(change: Change, place: Path) -> None:
    change(absent=[str(place / "theirs")])
    assert not (place / "theirs").exists()
    (place / "theirs").write_text("theirs again\n")
    assert "was not written by this collection" in change({place / "theirs": "ours\n"})["msg"]


def test_a_service_that_is_younger_than_what_it_is_made_of_goes_on(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    systemd.add(UNIT, since=int(time.time()) + 60)
    assert not change({config: "good\n"}, name=UNIT, restart_if_newer=[str(place / "theirs")])["changed"]


def test_a_service_that_does_not_get_ready_with_the_files_it_had_is_not_restarted_again(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    never = {"restart_if_newer": [str(place / "theirs")], "ready": ["false"], "ready_timeout": 0}
    result = change({config: "good\n"}, name=UNIT, **never)
    assert result["msg"].startswith("false fails 0 s after the restart")
    assert systemd.calls == [f"restart {UNIT}"]


def ready(systemd: Systemd, times: int) -> list[str]:
    """Return a command that succeeds when it is asked for that many times."""
    log = systemd.stand_ins.log
    return ["sh", "-c", f"echo asked >> {log}; test $(grep -c asked {log}) -ge {times}"]


def test_what_is_in_front_is_away_from_before_a_restart_until_the_service_is_ready(
    change: Change, config: Path, systemd: Systemd
) -> None:
    systemd.add("front.service")
    systemd.add("idle.service", active=False)
    result = change(
        {config: "two\n"},
        name=UNIT,
        on_change="restart",
        drain=["front.service", "idle.service"],
        ready=ready(systemd, 2),
    )
    assert result["action"] == "restarted"
    assert systemd.calls == ["stop front.service", f"restart {UNIT}", "asked", "asked", "start front.service"]
    assert not systemd.is_active("idle.service")


def test_what_is_in_front_stays_for_a_reload(change: Change, config: Path, systemd: Systemd) -> None:
    systemd.add("front.service")
    change({config: "two\n"}, name=UNIT, drain=["front.service"], ready=ready(systemd, 1))
    assert systemd.calls == [f"reload {UNIT}"]


def test_what_is_in_front_comes_back_when_the_restart_fails(change: Change, config: Path, systemd: Systemd) -> None:
    systemd.add("front.service")
    result = change({config: "bad\n"}, name=UNIT, on_change="restart", drain=["front.service"], ready=ready(systemd, 1))
    assert result["failed"]
    assert systemd.calls == ["stop front.service", f"restart {UNIT}", "start front.service", f"restart {UNIT}"]
    assert systemd.is_active("front.service")


def test_what_is_in_front_comes_back_when_the_service_never_gets_ready_and_that_is_said(
    change: Change, config: Path, systemd: Systemd
) -> None:
    systemd.add("front.service")
    never = ["sh", "-c", "echo shop is STARTING; exit 1"]
    result = change(
        {config: "two\n"}, name=UNIT, on_change="restart", drain=["front.service"], ready=never, ready_timeout=0
    )
    assert f"fails 0 s after the restart of {UNIT}:\nshop is STARTING" in result["msg"]
    assert systemd.is_active("front.service")
    assert config.read_text() == "good\n"


def test_what_is_in_front_comes_back_when_another_of_it_cannot_be_stopped(
    change: Change, config: Path, systemd: Systemd
) -> None:
    for name in ("front.service", "stubborn.service"):
        systemd.add(name)
    program = systemd.stand_ins.directory / "systemctl"
    program.write_text(program.read_text().replace("stop)", 'stop) [ "$unit" != stubborn.service ] || exit 1;'))
    drained = ["front.service", "stubborn.service"]
    assert change({config: "two\n"}, name=UNIT, on_change="restart", drain=drained)["failed"]
    assert systemd.is_active("front.service")


def test_a_service_that_never_gets_ready_runs_with_its_old_configuration_again(
    change: Change, config: Path, place: Path, systemd: Systemd
) -> None:
    never = {"ready": ["grep", "-q", "good", str(config)], "ready_timeout": 0}
    assert change({config: "two\n"}, name=UNIT, on_change="restart", **never)["failed"]
    assert systemd.is_active(UNIT)
    assert (place / "taken-up").read_text() == "good\n"


def test_a_port_that_another_program_holds_is_refused_with_its_name(
    change: Change, config: Path, systemd: Systemd, start: Callable[..., subprocess.Popen]
) -> None:
    listen = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    process = start(sys.executable, "-c", listen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    port = int(process.stdout.readline())
    result = change({config: "two\n"}, name=UNIT, ports=[port])
    assert f"Port {port} is held by " in result["msg"]
    assert (config.read_text(), systemd.calls) == ("good\n", [])
