"""Whose a file is: its package's, this collection's, or somebody else's."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import ownership
from ansible_collections.baremetal.web.plugins.module_utils._host.change_record import ChangeRecord
from ansible_collections.baremetal.web.plugins.module_utils._host.ownership import has_package, is_foreign, is_packaged
from conftest import StandIns

CONTENT = b"as the package has it\n"


@pytest.fixture
def rpm(stand_ins: StandIns, tmp_path: Path) -> Path:
    """Return a file that a stand-in for rpm says is a package's; rpm knows no other."""
    path = tmp_path / "packaged.conf"
    path.write_bytes(CONTENT)
    return answer(stand_ins, path, hashlib.sha256(CONTENT).hexdigest())


def answer(stand_ins: StandIns, path: Path, digest: str) -> Path:
    """Let the stand-in answer as rpm does: every file of the package that owns the last argument, or a sentence."""
    script = f"""
    for path; do :; done
    [ "$path" = {path} ] || {{ echo "file $path is not owned by any package"; exit 1; }}
    printf '%s\\t%s\\n' /etc/other {"0" * 64} /etc "" {path} "{digest}" /etc/last {"1" * 64}
    """
    stand_ins.add("rpm", script)
    return path


def test_a_configuration_file_of_a_package_is_packaged(conffile: Path) -> None:
    assert is_packaged(str(conffile))
    assert not is_foreign(str(conffile))


def test_a_link_to_a_file_of_a_package_is_packaged(conffile: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(conffile)
    assert is_packaged(str(tmp_path / "link"))


def test_the_same_content_elsewhere_is_somebody_elses(conffile: Path, tmp_path: Path) -> None:
    copy = tmp_path / conffile.name
    copy.write_bytes(conffile.read_bytes())
    assert not is_packaged(str(copy))
    assert is_foreign(str(copy))


def test_the_content_of_another_file_of_its_package_makes_a_file_foreign(stand_ins: StandIns, tmp_path: Path) -> None:
    own, other = (hashlib.md5(content).hexdigest() for content in (CONTENT, b"other\n"))
    path = tmp_path / "dpkg.conf"
    listing = f"printf ' %s %s\n' {path} {own} /etc/other {other}"
    stand_ins.add("dpkg-query", f'case $1 in --search) echo "package:amd64: {path}" ;; *) {listing} ;; esac')
    path.write_bytes(CONTENT)
    assert is_packaged(str(path))
    path.write_bytes(b"other\n")
    assert not is_packaged(str(path))


def test_a_file_that_rpm_says_is_as_installed_is_packaged(rpm: Path) -> None:
    assert is_packaged(str(rpm))


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_the_length_of_rpms_digest_tells_its_algorithm(stand_ins: StandIns, rpm: Path, algorithm: str) -> None:
    answer(stand_ins, rpm, hashlib.new(algorithm, CONTENT).hexdigest())
    assert is_packaged(str(rpm))


def test_a_file_of_an_rpm_that_somebody_changed_is_foreign(rpm: Path) -> None:
    rpm.write_bytes(CONTENT + b"# and a line of mine\n")
    assert not is_packaged(str(rpm))
    assert is_foreign(str(rpm))


def test_a_file_that_no_rpm_owns_or_that_has_no_digest_is_foreign(
    stand_ins: StandIns, rpm: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_bytes(CONTENT)
    assert is_foreign(str(tmp_path / "other"))
    answer(stand_ins, rpm, "")  # a ghost file
    assert is_foreign(str(rpm))


def test_a_package_brought_a_file_whatever_somebody_made_of_it(rpm: Path, tmp_path: Path) -> None:
    rpm.write_bytes(CONTENT + b"# and a line of mine\n")
    (tmp_path / "link").symlink_to(rpm)
    (tmp_path / "other").write_bytes(CONTENT)
    found = [has_package(str(path)) for path in (rpm, tmp_path / "link", tmp_path / "other")]
    assert found == [True, True, False]


def test_a_package_of_this_machine_brought_its_files_and_no_copy_of_them(conffile: Path, tmp_path: Path) -> None:
    assert has_package(str(conffile))
    assert not has_package(shutil.copy(conffile, tmp_path))


def test_a_host_without_a_package_manager_that_is_known_has_foreign_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership.shutil, "which", lambda _name: None)
    (tmp_path / "file").touch()
    assert is_foreign(str(tmp_path / "file"))


@pytest.mark.parametrize("kind", ["directory", "dangling"])
def test_what_is_no_file_is_not_packaged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "path"
    path.mkdir() if kind == "directory" else path.symlink_to("nowhere")
    assert not is_packaged(str(path))
    assert is_foreign(str(path))


def test_a_file_of_this_collection_is_not_foreign_and_one_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not is_foreign(str(path))
    with ChangeRecord() as notes:
        notes.note_file(str(path))
    path.touch()
    assert not is_foreign(str(path))
