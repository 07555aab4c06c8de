"""Repositories and packages: the files that describe them, what apt and dnf are understood to say, what is refused."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, packages
from ansible_collections.baremetal.web.plugins.module_utils._host.files import Transaction
from ansible_collections.baremetal.web.plugins.module_utils._host.modules import packages as module
from ansible_collections.baremetal.web.plugins.module_utils._host.packages import (
    Answer,
    Apt,
    Changes,
    Dnf,
    Manager,
    Missing,
    PackagesError,
    choose_manager,
    complaints,
    difference,
)

APT_SIMULATION = """\
Remv apache2 [2.4.62-1]
Inst libpcre2-8-0 [10.45-1] (10.46-1 Debian:13/stable [amd64])
Inst nginx-common (1.26.3-3 Debian:13/stable [all])
Inst nginx (1.26.3-3 Debian:13/stable [amd64]) []
Conf nginx-common (1.26.3-3 Debian:13/stable [all])
"""
DNF_TABLE = """\
Last metadata expiration check: 0:00:01 ago.
Dependencies resolved.
================================================================================
 Package            Arch     Version              Repository               Size
================================================================================
Upgrading:
 nginx-core         x86_64   1:1.20.1-25.el9      appstream               705 k
Installing:
 nginx              x86_64   1:1.20.1-25.el9      appstream               7.4 k
Installing dependencies:
 a-package-whose-name-is-too-long-for-its-column
                    noarch   2.0-1                appstream               1.0 k
Removing dependent packages:
 other              x86_64   1.0-1                @appstream              847

Transaction Summary
================================================================================
Install  2 Packages
"""


def repository(**more: Any) -> dict[str, Any]:
    """Describe a repository as the module's arguments have it."""
    return {
        **{"name": "mirror", "url": "http://mirror.example.com/debian", "suites": ["trixie"], "components": ["main"]},
        **{"key": "KEY\n", "signature": "packages", "preferred": False, "username": None, "password": None},
        **more,
    }


def files(manager: Manager) -> dict[str, str]:
    return {entry.path: (entry.content or b"").decode() for entry in manager.files()}


def fields(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_a_repository_of_apt_is_a_file_that_names_its_own_key() -> None:
    written = files(Apt([repository()]))
    assert written["/etc/apt/keyrings/baremetal-web-mirror.asc"] == "KEY\n"
    assert fields(written["/etc/apt/sources.list.d/baremetal-web-mirror.sources"]) == {
        "Types": "deb",
        "URIs": "http://mirror.example.com/debian",
        "Suites": "trixie",
        "Components": "main",
        "Signed-By": "/etc/apt/keyrings/baremetal-web-mirror.asc",
    }


def test_without_a_key_it_is_for_those_that_the_distribution_trusts() -> None:
    (path, text), *others = files(Apt([repository(key=None)])).items()
    assert path.endswith(".sources")
    assert "Signed-By" not in text
    assert others == []


def test_a_login_of_apt_stands_in_a_file_of_roots_alone() -> None:
    described = repository(username="me", password="hunter2")
    entries = {entry.path: entry for entry in Apt([described]).files()}
    login = entries.pop("/etc/apt/auth.conf.d/baremetal-web-mirror.conf")
    assert b"machine http://mirror.example.com/debian\nlogin me\npassword hunter2\n" in (login.content or b"")
    assert (login.mode, login.secret) == (0o600, True)
    assert not [path for path, entry in entries.items() if b"hunter2" in (entry.content or b"")]


@pytest.mark.parametrize(
    ("described", "pin"),
    [
        (repository(preferred=True), 'origin "mirror.example.com"'),
        # The same mirror may hold the distribution as well.
        (repository(preferred=True, components=["nginx"]), "release c=nginx"),
    ],
)
def test_a_preferred_repository_is_pinned_by_what_is_its_own(described: dict[str, Any], pin: str) -> None:
    text = files(Apt([described]))["/etc/apt/preferences.d/baremetal-web-mirror.pref"]
    assert fields(text) == {"Package": "*", "Pin": pin, "Pin-Priority": "900"}


def ini(manager: Manager) -> tuple[Mapping[str, str], int]:
    (entry,) = (entry for entry in manager.files() if entry.path == "/etc/yum.repos.d/baremetal-web-mirror.repo")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((entry.content or b"").decode())
    return parser["baremetal-web-mirror"], entry.mode


def test_a_repository_of_dnf_checks_what_is_signed() -> None:
    url = "http://mirror.example.com/9/$basearch"
    section, mode = ini(Dnf([repository(url=url)]))
    assert section["baseurl"] == url
    assert (section["gpgcheck"], section["repo_gpgcheck"]) == ("1", "0")
    assert section["gpgkey"] == "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-baremetal-web-mirror"
    assert mode == 0o644
    section, mode = ini(Dnf([repository(signature="index")]))
    assert (section["gpgcheck"], section["repo_gpgcheck"]) == ("0", "1")


def test_a_login_of_dnf_closes_its_file() -> None:
    section, mode = ini(Dnf([repository(username="me", password="100%")]))
    assert (section["username"], section["password"], mode) == ("me", "100%", 0o600)


def test_what_apt_would_do_is_read_from_its_simulation() -> None:
    assert Apt([])._planned(APT_SIMULATION) == Changes(
        {"nginx-common": "1.26.3-3", "nginx": "1.26.3-3"},
        {"apache2": "2.4.62-1"},
        {"libpcre2-8-0": ("10.45-1", "10.46-1")},
    )


def test_what_dnf_would_do_is_read_from_its_table() -> None:
    assert Dnf([])._planned(DNF_TABLE, {"nginx-core": "1:1.20.1-24.el9"}) == Changes(
        {"nginx": "1:1.20.1-25.el9", "a-package-whose-name-is-too-long-for-its-column": "2.0-1"},
        {"other": "1.0-1"},
        {"nginx-core": ("1:1.20.1-24.el9", "1:1.20.1-25.el9")},
    )


def test_a_table_of_nothing_is_no_change() -> None:
    assert not Dnf([])._planned("Dependencies resolved.\nNothing to do.\nComplete!\n", {})


def test_the_difference_of_two_states_tells_what_came_went_and_was_upgraded() -> None:
    changes = difference({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
    assert changes == Changes({"d": "1"}, {"c": "1"}, {"b": ("1", "2")})
    assert changes.diff()["before"] == "b 1\nc 1\n"
    assert changes.diff()["after"] == "b 2\nd 1\n"


@pytest.mark.parametrize(
    ("release", "manager"),
    [
        ("ID=debian\n", "apt"),
        ("ID=ubuntu\nID_LIKE=debian\n", "apt"),
        ('ID="centos"\nID_LIKE="rhel fedora"\n', "dnf"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "dnf"),
    ],
)
def test_the_distribution_decides_which_manager_is_asked(tmp_path: Path, release: str, manager: str) -> None:
    (tmp_path / "os-release").write_text(release)
    assert choose_manager(str(tmp_path / "os-release")) == manager


def test_a_distribution_of_neither_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=alpine\n")
    with pytest.raises(PackagesError, match="alpine"):
        choose_manager(str(tmp_path / "os-release"))


def test_a_complaint_has_no_password_and_each_line_once() -> None:
    said = "Reading...\nE: Failed to fetch http://me:hunter2@mirror/x\nE: Failed to fetch http://me:hunter2@mirror/x\n"
    assert complaints(said) == "E: Failed to fetch http://mirror/x"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Let commands answer what a real apt-get or dnf said; return what was run."""

    def _answers(*queue: Answer) -> list[list[str]]:
        waiting, asked = list(queue), []

        def _run(command: list[str], feed: str = "") -> Answer:
            asked.append(command)
            return waiting.pop(0)

        monkeypatch.setattr(packages, "run", _run)
        return asked

    return _answers


@pytest.mark.parametrize(
    "said", ["E: Unable to locate package nosuch", "E: Package 'nosuch' has no installation candidate"]
)
def test_a_package_that_apt_does_not_find_is_named_with_who_was_asked(
    answers: Callable[..., list[list[str]]], said: str
) -> None:
    answers(Answer(100, "", f"{said}\n"))
    with pytest.raises(Missing, match=r"no package nosuch .*: mirror \(http://mirror\.example\.com/debian\)\."):
        Apt([repository()], exclusive=True).install(["nosuch"], latest=False, simulate=False)


def test_a_package_that_dnf_does_not_find_is_named(answers: Callable[..., list[list[str]]]) -> None:
    said = "No match for argument: nosuch\nError: Unable to find a match: nosuch\n"
    answers(Answer(0, "bash\t5\n", ""), Answer(1, "", said))
    with pytest.raises(Missing, match=r"no package nosuch .*: those of the host"):
        Dnf([]).install(["nosuch"], latest=False, simulate=False)


def test_only_the_given_repositories_are_asked_when_they_are_exclusive(
    answers: Callable[..., list[list[str]]],
) -> None:
    asked = answers(Answer(0, "", ""), Answer(0, "", ""), Answer(0, "", ""), Answer(0, "", ""))
    Apt([repository()], exclusive=True).install(["nginx"], latest=False, simulate=False)
    assert "Dir::Etc::sourcelist=/dev/null" in asked[0]
    assert "APT::Get::List-Cleanup=false" in asked[0]  # what the host knows of others stays
    Apt([repository()]).install(["nginx"], latest=False, simulate=False)
    assert not [word for word in asked[1] if "sourcelist" in word]
    Dnf([repository()], exclusive=True).install(["nginx"], latest=False, simulate=False)
    assert "--disablerepo=*" in asked[3]
    assert "--enablerepo=baremetal-web-mirror" in asked[3]


def test_an_index_that_is_young_enough_is_not_refreshed(
    answers: Callable[..., list[list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(Answer(0, "", ""), Answer(0, "", ""))
    monkeypatch.setattr(Apt, "LISTS", str(tmp_path))
    Apt([], cache_seconds=60).refresh(forced=False)
    assert asked == []
    Apt([], cache_seconds=60).refresh(forced=True)
    assert "update" in asked[0]
    os.utime(tmp_path, (0, 0))
    Apt([], cache_seconds=60).refresh(forced=False)
    assert "update" in asked[1]


def test_a_repository_of_the_hosts_own_that_is_away_is_only_a_warning(
    answers: Callable[..., list[list[str]]],
) -> None:
    away = Answer(100, "", "E: Failed to fetch http://third.example.org/x  Could not connect\n")
    answers(away, away)
    manager = Apt([repository()])
    manager.refresh(forced=True)
    assert "third.example.org" in manager.warnings[0]
    with pytest.raises(PackagesError, match=r"cannot be had from mirror \(http://mirror"):
        Apt([repository()], exclusive=True).refresh(forced=True)


class Host(Manager):
    """A host on which removing a package removes those that need it."""

    NEEDS: Mapping[str, set[str]] = {"nginx": {"libgd3"}, "theirs": {"libgd3"}, "module": {"nginx"}}

    def remove(self, names: list[str], simulate: bool) -> set[str]:
        gone = set(names)
        while more := {name for name, needs in self.NEEDS.items() if needs & gone} - gone:
            gone |= more
        return gone


@pytest.mark.parametrize(
    ("ours", "removable"),
    [
        (["libgd3", "module", "nginx"], ["module", "nginx"]),
        (["nginx"], []),
        (["libgd3", "module", "nginx", "theirs"], ["libgd3", "module", "nginx", "theirs"]),
        ([], []),
    ],
)
def test_a_package_that_others_need_is_not_removed(ours: list[str], removable: list[str]) -> None:
    assert Host([]).removable(ours) == removable


def test_apt_waits_for_who_holds_its_lock(
    answers: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)\n"
    asked = answers(Answer(100, "", held), Answer(100, "", held), Answer(0, "", ""))
    monkeypatch.setattr(packages.time, "sleep", lambda seconds: None)
    Apt([]).refresh(forced=True)
    assert len(asked) == 3


def test_a_stream_that_is_enabled_already_is_left_and_another_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dnf, "STREAMS", str(tmp_path))
    assert Dnf([]).enable_streams(["nginx:1.24"], simulate=True) == ["nginx:1.24"]
    (tmp_path / "nginx.module").write_text("[nginx]\nname=nginx\nstream=1.24\nprofiles=\nstate=enabled\n")
    assert Dnf([]).enable_streams(["nginx:1.24"], simulate=True) == []
    with pytest.raises(PackagesError, match=r"nginx:1\.24 is enabled .* nginx:1\.26 is wanted"):
        Dnf([]).enable_streams(["nginx:1.26"], simulate=True)
    (tmp_path / "nginx.module").write_text("[nginx]\nname=nginx\nstream=\nprofiles=\nstate=\n")
    assert Dnf([]).enable_streams(["nginx:1.26"], simulate=True) == ["nginx:1.26"]


def test_apt_has_no_streams() -> None:
    assert Apt([]).enable_streams([], simulate=True) == []
    with pytest.raises(PackagesError, match="only dnf"):
        Apt([]).enable_streams(["nginx:1.24"], simulate=True)


def test_an_upgrade_names_the_parts_of_a_package_that_came_with_it(answers: Callable[..., list[list[str]]]) -> None:
    listing = (
        "python3-venv\t, python3.13-venv (>= 3.13), python3\npython3.13-venv\t, python3-pip-whl | x\npython3\t, \n"
    )
    answers(Answer(0, listing + "python3-pip-whl\t, \nunrelated\t, \n", ""))
    ours = {"python3-venv", "python3.13-venv", "python3-pip-whl", "unrelated"}
    found = Apt([]).with_parts(["python3-venv"], ours)
    assert found == ["python3-pip-whl", "python3-venv", "python3.13-venv"]


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="this machine has no dpkg")
def test_the_packages_of_a_machine_are_those_that_dpkg_counts() -> None:
    counted = subprocess.run(["dpkg-query", "--show", "dpkg"], capture_output=True, text=True, check=True).stdout
    assert Apt([]).installed()["dpkg"] == counted.split()[1]


class Cut(Manager):
    """A host on which an installation is cut off, or refused, after nginx has come and before its module has."""

    def __init__(self, error: BaseException):
        super().__init__([])
        self.error = error
        self.there = {"theirs": "1"}
        self.noted: list[str] = []

    def refresh(self, forced: bool) -> None:
        pass

    def installed(self) -> dict[str, str]:
        return dict(self.there)

    def install(self, names: list[str], latest: bool, simulate: bool) -> Changes:
        self.noted = sorted(change_record.read()["package"])
        self.there |= {"nginx": "1", "nginx-common": "1"}
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PackagesError("no room")])
def test_packages_are_noted_before_they_are_installed_and_those_that_did_not_come_are_forgotten(
    error: BaseException,
) -> None:
    manager = Cut(error)
    with pytest.raises(type(error)):
        module.apply(manager, Transaction([], []), ["nginx", "module", "theirs"], [], False, manager.installed())
    assert manager.noted == ["module", "nginx"]  # on the disk, should all end here
    assert sorted(change_record.read()["package"]) == ["nginx", "nginx-common"]


def refused(run_module: Callable[..., dict[str, Any]], **arguments: Any) -> str:
    result = run_module("packages", arguments, check_mode=True)
    assert result["failed"]
    return result["msg"]


def test_the_module_refuses_what_cannot_work_before_anything_is_asked(
    run_module: Callable[..., dict[str, Any]],
) -> None:
    assert "packages_repositories" in refused(run_module, exclusive=True)
    login = [{"name": "mirror", "url": "http://me:hunter2@mirror.example.com/"}]
    message = refused(run_module, repositories=login)
    assert "username and password" in message
    assert "hunter2" not in message
    assert "../x" in refused(run_module, repositories=[{"name": "../x", "url": "http://mirror.example.com/"}])
