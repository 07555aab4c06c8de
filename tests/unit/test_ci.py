"""What other people's CI runs fits what is here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT
from tools import cores, sanity
from tools.fleet import images

LOCK = ROOT / "requirements-dev.txt"


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def scenarios() -> dict[str, Any]:
    return load(".github/workflows/ci.yml")["jobs"]["scenarios"]


def test_the_execution_environment_holds_the_artifact_that_is_built() -> None:
    galaxy, environment = load("galaxy.yml"), load("execution-environment.yml")
    artifact = "{namespace}-{name}-{version}.tar.gz".format(**galaxy)
    assert [file["src"] for file in environment["additional_build_files"]] == [f"build/{artifact}"]
    assert environment["dependencies"]["galaxy"]["collections"] == [
        {"name": f"/tmp/collections/{artifact}", "type": "file"}
    ]


def test_ci_runs_the_scenarios_on_every_platform_that_has_a_public_image() -> None:
    chosen = {platform for line in scenarios()["strategy"]["matrix"]["platforms"] for platform in line.split()}
    assert chosen == {platform for platform in images.PLATFORMS if not platform.startswith("rhel")}


def test_ci_runs_no_stand_in() -> None:
    environment = {name: value for name, value in scenarios()["env"].items() if name.startswith("TEST_IMAGE_")}
    for line in scenarios()["strategy"]["matrix"]["platforms"]:
        assert {images.choose(platform, environment).kind for platform in line.split()} == {"real"}


def locked_cores() -> dict[str, str]:
    """Return the ansible-core that the development lock has, for Python 3.11 and for later ones."""
    found = re.findall(r"^ansible-core==(\d+\.\d+)\S* ; python_full_version (<|>=)", LOCK.read_text(), re.MULTILINE)
    return {side: version for version, side in found}


def test_ci_runs_the_unit_tests_on_every_ansible_core_that_is_supported() -> None:
    oldest = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=").removesuffix(".0")
    jobs = load(".github/workflows/ci.yml")["jobs"]
    legs = jobs["unit"]["strategy"]["matrix"]["include"]
    locked = locked_cores()
    ran = [leg["core"] or locked["<" if leg["python"] == "3.11" else ">="] for leg in legs]
    assert sorted(ran) == sorted(cores.CORES)
    for leg, core in zip(legs, ran, strict=True):
        first, last = cores.CORES[core]
        assert first <= int(leg["python"].partition(".")[2]) <= last
    assert next(iter(cores.CORES)) == oldest
    assert {leg["core"] for leg in jobs["scenarios"]["strategy"]["matrix"]["include"]} == {oldest}


def test_each_ansible_core_has_a_lock_and_a_row_of_the_documentation() -> None:
    rows = re.findall(r"^\| (2\.\d+) \| 3\.(\d+) to 3\.(\d+) \|", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE)
    assert {core: (int(first), int(last)) for core, first, last in rows} == cores.CORES
    assert {path.stem for path in cores.LOCKS.glob("*.txt")} == set(cores.CORES)
    for core in cores.CORES:
        assert f"\nansible-core=={core}." in (cores.LOCKS / f"{core}.txt").read_text()


@pytest.mark.parametrize(
    ("minors", "oldest", "newest"), [((11,), "2.17", "2.19"), ((13,), "2.18", "2.21"), ((11, 14), "2.17", "2.21")]
)
def test_what_a_machine_with_these_pythons_runs(minors: tuple[int, ...], oldest: str, newest: str) -> None:
    able = list(cores.runnable(dict.fromkeys(minors, "python")))
    assert (able[0], able[-1]) == (oldest, newest)


def test_a_version_that_no_python_here_runs_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cores, "pythons", lambda: {14: "python"})
    assert cores.main(["2.17"]) == 2
    assert "no Python here runs ansible-core 2.17; there are 3.14" in capsys.readouterr().err


def test_sanity_takes_no_python_that_is_only_the_shim_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"python3.18": "exit 127", "python3.19": f'exec {sys.executable} "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (links := tmp_path / "links").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sanity.link_pythons(links)
    assert not (links / "python3.18").is_symlink()
    assert subprocess.run([links / "python3.19", "-c", ""], check=False).returncode == 0


def test_sanity_hands_the_settings_of_pip_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"index-url": "https://mirror.example.org/simple", "trusted-host": "one.example.org two.example.org"}
    names = {name: f"PIP_{name.replace('-', '_').upper()}" for name in wanted}
    for name, value in wanted.items():
        monkeypatch.setenv(names[name], value)
    (tmp_path / "pip.conf").write_text(sanity.pip_settings())
    for name in wanted:
        monkeypatch.delenv(names[name])
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_QUIET", "0")
    command = [sys.executable, "-m", "pip", "config", "list"]
    read = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {f"global.{name}={value!r}" for name, value in wanted.items()} <= set(read)
