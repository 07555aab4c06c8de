"""The wheelhouse: what belongs into it, what fits a host, and a real one that pip fills."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.filter.wheel_requirements import wheel_requirements
from ansible_collections.baremetal.web.plugins.module_utils._host import change_record, wheels
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.wheelhouse import Target, Wheelhouse, read_lock
from conftest import ROOT

CP312 = Target("3.12", "x86_64")
HASH = "0" * 64


def wheel(directory: Path, name: str = "probe", version: str = "1.0", tag: str = "py3-none-any") -> str:
    """Make a wheel; return its line in a lock."""
    path = directory / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def house(tmp_path: Path) -> Wheelhouse:
    (tmp_path / "house").mkdir()
    return Wheelhouse(str(tmp_path / "house"))


def test_a_lock_is_read_with_its_markers_and_hashes() -> None:
    text = f"""
# made by somebody
flask==3.1.3 \\
    --hash=sha256:{HASH} \\
    --hash=sha256:{"1" * 64}
colorama==0.4 ; sys_platform == 'win32' --hash=sha256:{HASH}  # not here
"""
    flask, colorama = read_lock(text, "requirements.txt")
    assert (str(flask), flask.hashes) == ("flask==3.1.3", {HASH, "1" * 64})
    assert CP312.needs(flask)
    assert not CP312.needs(colorama)


@pytest.mark.parametrize(
    "line", ["flask", "flask>=3", "flask==3.1.3", f"flask>=3 --hash=sha256:{HASH}", "-r other.txt"]
)
def test_what_is_not_locked_is_refused_with_what_to_do(line: str) -> None:
    with pytest.raises(AnsibleError, match=r"app hello: .*(uv pip compile|no package)"):
        read_lock(f"{line}\n", "app hello")


def test_a_wheel_of_the_source_is_none_of_the_wheelhouse() -> None:
    (flask,) = read_lock(f"./wheels/a-1-py3-none-any.whl --hash=sha256:{HASH}\nflask==3 --hash=sha256:{HASH}\n", "x")
    assert flask.name == "flask"


def test_a_marker_of_the_python_version_is_the_hosts_not_the_controllers() -> None:
    old, new = read_lock(
        f"a==1 ; python_full_version < '3.11' --hash=sha256:{HASH}\n"
        f"b==1 ; python_version >= '3.11' --hash=sha256:{HASH}\n",
        "x",
    )
    assert [Target("3.10", "x86_64").needs(one) for one in (old, new)] == [True, False]
    assert [Target("3.12", "x86_64").needs(one) for one in (old, new)] == [False, True]


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp38-abi3-manylinux_2_28_x86_64", True),
        ("py3-none-manylinux_2_17_x86_64", True),
        ("cp313-cp313-manylinux_2_17_x86_64", False),
        ("cp312-cp312-manylinux_2_17_aarch64", False),
        ("cp312-cp312-manylinux_2_39_x86_64", False),  # newer than the oldest platform
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp312-cp312-win_amd64", False),
    ],
)
def test_a_wheel_counts_when_it_fits_the_host(house: Wheelhouse, tag: str, fits: bool) -> None:
    packages = read_lock(wheel(Path(house.path), tag=tag), "x")
    assert (house.missing(CP312, packages) == []) is fits


def test_a_wheel_with_another_hash_does_not_count(house: Wheelhouse) -> None:
    wheel(Path(house.path))
    packages = read_lock(f"probe==1.0 --hash=sha256:{HASH}\n", "x")
    assert house.missing(CP312, packages) == packages


def test_a_host_gets_the_wheels_of_its_locks_and_all_where_one_is_not_locked(house: Wheelhouse) -> None:
    probe, other = wheel(Path(house.path)), wheel(Path(house.path), "other")
    assert list(house.wanted(probe, "# nothing\n")) == ["probe-1.0-py3-none-any.whl"]
    assert len(house.wanted(probe, other)) == 2
    assert len(house.wanted(probe, "anything\n")) == 2


def test_a_wheelhouse_that_is_not_there_is_refused_with_the_playbook_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match=r"nowhere.*baremetal\.web\.wheelhouse"):
        Wheelhouse(str(tmp_path / "nowhere")).wanted("")


def test_pip_fetches_what_is_missing_and_every_wheel_that_is_not_to_be_had_is_named(
    house: Wheelhouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    lock = wheel(index, tag="cp312-cp312-manylinux_2_17_x86_64") + wheel(index, "other")
    lock += wheel(index, "foreign", tag="cp39-cp39-win_amd64") + f"nowhere==1 --hash=sha256:{HASH}\n"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    (Path(house.path) / "mine.txt").write_text("not ours")
    packages = read_lock(lock, "x")
    new, problems = house.fill(CP312, packages, "")
    assert new == ["other-1.0-py3-none-any.whl", "probe-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"]
    assert [problem.split(":")[0] for problem in problems] == [
        "no wheel of foreign==1.0 for Python 3.12 on x86_64",
        "no wheel of nowhere==1 for Python 3.12 on x86_64",
    ]
    assert [str(one) for one in house.missing(CP312, packages)] == ["foreign==1.0", "nowhere==1"]
    assert sorted(path.name for path in Path(house.path).iterdir()) == ["mine.txt", *new]


@pytest.fixture
def on_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_files: None) -> Path:
    """Let a directory of the test be the host's."""
    monkeypatch.setattr(wheels, "DIRECTORY", str(tmp_path / "host" / "wheelhouse"))
    monkeypatch.setattr(change_record, "ROOT", str(tmp_path / "changes"))
    return tmp_path / "host" / "wheelhouse"


def test_a_host_takes_the_wheels_that_it_lacks_and_nothing_else_of_an_archive(
    house: Wheelhouse, on_host: Path, tmp_path: Path
) -> None:
    probe = wheel(Path(house.path))
    wheel(Path(house.path), "other")
    wanted = house.wanted(probe)
    assert wheels.lacking(wanted) == list(wanted)
    archive = tmp_path / "wheels.tar"
    house.pack(list(house.digests()), str(archive))
    wheels.take(str(archive), wanted)
    assert [path.name for path in on_host.iterdir()] == list(wanted)
    assert wheels.lacking(wanted) == []
    assert change_record.read()["tree"] == {str(on_host): None}


def test_a_wheel_that_is_damaged_on_the_host_is_brought_again(house: Wheelhouse, on_host: Path) -> None:
    wanted = house.wanted(wheel(Path(house.path)))
    on_host.mkdir(parents=True)
    (on_host / next(iter(wanted))).write_bytes(b"half a wheel")
    assert wheels.lacking(wanted) == list(wanted)


def test_only_wheels_are_packed_under_their_plain_names(house: Wheelhouse, tmp_path: Path) -> None:
    wanted = house.wanted(wheel(Path(house.path)))
    house.pack(list(wanted), str(tmp_path / "x.tar"))
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getnames() == list(wanted)


def test_every_file_that_hosts_install_from_is_listed_with_its_python() -> None:
    app = {"name": "hello", "source": {"path": "files/hello_flask"}, "entrypoint": "hello_flask:create_app()"}
    files = wheel_requirements([{**app, "python": {"version": "3.12"}}], str(ROOT))
    assert [(file["name"], file["version"]) for file in files] == [
        ("python/files/tools.txt", "auto"),
        ("supervisor/files/requirements.txt", "auto"),
        ("gunicorn.txt", "3.12"),
        ("app hello, requirements.txt", "3.12"),
    ]
    for file in files:
        assert read_lock(file["text"], file["name"])


def test_a_pointer_of_git_lfs_is_no_wheel(house: Wheelhouse) -> None:
    wheel(Path(house.path))
    (Path(house.path) / "other-1.0-py3-none-any.whl").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{HASH}\nsize 12345\n"
    )
    with pytest.raises(AnsibleError, match=r"other-1\.0-py3-none-any\.whl is a pointer of Git LFS.*`git lfs pull`"):
        house.digests()
