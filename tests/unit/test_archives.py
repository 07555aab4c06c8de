"""Archives that are made to harm: each is refused with a sentence, and none leaves anything elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleError

from ansible_collections.baremetal.web.plugins.module_utils._host import archives
from ansible_collections.baremetal.web.plugins.module_utils._host.archives import ArchiveError, Bounds
from ansible_collections.baremetal.web.plugins.module_utils._release.home import ReleaseError
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import unpack
from ansible_collections.baremetal.web.plugins.plugin_utils._apps import sources
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.sources import open_source

BOUNDS = {"max_size": "1m", "max_files": 50}
Make = Callable[[Path], object]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory to unpack in, several levels below the test's own."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "runs" / "run"))
    monkeypatch.setattr(sources, "CACHE", str(tmp_path / "runs" / "cache"))
    (tmp_path / "runs" / "unpacked").mkdir(parents=True)
    return tmp_path / "runs" / "unpacked"


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **about: Any
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in about.items():
        setattr(info, key, value)
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Make:
    def make(path: Path) -> None:
        with tarfile.open(path, mode) as archive:
            for info, content in members:
                archive.addfile(info, io.BytesIO(content))

    return make


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> Make:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for info, content in entries:
                archive.writestr(info, content)

    return make


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def changed(make: Make, change: Callable[[bytes], bytes]) -> Make:
    def _make(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return _make


def patch_zip(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """Change a field of both headers of a zip archive with one file; the local one has it two bytes before."""

    def patch(data: bytes) -> bytes:
        central = data.index(b"PK\1\2") + offset
        data = data[:central] + value + data[central + len(value) :]
        return data[: offset - 2] + value + data[offset - 2 + len(value) :]

    return patch


def write(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def header(size_field: bytes, kind: bytes = b"0") -> bytes:
    """Return a header of tar with a size that tarfile would not write, and its checksum."""
    raw = bytearray(tarfile.TarInfo("file").tobuf(tarfile.USTAR_FORMAT))
    raw[124:136], raw[156:157], raw[148:156] = size_field, kind, b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


DEEP = "/".join(["d"] * 1500)
LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE: dict[str, tuple[Make, str]] = {
    "a bomb": (tar(member("zeros", content=bytes(2 << 20))), "more than 1048576 bytes.*source.max_size"),
    "a bomb of zip": (zipped(("zeros", bytes(2 << 20))), "more than 1048576 bytes.*source.max_size"),
    "a bomb that is no member": (write(gzip.compress(header(b"10000000000\0", b"L") + bytes(4 << 20))), "header"),
    "many small names": (tar(*(member(f"f{n}") for n in range(51))), "more than 50 files.*source.max_files"),
    "many directories": (tar(*(member(f"d{n}", tarfile.DIRTYPE) for n in range(51))), "more than 50 files"),
    "many of zip": (zipped(*((f"f{n}", b"") for n in range(51))), "more than 50 files.*source.max_files"),
    "hard links that add up": (
        tar(member("file", content=bytes(1 << 19)), *(member(f"l{n}", HARD, linkname="file") for n in range(3))),
        "more than 1048576 bytes",
    ),
    "deep": (tar(member(DEEP)), "1500 parts"),
    "long": (tar(member(f"a/{'é' * 128}")), "a name of 256 bytes. Linux takes 255"),
    "long, of zip": (zipped((f"a/{'x' * 256}", b"")), "a name of 256 bytes. Linux takes 255"),
    "deep, of zip": (zipped((DEEP, b"")), "1500 parts"),
    "deep links": (tar(member(DEEP, LINK, linkname="x")), "1500 parts"),
    "a long name": (tar(member("/".join(["d" * 99] * 40))), "2048 bytes"),
    "a name longer than file systems have": (tar(member("f" * 300)), "a name of 300 bytes"),
    "absolute": (tar(member("/tmp/evil")), "leads out"),
    "absolute, of zip": (zipped(("/tmp/evil", b"")), "leads out"),
    "dots": (tar(member("a/../../evil")), "leads out"),
    "dots of zip": (zipped(("a/../../evil", b"")), "leads out"),
    "a link out": (tar(member("link", LINK, linkname="../../evil")), "leads out"),
    "an absolute link": (tar(member("link", LINK, linkname="/etc/passwd")), "leads out"),
    "a link out by another": (
        tar(member("a/b/up", LINK, linkname=".."), member("out", LINK, linkname="a/b/up/../..")),
        "leads out",
    ),
    "a link out of zip": (zipped((special("link", stat.S_IFLNK | 0o777), b"../../evil")), "leads out"),
    "a file through a link": (tar(member("d", LINK, linkname="."), member("d/evil")), "no directory"),
    "a file in a file": (tar(member("d"), member("d/evil")), "no directory"),
    "a hard link out": (tar(member("link", HARD, linkname="../../../secret")), "leads out"),
    "an absolute hard link": (tar(member("link", HARD, linkname="/etc/passwd")), "leads out"),
    "a hard link to a link": (
        tar(member("l", LINK, linkname="x"), member("h", HARD, linkname="l")), "no file before it"
    ),
    "a device": (tar(member("null", tarfile.CHRTYPE, devmajor=1, devminor=3)), "neither a file"),
    "a pipe": (tar(member("pipe", tarfile.FIFOTYPE)), "neither a file"),
    "a device of zip": (zipped((special("null", stat.S_IFCHR | 0o666), b"")), "neither a file"),
    "an unknown kind": (tar(member("x", b"Z")), "neither a file"),
    "a name twice": (tar(member("same"), member("./same", content=b"other")), "twice"),
    "a name twice in zip": (zipped(("same", b""), ("a/../same", b"")), "leads out"),
    "a file and a directory": (tar(member("same"), member("same", tarfile.DIRTYPE)), "twice"),
    "NUL": (tar(member("a\0/../../b", pax_headers={"path": "a\0/../../b"})), "leads out|named"),
    "NUL in zip": (changed(zipped(("aXb", b"")), lambda data: data.replace(b"aXb", b"a\0b")), "between their parts"),
    "backslashes": (zipped(("a\\..\\evil", b"")), "between their parts"),
    "encrypted": (changed(zipped(("a", b"text")), patch_zip(8, b"\1\0")), "encrypted.*without a password"),
    "another method": (changed(zipped(("a", b"text")), patch_zip(10, b"\x63\0")), "method"),
    "cut off": (changed(tar(member("a", content=os.urandom(5000))), lambda data: data[:-900]), "end"),
    "cut off in a tar": (
        changed(tar(member("a", content=bytes(5000)), mode="w"), lambda data: data[:2000]), "unexpected end"
    ),
    "cut off in a zip": (changed(zipped(("a", bytes(5000))), lambda data: data[:-10]), "not a zip"),
    "another content": (changed(zipped(("a", b"text" * 99)), lambda data: data.replace(b"PK\1\2", bytes(4))), "magic"),
    "noise after a member": (
        changed(tar(member("a"), member("b"), mode="w"), lambda data: data[:512] + b"\1" * 512 + data[1024:]),
        "header cannot be read",
    ),
    "a negative size": (write(header(b"\xff" * 11 + b"\x9c") + bytes(2048)), "size|damaged"),
    "a size beyond all": (write(header(b"\x80" + b"\x7f" * 11) + bytes(2048)), "bytes"),
    "a name without end": (write(header(b"77777777777\0", b"L") + bytes(2048)), "header"),
    "headers in headers": (
        write(gzip.compress(header(b"%011o\0" % 0, b"x") * 3000)), "damaged"
    ),
    "another format": (write(b"7z\xbc\xaf\x27\x1c" + bytes(600)), "damaged"),
    "zip in the name alone": (write(gzip.compress(b"text")), "damaged"),
}  # fmt: skip


def everything(place: Path) -> set[Path]:
    return {path for path in place.rglob("*") if "runs" not in path.relative_to(place).parts}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_with_a_sentence_and_leaves_nothing(
    tmp_path: Path, place: Path, kind: str
) -> None:
    make, said = HOSTILE[kind]
    archive = tmp_path / ("source.zip" if "zip" in kind else "source.tar.gz")
    make(archive)
    (tmp_path / "secret").write_text("secret")
    before = everything(tmp_path)
    checksum = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    source = {"archive": {"path": str(archive), "checksum": checksum}, **BOUNDS}
    with (
        pytest.raises(AnsibleError, match=f"(?i)^{archive.name} cannot be unpacked: .*({said})") as refusal,
        open_source(source, []),
    ):
        pass
    assert str(refusal.value).endswith(".")
    with pytest.raises(ArchiveError, match=f"(?i){said}"):
        archives.unpack(str(archive), str(place), Bounds(1 << 20, 50))
    assert everything(tmp_path) == before
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize(
    "kind", [kind for kind in HOSTILE if "bomb" not in kind and "many" not in kind and "hard links" not in kind]
)
def test_a_host_does_not_take_it_either(tmp_path: Path, place: Path, kind: str) -> None:
    archive = tmp_path / "source.tar.gz"
    HOSTILE[kind][0](archive)
    before = everything(tmp_path)
    with pytest.raises(ReleaseError, match="cannot be unpacked"):
        unpack(str(archive), str(place))
    assert everything(tmp_path) == before


def test_what_only_looks_strange_is_unpacked(tmp_path: Path, place: Path) -> None:
    archive = tmp_path / "source.tar.gz"
    tar(
        member("./", tarfile.DIRTYPE, mode=0o700),
        member("./bin/run", content=b"#!/bin/sh\n", mode=0o4755, mtime=1e20),
        member("with\nline", content=b"x"),
        member("bin/again", HARD, linkname="./bin/run"),
        member("link", LINK, linkname="bin/run"),
        member("bin", tarfile.DIRTYPE, mode=0o000),
    )(archive)
    archives.unpack(str(archive), str(place), Bounds(1 << 20, 50))
    assert (place / "link").resolve() == place / "bin" / "run"
    assert (place / "bin" / "again").read_bytes() == b"#!/bin/sh\n"
    assert (place / "with\nline").read_bytes() == b"x"
    assert stat.S_IMODE((place / "bin" / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((place / "bin").stat().st_mode) == 0o755


def test_a_zip_archive_keeps_links_and_what_is_executable(tmp_path: Path, place: Path) -> None:
    archive = tmp_path / "source.zip"
    zipped(
        ("d/", b""),
        (special("d/run", stat.S_IFREG | 0o755), b"#!/bin/sh\n"),
        (special("link", stat.S_IFLNK | 0o777), b"d/run"),
    )(archive)
    archives.unpack(str(archive), str(place), Bounds())
    assert os.readlink(place / "link") == "d/run"
    assert os.access(place / "d" / "run", os.X_OK)


def test_a_tar_archive_that_ends_with_a_zip_archive_is_one_of_tar(tmp_path: Path, place: Path) -> None:
    inner, archive = tmp_path / "inner.zip", tmp_path / "source.tar"
    zipped(("other", b""))(inner)
    tar(member("inner.zip", content=inner.read_bytes()), mode="w")(archive)
    archives.unpack(str(archive), str(place), Bounds())
    assert [path.name for path in place.iterdir()] == ["inner.zip"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_each_compression_is_unpacked(tmp_path: Path, place: Path, mode: str) -> None:
    tar(member("a", content=b"text"), mode=mode)(tmp_path / "source")
    archives.unpack(str(tmp_path / "source"), str(place), Bounds(1 << 20, 50))
    assert (place / "a").read_bytes() == b"text"


@pytest.mark.parametrize("kind", ["a bomb of zip", "many of zip", "deep, of zip", "dots of zip", "encrypted", "a pipe"])
def test_a_wheel_that_no_host_should_unpack_is_refused_on_the_controller(
    tmp_path: Path, place: Path, kind: str
) -> None:
    wheel = tmp_path / "hello-1.0-py3-none-any.whl"
    HOSTILE[kind][0](wheel)
    checksum = "sha256:" + hashlib.sha256(wheel.read_bytes()).hexdigest()
    with (
        pytest.raises(AnsibleError, match=f"^{wheel.name} cannot be installed: "),
        open_source({"wheel": {"path": str(wheel), "checksum": checksum}, **BOUNDS}, []),
    ):
        pass


def test_so_is_one_that_the_requirements_of_a_source_name(tmp_path: Path, place: Path) -> None:
    (tmp_path / "top" / "wheels").mkdir(parents=True)
    HOSTILE["dots of zip"][0](tmp_path / "top" / "wheels" / "hello-1.0-py3-none-any.whl")
    (tmp_path / "top" / "requirements.txt").write_text("# first\n./wheels/hello-1.0-py3-none-any.whl[x]\n")
    said = r"^requirements.txt line 2: wheels/hello-1.0-py3-none-any.whl cannot be installed: .*leads out"
    with (
        open_source({"path": str(tmp_path / "top")}, []) as tree,
        pytest.raises(AnsibleError, match=said),
    ):
        tree.requirements("requirements.txt", builds=False)


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda top: deepen(top, 150), "151 parts|…"),
        (lambda top: deepen(top, 1500), "parts"),
        (lambda top: (top / "big").write_bytes(bytes(2 << 20)), "source.max_size"),
        (lambda top: [(top / f"f{n}").touch() for n in range(51)], "source.max_files"),
    ],
    ids=["deep", "deeper than a path can say", "large", "many"],
)
def test_a_directory_has_the_same_bounds(
    tmp_path: Path, place: Path, change: Callable[[Path], Any], said: str, tracked: bool
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    if tracked:
        subprocess.run(["git", "init", "-q", str(top)], check=True)
    change(top)
    if tracked:
        subprocess.run(["git", "add", "."], cwd=top, check=True)
    try:
        with pytest.raises(AnsibleError, match=said), open_source({"path": str(top), **BOUNDS}, []):
            pass
    finally:
        subprocess.run(["rm", "-rf", str(top)], check=True)  # so deep that pytest cannot


def deepen(top: Path, parts: int) -> None:
    """Make a file so deep that no path can name it at once."""
    place = os.open(top, os.O_RDONLY)
    for _ in range(parts):
        os.mkdir("d", dir_fd=place)
        place, former = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(former)
    os.close(os.open("file", os.O_CREAT, dir_fd=place))
    os.close(place)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_repository_that_names_very_many_files_is_refused_before_it_is_unpacked(tmp_path: Path, place: Path) -> None:
    repository = tmp_path / "repository"
    environment = {
        **os.environ,
        **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def git(*words: str, text: str = "") -> str:
        done = subprocess.run(
            ["git", *words], cwd=repository, input=text, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    repository.mkdir()
    git("init", "-q", "-b", "main")
    inner, kind = git("hash-object", "-w", "--stdin", text="x"), "100644 blob"
    for _ in range(8):  # eight trees name a hundred million files
        inner = git("mktree", text="".join(f"{kind} {inner}\tn{number}\n" for number in range(10)))
        kind = "040000 tree"
    git("update-ref", "refs/heads/main", git("commit-tree", "-m", "x", inner))
    source = {"git": {"repo": str(repository), "version": "main"}}
    with pytest.raises(AnsibleError, match="more than 100000 files"), open_source(source, []):
        pass
