"""conda: installed once, updated by another installer, and never in the way of somebody else's.

The installer is the stand-in of the scenario `managers`: it takes the options of a real one, and its Pythons are real.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.app_needs import app_needs
from ansible_collections.baremetal.web.plugins.filter.check_apps import check_apps
from ansible_collections.baremetal.web.plugins.module_utils._host import change_record
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError, find_interpreter
from ansible_collections.baremetal.web.plugins.plugin_utils._apps.resolve import resolve
from conftest import ROOT

STAND_IN = ROOT / "molecule" / "managers" / "conda_stand_in.py"
VERSION = next(
    (found for minor in range(15, 9, -1) if os.path.exists(f"/usr/bin/python{(found := f'3.{minor}')}")), "none"
)
needs_python = pytest.mark.skipif(VERSION == "none", reason="this machine has no Python in /usr to copy")
APP = {"name": "shop", "source": {"path": "files/hello_flask"}, "entrypoint": "shop:app"}


def problems_with(conda: dict[str, Any], app: dict[str, Any]) -> list[str]:
    """Return what cannot work in an app and python_conda, as the first play finds it."""
    return check_apps([app], str(ROOT), names=["web1"], conda=conda)["problems"]


class Installers:
    """Installers, and the module run with them."""

    def __init__(self, directory: Path, run_module: Callable[..., dict[str, Any]]):
        self.directory = directory
        self.prefix = directory / "opt" / "conda"
        self.run_module = run_module

    def make(self, name: str) -> Path:
        path = self.directory / f"{name}.sh"
        subprocess.run([sys.executable, str(STAND_IN), str(path), name], check=True)
        return path

    def __call__(self, name: str, *versions: str, check_mode: bool = False, **more: Any) -> dict[str, Any]:
        """Do as the action does: bring the installer only when it is lacking."""
        installer = self.make(name)
        checksum = f"sha256:{hashlib.sha256(installer.read_bytes()).hexdigest()}"
        arguments = {"prefix": str(self.prefix), "checksum": checksum, "versions": list(versions), **more}
        answer = self.run_module("conda", arguments, check_mode)
        if answer.pop("lacks_installer", False):
            answer = self.run_module("conda", {**arguments, "installer": str(installer)}, check_mode)
        return answer


@pytest.fixture
def conda(tmp_path: Path, run_module: Callable[..., dict[str, Any]]) -> Installers:
    return Installers(tmp_path, run_module)


@needs_python
def test_a_python_of_conda_is_one_of_its_own_and_a_second_run_changes_nothing(conda: Installers) -> None:
    answer = conda("24.1.0", VERSION)
    assert (answer["failed"], answer["changed"]) == (False, True)
    python = answer["pythons"][VERSION]
    said = subprocess.run(
        [python, "-c", "import os, sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == f"{conda.prefix}/envs/python{VERSION}"
    assert str(conda.prefix) in change_record.read()["tree"]
    assert not conda("24.1.0", VERSION)["changed"]


@needs_python
def test_another_installer_updates_and_leaves_the_environments_as_they_are(conda: Installers) -> None:
    python = Path(conda("24.1.0", VERSION)["pythons"][VERSION])
    before = python.stat().st_ino
    assert conda("25.3.0", VERSION)["changed"]
    assert subprocess.check_output([conda.prefix / "bin" / "conda", "--version"], text=True) == "conda 25.3.0\n"
    assert python.stat().st_ino == before


def test_check_mode_tells_what_would_come_and_brings_nothing(conda: Installers) -> None:
    answer = conda("24.1.0", "3.12", check_mode=True)
    assert answer["changed"]
    assert f"{conda.prefix}/envs/python3.12" in answer["diff"]["after"]
    assert not conda.prefix.exists()


def test_a_version_that_conda_does_not_have_is_named_and_leaves_no_environment(conda: Installers) -> None:
    answer = conda("24.1.0", "3.99", channels=["conda-forge"])
    assert answer["failed"]
    assert "Python 3.99 from the channels conda-forge. Set python.version" in answer["msg"]
    assert "or correct python_conda.channels" in answer["msg"]
    assert "PackagesNotFoundError" in answer["msg"]
    assert list((conda.prefix / "envs").iterdir()) == []


@needs_python
def test_conda_is_told_its_channels_and_to_ask_none(conda: Installers) -> None:
    conda("24.1.0", VERSION, channels=["conda-forge", "file:///srv/ours"], offline_enabled=True)
    asked = (conda.prefix / "asked").read_text()
    assert "--override-channels --channel=conda-forge --channel=file:///srv/ours --offline" in asked


@needs_python
@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="this account cannot make a mount namespace",
)
def test_settings_of_the_host_are_hidden_from_conda_and_stay(
    conda: Installers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / "etc" / "conda", tmp_path / "var" / "conda"]
    for place in places:
        place.mkdir(parents=True)
        (place / ".condarc").write_text("channels: [theirs]\n")
    module = importlib.import_module("ansible_collections.baremetal.web.plugins.module_utils._host.modules.conda")
    monkeypatch.setattr(module, "HOST_SETTINGS", (*map(str, places), "/nonexistent"))
    seen = tmp_path / "seen"
    make = conda.make

    def looking(name: str) -> Path:
        path = make(name)
        path.write_text(f"#!/bin/bash\nls -A {places[0]} {places[1]} $HOME > {seen}\n" + path.read_text())
        return path

    conda.make = looking  # type: ignore[method-assign]
    assert not conda("24.1.0", VERSION)["failed"]
    assert ".condarc" not in seen.read_text()
    assert all((place / ".condarc").exists() for place in places)


@needs_python
def test_conda_gets_the_proxy_in_its_environment_and_no_message_has_its_login(conda: Installers) -> None:
    make = conda.make

    def telling(name: str) -> Path:
        path = make(name)
        path.write_text(path.read_text() + "env | grep -i proxy; exit 1\n")
        return path

    conda.make = telling  # type: ignore[method-assign]
    proxy = {"proxy_url": "http://me:hunter2@proxy.example:3128", "no_proxy": ["a.example", "b.example"]}
    answer = conda("24.1.0", VERSION, **proxy)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        assert f"{name}=http://proxy.example:3128\n" in answer["msg"] + "\n"
    assert "no_proxy=a.example,b.example" in answer["msg"]
    assert "hunter2" not in answer["msg"]


def test_a_directory_of_somebody_else_is_refused_and_stays(conda: Installers) -> None:
    conda.prefix.mkdir(parents=True)
    (conda.prefix / "theirs").write_text("theirs\n")
    answer = conda("24.1.0", "3.12")
    assert f"{conda.prefix} is there already and was not made by this collection" in answer["msg"]
    assert os.listdir(conda.prefix) == ["theirs"]


def test_an_installer_that_fails_leaves_nothing_and_the_next_run_begins_anew(conda: Installers) -> None:
    good = conda.make

    def broken(name: str) -> Path:
        path = good(name)
        path.write_text(path.read_text() + "echo the disk is full >&2; exit 1\n")
        return path

    conda.make = broken  # type: ignore[method-assign]
    answer = conda("24.1.0")
    assert "the disk is full" in answer["msg"]
    assert not conda.prefix.exists()
    assert str(conda.prefix) not in change_record.read().get("tree", {})
    conda.make = good  # type: ignore[method-assign]
    assert conda("24.1.0")["changed"]


def test_an_installation_that_was_cut_off_begins_anew(conda: Installers) -> None:
    with change_record.ChangeRecord() as notes:
        notes.note_directory(str(conda.prefix), owned=True)
    conda.prefix.mkdir(parents=True)
    (conda.prefix / "half").write_text("")
    assert not conda("24.1.0")["failed"]
    assert not (conda.prefix / "half").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "app shop: python.provider is conda, and python_conda is not set"),
        ({"path": "no-such.sh", "checksum": f"sha256:{'0' * 64}"}, "python_conda.path 'no-such.sh' is no file"),
        ({"url": "https://example.com/a.sh"}, "'https://example.com/a.sh' needs a checksum: sha256:"),
        ({"url": "https://example.com/a.sh", "checksum": "md5:0"}, "python_conda.checksum is 'md5:0'"),
        ({"checksum": f"sha256:{'0' * 64}"}, "python_conda needs exactly one of path and url"),
        ({"prefx": "/opt/conda"}, "did you mean prefix?"),
        ({"prefix": "opt conda"}, "prefix is 'opt conda'"),
        ({"channels": ["--file"]}, "channels is '--file'"),
    ],
)
def test_what_cannot_work_is_said_before_any_host_is_asked(given: dict[str, Any], sentence: str) -> None:
    assert sentence in "; ".join(problems_with(given, {**APP, "python": {"provider": "conda"}}))


def test_apps_of_the_system_need_no_conda() -> None:
    assert problems_with({}, APP) == []


def test_the_versions_are_told_apart_by_their_provider() -> None:
    apps = [{"python": {"provider": "conda", "version": "3.12"}}, {"python": {"version": "3.11"}}, {}]
    assert app_needs(apps)["python_versions"] == ["3.11", "auto"]
    assert app_needs(apps)["conda_versions"] == ["3.12"]


def test_an_app_of_conda_has_its_interpreter_there_and_one_of_the_system_is_described_as_ever() -> None:
    host = {"names": ["web1"], "cpus": 2, "memory": 2048, "machine": "x86_64", "python": "3.13"}
    apps = [{**APP, "python": {"provider": "conda"}}, {**APP, "name": "other", "site": {"prefix": "/other"}}]
    first, other = resolve(apps, root="/srv/wsgi", search=[str(ROOT)], conda={"prefix": "/srv/conda"}, **host)["apps"]
    assert first["python"]["interpreter"] == "/srv/conda/envs/python3.13/bin/python"
    assert other["python"].keys() == {"version", "requirements", "requirements_path", "source_builds_enabled"}


def test_an_interpreter_that_conda_has_not_made_yet_is_named() -> None:
    with pytest.raises(VenvError, match=r"/opt/none/bin/python is not on this host yet. Run site.yml"):
        find_interpreter("/opt/none/bin/python")
