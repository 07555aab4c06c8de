"""Virtual environments: the interpreter that is chosen, what counts as installed, and a real installation."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import venv
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import (
    VenvError,
    damaged,
    find_interpreter,
    install,
    is_installed,
    record,
)
from conftest import wait_until

UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


@pytest.fixture
def interpreters(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a host have these interpreters, by path, with their versions."""

    def _interpreters(**versions: tuple[int, int]) -> None:
        places = {f"/usr/bin/{name.replace('_', '.')}": version for name, version in versions.items()}
        monkeypatch.setattr(venv.glob, "glob", lambda _pattern: [*places, "/usr/bin/python3-config"])
        monkeypatch.setattr(venv.os.path, "exists", lambda path: path in places)
        monkeypatch.setattr(venv, "_version", places.__getitem__)

    return _interpreters


def test_a_version_that_is_not_installed_is_named_with_the_place_it_would_have() -> None:
    with pytest.raises(VenvError, match=r"Python 3\.99 is not installed .*/usr/bin/python3\.99"):
        find_interpreter("3.99")


@pytest.mark.parametrize(
    ("installed", "wanted", "chosen"),
    [
        ({"python3": (3, 13)}, "auto", "/usr/bin/python3"),
        ({"python3": (3, 10), "python3_12": (3, 12)}, "auto", "/usr/bin/python3"),
        ({"python3": (3, 9), "python3_9": (3, 9), "python3_11": (3, 11), "python3_12": (3, 12)}, "auto", "python3.12"),
        ({"python3_9": (3, 9), "python3_10": (3, 10)}, "auto", "/usr/bin/python3.10"),
        ({"python3": (3, 9), "python3_12": (3, 12)}, "3.12", "/usr/bin/python3.12"),
        ({"python3": (3, 12)}, "3.12", "/usr/bin/python3"),
    ],
)
def test_the_interpreter_is_the_wanted_one_or_the_platforms_own_when_new_enough_or_the_newest(
    interpreters: Callable[..., None], installed: dict[str, tuple[int, int]], wanted: str, chosen: str
) -> None:
    interpreters(**installed)
    assert find_interpreter(wanted) == os.path.join("/usr/bin", chosen)


@pytest.mark.parametrize("installed", [{}, {"python3": (3, 9), "python3_9": (3, 9)}])
def test_a_host_with_old_interpreters_only_is_told_the_least_version(
    interpreters: Callable[..., None], installed: dict[str, tuple[int, int]]
) -> None:
    interpreters(**installed)
    with pytest.raises(VenvError, match=r"3\.10"):
        find_interpreter("auto")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return an environment with the set main recorded, for the interpreter that runs the tests."""
    path = tmp_path / "venv"
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to(sys.executable)
    record(str(path), sys.executable, "main", "flask==3.1\n")
    return path


def test_a_recorded_set_is_installed(environment: Path) -> None:
    assert is_installed(str(environment), "main", "flask==3.1\n", sys.executable)


def test_another_text_is_a_change(environment: Path) -> None:
    assert not is_installed(str(environment), "main", "flask==3.2\n", sys.executable)


def test_another_interpreter_is_a_change(environment: Path) -> None:
    assert not is_installed(str(environment), "main", "flask==3.1\n", "/usr/bin/python3.99")


def test_another_path_of_the_same_interpreter_is_no_change(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    assert is_installed(str(environment), "main", "flask==3.1\n", str(tmp_path / "python3"))


def test_a_set_that_was_never_recorded_is_not_installed(environment: Path) -> None:
    assert not is_installed(str(environment), "other", "flask==3.1\n", sys.executable)


def test_an_environment_whose_interpreter_went_away_has_nothing_installed(environment: Path) -> None:
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").symlink_to("/usr/bin/python3.99")
    assert not is_installed(str(environment), "main", "flask==3.1\n", sys.executable)


@pytest.mark.parametrize("name", ["../a", "web/app", ""])
def test_a_set_whose_name_is_not_that_of_a_file_is_refused(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, name: str
) -> None:
    result = run_module("venv", {"path": str(tmp_path / "venv"), "requirements": "", "name": name})
    assert result["failed"]
    assert repr(name) in result["msg"]
    assert not (tmp_path / "venv").exists()


def test_the_end_of_what_a_failed_command_said_is_in_the_error() -> None:
    with pytest.raises(VenvError) as failure:
        venv.run(["sh", "-c", "seq 100; echo the reason >&2; exit 3"], "Counting")
    lines = str(failure.value).splitlines()
    assert lines[0] == "Counting failed with exit status 3"
    assert lines[-1] == "the reason"
    assert "1" not in lines


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    for seconds in (0.3, 10):  # the second one where the machine is too slow to start so much in the first
        with pytest.raises(VenvError, match=f"Sleeping did not end within {seconds} s"):
            venv.run(["sh", "-c", script], "Sleeping", seconds=seconds)
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    process = Path("/proc") / (tmp_path / "pid").read_text().strip()
    wait_until(lambda: not process.exists() or ") Z " in (process / "stat").read_text())


def test_a_command_gets_only_the_environment_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    variables = dict(line.split("=", 1) for line in venv.run(["env"], "env", None, {"A": "ü"}).splitlines())
    assert variables["A"] == "ü"
    assert "PASSWORD" not in variables


class Index:
    """A package index on the disk, with the packages probe and other."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.hash = hashlib.sha256(self.add("probe").read_bytes()).hexdigest()
        self.add("other")

    def add(self, name: str) -> Path:
        path = self.directory / f"{name}-1.0-py3-none-any.whl"
        wheel = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files = {
            f"{name}.py": "ANSWER = 42\n",
            f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{name}-1.0.dist-info/WHEEL": wheel,
        }
        digests = {file: hashlib.sha256(text.encode()).digest() for file, text in files.items()}
        rows = [
            f"{file},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},{len(files[file])}"
            for file, digest in digests.items()
        ]
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "\n".join([*rows, f"{name}-1.0.dist-info/RECORD,,", ""]))
        return path

    def requirements(self, line: str) -> str:
        return f"--no-index\n--find-links {self.directory}\n{line}\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index(tmp_path_factory.mktemp("index"))


@pytest.fixture(
    scope="module",
    params=["pip", pytest.param("uv", marks=pytest.mark.skipif(not UV, reason="uv is not installed"))],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Install sets of requirements into one environment."""
    home = tmp_path_factory.mktemp("home")

    def _made(**sets: str) -> Path:
        files = [home / f"{name}.txt" for name in sets]
        for file, text in zip(files, sets.values(), strict=True):
            file.write_text(text)
        uv = UV if request.param == "uv" else ""
        install(str(home / "venv"), sys.executable, [str(file) for file in files], uv=uv or "", home=str(home))
        return home / "venv"

    return _made


def answer(environment: Path) -> subprocess.CompletedProcess[str]:
    command = [environment / "bin" / "python", "-c", "import probe; print(probe.ANSWER)"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_package_with_the_wrong_hash_is_refused_and_the_set_is_named(made: Callable[..., Path], index: Index) -> None:
    with pytest.raises(VenvError, match=r"server\.txt(?s:.)*(?i:hash)") as refusal:
        made(server=index.requirements(f"probe==1.0 --hash=sha256:{'0' * 64}"))
    assert "no wheel" not in str(refusal.value)


def test_a_package_that_does_not_exist_is_named(made: Callable[..., Path], index: Index) -> None:
    with pytest.raises(VenvError, match="no-such-package"):
        made(app=index.requirements("no-such-package==1.0"))


def test_one_hash_makes_every_package_need_one(made: Callable[..., Path], index: Index) -> None:
    with pytest.raises(VenvError, match=r"(?i:hash)"):
        made(app=index.requirements(f"probe==1.0 --hash=sha256:{index.hash}\nother==1.0"))


def test_a_locked_package_is_installed_and_a_set_of_comments_installs_nothing(
    made: Callable[..., Path], index: Index
) -> None:
    assert answer(made(none="# nothing\n\n")).returncode != 0
    environment = made(none="# nothing\n", app=index.requirements(f"probe==1.0 --hash=sha256:{index.hash}"))
    assert answer(environment).stdout == "42\n"


def test_a_package_that_lacks_a_file_or_has_another_is_not_installed_until_it_is_installed_again(
    made: Callable[..., Path], index: Index
) -> None:
    text = f"probe==1.0 --hash=sha256:{index.hash}"
    environment = made(app=index.requirements(text))
    (module,) = environment.glob("lib/python*/site-packages/probe*.py")
    record(str(environment), sys.executable, "main", text)
    assert is_installed(str(environment), "main", text, sys.executable)
    for spoil in (module.unlink, lambda: module.write_text(f"{module.read_text()}#")):
        spoil()
        assert damaged(str(environment), text) == ["probe"]
        assert not is_installed(str(environment), "main", text, sys.executable)
        assert answer(made(app=index.requirements(text))).stdout == "42\n"
        assert is_installed(str(environment), "main", text, sys.executable)


def test_an_environment_of_another_python_is_made_anew_and_keeps_what_else_is_in_it(
    made: Callable[..., Path], index: Index
) -> None:
    environment = made(app=index.requirements("probe==1.0"))
    (environment / "etc").mkdir(exist_ok=True)
    (environment / "etc" / "supervisord.conf").touch()
    shutil.rmtree(environment / "lib")
    interpreter = environment / "bin" / "python"
    interpreter.unlink()
    interpreter.write_text("#!/bin/sh\necho 3 9\n")
    interpreter.chmod(0o755)
    assert answer(made(app=index.requirements("probe==1.0"))).stdout == "42\n"
    assert (environment / "etc" / "supervisord.conf").exists()


def test_a_package_without_a_wheel_is_not_built(made: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "built-1.0").mkdir()
    (tmp_path / "built-1.0" / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    shutil.make_archive(str(tmp_path / "built-1.0"), "gztar", tmp_path, "built-1.0")
    version = "{}.{}".format(*sys.version_info[:2])
    said = rf"There is no wheel of built for Python {version} on this host.* set source_builds_enabled: true"
    for wanted in ("built==1.0", "built"):
        with pytest.raises(VenvError, match=said):
            made(app=f"--no-index\n--find-links {tmp_path}\n{wanted}\n")
    assert not (tmp_path / "ran").exists()


def test_a_wheel_is_installed_by_itself_without_asking_an_index(
    made: Callable[..., Path], index: Index, tmp_path: Path
) -> None:
    environment = made(none="# nothing\n")
    uv = "" if (environment / "bin" / "pip").exists() else UV or ""
    install(
        str(environment),
        sys.executable,
        [],
        uv=uv,
        index_url="http://127.0.0.1:1/",
        home=str(tmp_path),
        package=str(index.add("single")),
    )
    command = [environment / "bin" / "python", "-c", "import single; print(single.ANSWER)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "42\n"


def test_a_wheel_that_is_broken_is_named(made: Callable[..., Path], tmp_path: Path) -> None:
    environment = made(none="# nothing\n")
    broken = tmp_path / "shop-1.2-py3-none-any.whl"
    broken.write_text("no wheel")
    uv = "" if (environment / "bin" / "pip").exists() else UV or ""
    with pytest.raises(VenvError, match=r"Installing shop-1\.2-py3-none-any\.whl"):
        install(str(environment), sys.executable, [], uv=uv, home=str(tmp_path), package=str(broken))


def offline(environment: Path, file: Path, index: Index) -> None:
    """Install a file with the tool that made the environment, from a directory of wheels."""
    uv = "" if (environment / "bin" / "pip").exists() else UV or ""
    options = {"index_url": "http://127.0.0.1:1/", "wheels": str(index.directory), "home": str(file.parent)}
    install(str(environment), sys.executable, [str(file)], uv=uv, **options)


def test_with_a_directory_of_wheels_no_index_is_asked_and_hashes_still_count(
    made: Callable[..., Path], index: Index, tmp_path: Path
) -> None:
    file = tmp_path / "app.txt"
    environment = made(none="# nothing\n")
    file.write_text(f"probe==1.0 --hash=sha256:{index.hash}\n")
    offline(environment, file, index)
    assert answer(environment).stdout == "42\n"
    file.write_text(f"other==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(VenvError, match=r"(?i:hash)"):
        offline(environment, file, index)


def test_a_wheel_that_is_missing_is_named_with_the_playbook_that_fetches_it(
    made: Callable[..., Path], index: Index, tmp_path: Path
) -> None:
    file = tmp_path / "app.txt"
    file.write_text(f"elsewhere==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(VenvError, match=r"(?s:elsewhere.*ansible-playbook baremetal\.web\.wheelhouse)"):
        offline(made(none="# nothing\n"), file, index)
