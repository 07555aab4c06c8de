"""What is installed depends on what is described alone: settings of a host's own pip, uv and Python have no effect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from indexes import Index, add_wheel
from test_venv import UV, answer

from ansible_collections.baremetal.web.plugins.module_utils._host.venv import install
from conftest import ROOT

TOOLS = ["pip", *(["uv"] if UV else [])]
PYTHON = os.path.realpath(sys.executable)  # that of an environment reads no home
needs_uv = pytest.mark.skipif(not UV, reason="uv is not installed")


class Place(NamedTuple):
    """An index with probe 1.0, and all that would bring probe 9.0 of another index, or bring it elsewhere."""

    index: Index
    other: Index
    directory: Path
    environment: Callable[[str], Path]

    @property
    def pip_conf(self) -> str:
        other = f"extra-index-url = {self.other.url()}\nfind-links = {self.other.directory}\n"
        return f"[global]\n{other}[install]\nprefix = {self.directory / 'elsewhere'}\nno-deps = true\n"

    def uv_toml(self, section: str = "") -> str:
        table = f"[{section}.pip]" if section else "[pip]"
        top = f"[{section}]\n" if section else ""
        return (
            f'{top}override-dependencies = ["probe==9.0"]\n{table}\nindex-strategy = "unsafe-best-match"\n'
            f'extra-index-url = ["{self.other.url()}"]\nfind-links = ["{self.other.directory}"]\n'
        )

    def wanted(self) -> dict[str, Any]:
        """Return what an installation needs, but for the tool."""
        home, file = self.directory / "home", self.directory / "app.txt"
        home.mkdir(exist_ok=True)
        file.write_text("probe\n")
        return {"requirements": [str(file)], "home": str(home), "index_url": self.index.url()}

    def holds(self, environment: Path) -> None:
        assert answer(environment).stdout == "42\n"
        assert self.index.asked
        assert {login for _path, login in self.index.asked} == {""}
        assert self.other.asked == []


@pytest.fixture
def place(tmp_path: Path, shared_environment: Callable[[str], Path]) -> Place:
    wheels, others = tmp_path / "wheels", tmp_path / "others"
    for directory, version in ((wheels, "1.0"), (others, "9.0")):
        directory.mkdir()
        add_wheel(directory, "probe", version)
    return Place(Index(wheels), Index(others), tmp_path, shared_environment)


def installed(place: Place, tool: str, **options: Any) -> Path:
    environment = place.environment(tool)
    install(str(environment), PYTHON, uv=UV or "" if tool == "uv" else "", **place.wanted(), **options)
    return environment


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def fill_home(place: Place, home: Path) -> None:
    """Write what pip, uv and Python read in a home; the index sees a login, and a file tells of code that ran."""
    write(home / ".config" / "pip" / "pip.conf", place.pip_conf)
    write(home / ".pip" / "pip.conf", place.pip_conf)
    write(home / ".config" / "uv" / "uv.toml", place.uv_toml())
    write(home / ".netrc", "machine 127.0.0.1 login somebody password theirs\n")
    (home / ".netrc").chmod(0o600)
    write(home / ".pydistutils.cfg", f"[install]\nprefix = {place.directory / 'elsewhere'}\n")
    version = "{}.{}".format(*sys.version_info[:2])
    theirs = home / ".local" / "lib" / f"python{version}" / "site-packages" / "theirs.pth"
    write(theirs, f"import os; open({str(place.directory / 'ran')!r}, 'w')\n")


@pytest.mark.parametrize("tool", TOOLS)
def test_variables_of_the_run_do_not_reach_the_tools(
    place: Place, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_home(place, tmp_path / "theirs")
    write(tmp_path / "pip.conf", place.pip_conf)
    write(tmp_path / "uv.toml", place.uv_toml())
    variables = {
        "HOME": str(tmp_path / "theirs"),
        "NETRC": str(tmp_path / "theirs" / ".netrc"),
        "XDG_CONFIG_HOME": str(tmp_path / "theirs" / ".config"),
        "XDG_CONFIG_DIRS": str(tmp_path / "theirs" / ".config"),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_EXTRA_INDEX_URL": place.other.url(),
        "PIP_FIND_LINKS": str(place.other.directory),
        "PIP_NO_BINARY": ":all:",
        "UV_CONFIG_FILE": str(tmp_path / "uv.toml"),
        "UV_INDEX": place.other.url(),
        "UV_FIND_LINKS": str(place.other.directory),
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_NO_BINARY": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    place.holds(installed(place, tool))
    assert not (tmp_path / "ran").exists()


def test_a_pip_conf_of_the_environment_itself_does_not_count(place: Place) -> None:
    environment = place.environment("pip")
    write(environment / "pip.conf", place.pip_conf)
    install(str(environment), PYTHON, **place.wanted())
    place.holds(environment)


@needs_uv
@pytest.mark.parametrize("file", ["uv.toml", "pyproject.toml"])
@pytest.mark.parametrize("where", [".", ".."])
def test_settings_of_uv_in_a_source_or_above_it_do_not_count(place: Place, file: str, where: str) -> None:
    directory = place.directory / "app"
    directory.mkdir()
    write(directory / where / file, place.uv_toml("tool.uv" if file == "pyproject.toml" else ""))
    place.holds(installed(place, "uv", directory=str(directory)))


INSTALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import install
for _ in range(2):  # the second time asks the interpreter for its version
    install(**json.loads(sys.argv[2]))
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="this account cannot make a mount namespace",
)
@pytest.mark.parametrize("tool", TOOLS)
def test_settings_of_the_whole_host_and_of_the_account_do_not_count(place: Place, tool: str, tmp_path: Path) -> None:
    """The tools run where /etc is a copy, in which the account has a home with settings of its own."""
    etc, home = tmp_path / "etc", tmp_path / "theirs"
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    write(etc / "pip.conf", place.pip_conf)
    write(etc / "xdg" / "pip" / "pip.conf", place.pip_conf)
    write(etc / "uv" / "uv.toml", place.uv_toml())
    fill_home(place, home)
    accounts = (etc / "passwd").read_text().splitlines()
    own = [line for line in accounts if line.split(":")[2] == str(os.geteuid())]
    changed = [":".join([*line.split(":")[:5], str(home), line.split(":")[6]]) for line in own]
    (etc / "passwd").write_text("\n".join([*changed, *(line for line in accounts if line not in own), ""]))
    environment = place.environment(tool)
    wanted = {**place.wanted(), "path": str(environment), "python": PYTHON, "uv": UV if tool == "uv" else ""}
    inside = 'mount --bind "$1" /etc && shift && exec "$@"'
    command = ["unshare", "--mount", "--", "/bin/sh", "-c", inside, "sh", str(etc), sys.executable, "-c", INSTALL]
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "unit"), json.dumps(wanted)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place.holds(environment)
    assert not (tmp_path / "ran").exists()


@needs_uv
def test_the_tool_environment_is_installed_with_an_empty_home(
    place: Place, run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    looking = tmp_path / "uv"
    looking.write_text(
        f'#!/bin/sh\necho "$HOME" >> {tmp_path}/homes\nls -A "$HOME" >> {tmp_path}/seen\nexec {UV} "$@"\n'
    )
    looking.chmod(0o755)
    wanted = {"path": str(tmp_path / "venv"), "requirements": "probe\n", "uv": str(looking)}
    assert not run_module("venv", {**wanted, "index_url": place.index.url()})["failed"]
    place.holds(tmp_path / "venv")
    (home,) = {*(tmp_path / "homes").read_text().split()}
    assert (tmp_path / "seen").read_text() == ""
    assert not Path(home).exists()
