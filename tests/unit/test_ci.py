"""What other people's CI runs fits what is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT
from tests.fleet import images
from tools import artifact, cores, sanity

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


def test_ci_fetches_the_history_that_a_scenario_needs() -> None:
    (checkout,) = [step for step in scenarios()["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["fetch-depth"] == 0


def locked_cores() -> dict[str, str]:
    """Return the ansible-core that the development lock has, for Python 3.11 and for later ones."""
    found = re.findall(r"^ansible-core==(\d+\.\d+)\S* ; python_full_version (<|>=)", LOCK.read_text(), re.MULTILINE)
    return {side: version for version, side in found}


def test_ci_runs_the_unit_tests_on_every_ansible_core_with_its_oldest_and_newest_python() -> None:
    oldest = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=").removesuffix(".0")
    jobs = load(".github/workflows/ci.yml")["jobs"]
    legs = jobs["unit"]["strategy"]["matrix"]["include"]
    locked = locked_cores()
    ran: dict[str, set[int]] = {}
    for leg in legs:
        core = leg["core"] or locked["<" if leg["python"] == "3.11" else ">="]
        ran.setdefault(core, set()).add(int(leg["python"].partition(".")[2]))
    assert sorted(ran) == sorted([*cores.CORES, "devel"])
    for core, (first, last) in cores.CORES.items():
        assert {max(first, cores.LEAST_PYTHON), last} <= ran[core] <= {*range(first, last + 1)}
    assert next(iter(cores.CORES)) == oldest
    assert {leg["core"] for leg in jobs["scenarios"]["strategy"]["matrix"]["include"]} == {oldest}


def test_only_the_next_ansible_core_may_fail() -> None:
    assert load(".github/workflows/ci.yml")["jobs"]["unit"]["continue-on-error"] == "${{ matrix.core == 'devel' }}"


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


def test_no_address_stands_in_the_metadata_and_the_publisher_gives_its_own() -> None:
    text = (ROOT / "galaxy.yml").read_text()
    assert not {"repository", "homepage", "documentation", "issues"} & set(yaml.safe_load(text))
    published = yaml.safe_load(text + artifact.addresses("https://forge.example.org/web/baremetal"))
    assert published["repository"] == published["homepage"] == "https://forge.example.org/web/baremetal"
    assert published["issues"] == "https://forge.example.org/web/baremetal/issues"
    assert published["documentation"] == "https://forge.example.org/web/baremetal/tree/main/docs"


@pytest.mark.parametrize("address", ["forge.example.org/web", "http://forge.example.org/web", "https://forge/a b"])
def test_an_artifact_is_not_built_with_what_is_no_address(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert artifact.main([address]) == 2
    assert f"{address} is no https address" in capsys.readouterr().err


def test_a_release_is_checked_and_signed_before_it_is_drafted() -> None:
    names = [step["name"] for step in load(".github/workflows/release.yml")["jobs"]["release"]["steps"]]
    wanted = ["Build the artifact", "Check it as a registry does", "Sign MANIFEST.json", "Draft the release"]
    assert names[-4:] == wanted


def test_a_signature_of_the_release_is_what_ansible_galaxy_verifies(tmp_path: Path) -> None:
    """Run the signing step with a key made here, on a stand-in for the artifact."""
    if not shutil.which("gpg"):
        pytest.skip("no gpg")
    steps = load(".github/workflows/release.yml")["jobs"]["release"]["steps"]
    (step,) = [step for step in steps if step["name"] == "Sign MANIFEST.json"]
    (home := tmp_path / "home").mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", "a secret"]
    subprocess.run([*gpg, "--quick-generate-key", "Publisher", "ed25519", "sign"], check=True, capture_output=True)
    key = subprocess.run([*gpg, "--armor", "--export-secret-keys"], check=True, capture_output=True, text=True).stdout
    (tmp_path / "MANIFEST.json").write_text("{}\n")
    (tmp_path / "build").mkdir()
    subprocess.run(["tar", "-czf", "build/baremetal-web-0.0.1.tar.gz", "MANIFEST.json"], cwd=tmp_path, check=True)
    secrets = {"SIGNING_KEY": key, "SIGNING_PASSPHRASE": "a secret", "TAG": "0.0.1"}
    subprocess.run(["bash", "-ec", step["run"]], cwd=tmp_path, env={**os.environ, **secrets}, check=True)
    verify = [*gpg, "--verify", tmp_path / "build" / "baremetal-web-0.0.1.asc", tmp_path / "MANIFEST.json"]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    (tmp_path / "MANIFEST.json").write_text("{ }\n")
    assert subprocess.run(verify, check=False, capture_output=True).returncode != 0
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def test_each_hook_before_a_commit_runs_a_locked_tool_without_network() -> None:
    (repository,) = load(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    locked = set(re.findall(r"^([\w-]+)==", LOCK.read_text(), re.MULTILINE))
    assert "pre-commit" in locked
    for hook in repository["hooks"]:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert hook["language"] == "system", hook["id"]
        assert program in {*locked, "python"}, hook["id"]
