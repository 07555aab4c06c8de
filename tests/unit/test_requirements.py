"""Requirements files: each kind of line decided, and what is allowed installed by the real tools."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.venv import install
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.requirements import (
    ALLOWED,
    BUILDS,
    RULES,
    Reader,
    Requirements,
    in_directory,
)
from conftest import ROOT

HASH = "--hash=sha256:" + "a" * 64
UV = shutil.which("uv", path=str(Path(sys.executable).parent))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source" / "libs" / "common").mkdir(parents=True)
    (tmp_path / "source" / "wheels").mkdir()
    (tmp_path / "source" / "wheels" / "probe-1.0-py3-none-any.whl").touch()
    (tmp_path / "source" / "probe-1.0.tar.gz").touch()
    return tmp_path / "source"


def read(source: Path, text: str | bytes = "", *, name: str = "requirements.txt", builds: bool = False) -> Requirements:
    if text:
        (source / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Reader(*in_directory(str(source)), builds=builds).file(name)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("flask==3.1.3", "flask==3.1.3"),
        ("Flask[async] >=3 ; python_version > '3.9'  # why", 'Flask[async]>=3; python_version > "3.9"'),
        (f"flask==3.1.3 \\\n    {HASH}", f"flask==3.1.3 {HASH}"),
        (f"flask==3.1.3 {HASH} \\\n # a comment", f"flask==3.1.3 {HASH}"),
        ("./wheels/probe-1.0-py3-none-any.whl", "./wheels/probe-1.0-py3-none-any.whl"),
        ("wheels/probe-1.0-py3-none-any.whl", "./wheels/probe-1.0-py3-none-any.whl"),
        (f"a @ https://x.example/a-1-py3-none-any.whl {HASH}", f"a @ https://x.example/a-1-py3-none-any.whl {HASH}"),
        (
            f"a @ https://x.example/a-1-py3-none-any.whl#sha256={'a' * 64}",
            f"a @ https://x.example/a-1-py3-none-any.whl {HASH}",
        ),
        ("\ufeffflask", "flask"),
        ("\ufeff# only a comment\r\nflask # why\r\n", "flask"),
        ("flask==1 \\\n  ; python_version < '4'", 'flask==1; python_version < "4"'),
        (
            "git @ https://x.example/git-1-py3-none-any.whl#sha256=" + "a" * 64,
            f"git @ https://x.example/git-1-py3-none-any.whl {HASH}",
        ),
    ],
)
def test_a_line_that_is_allowed_reaches_the_host(source: Path, line: str, written: str) -> None:
    found = read(source, f"{line}\n")
    assert (found.problems, found.files()) == ([], {"requirements.txt": f"{written}\n"})


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("-e .", "-e ."),
        ("-e ./libs/common", "-e ./libs/common"),
        ("--editable=libs/common[x]", "-e ./libs/common[x]"),
        ("./libs/common", "./libs/common"),
        ("file:libs/common", "./libs/common"),
        ("-e file:.", "-e ."),
        ("-e file:./libs/common[x]", "-e ./libs/common[x]"),
        ("libs/common ; python_version > '3'", './libs/common ; python_version > "3"'),
        ("probe-1.0.tar.gz", "./probe-1.0.tar.gz"),
        (f"a @ https://x.example/a-1.tar.gz {HASH}", f"a @ https://x.example/a-1.tar.gz {HASH}"),
        ("--no-binary probe", "--no-binary probe"),
        ("--no-binary=:all:", "--no-binary :all:"),
    ],
)
def test_what_would_be_built_is_allowed_by_the_option_alone(source: Path, line: str, written: str) -> None:
    (problem,) = read(source, f"flask==1 {HASH if 'hash' in line else ''}\n{line}\n").problems
    assert "requirements.txt line 2" in problem
    assert "python.source_builds_enabled: true" in problem
    found = read(source, f"{line}\n", builds=True)
    assert (found.problems, found.files()) == ([], {"requirements.txt": f"{written}\n"})


@pytest.mark.parametrize("builds", [False, True])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-i https://me:hunter2@x.example/simple", "python_index_url"),
        ("-ihttps://x.example/simple", "python_index_url"),
        ("--index-url=https://x.example/simple", "python_index_url"),
        ("--extra-index-url https://x.example/simple --pre", "python_index_url"),
        ("--find-links=/opt/wheels", "python_wheelhouse"),
        ("-f /opt/wheels", "python_wheelhouse"),
        ("--no-index", "python_wheelhouse"),
        ("--trusted-host x.example", "authority"),
        ("--pre", "2.0rc1"),
        ("--prefer-binary", "Leave the line out"),
        ("--use-feature fast-deps", "Leave the line out"),
        ("--frobnicate", "no option that is known"),
        ("flask --config-settings=a=b", "as a wheel"),
        ("--config-settings a=b", "as a wheel"),
        ("--trusted-host=x.example", "authority"),
        ("flask --pre", "2.0rc1"),
        ("flask -i https://x.example/simple", "python_index_url"),
        ("flask -r other.txt", "line of its own"),
        ("flask --no-deps", "no option that is known"),
        ("flask==1 \\  ", "spaces behind it"),
        ("flask==1; nonsense == 'x'", "no requirement"),
        ("ssh://git@x.example/a.git", "neither git"),
        ("git@x.example:a.git", "neither git"),
        ("flask==${VERSION} # why", "its value"),
        ("-e git+https://x.example/a@v1#egg=a", "neither git"),
        ("-e file:libs/common#egg=a", "#egg=a behind it"),
        ("-e file:///libs/common", "the host's"),
        ("flask@3.0", "NAME==VERSION"),
        ("flask @ ^3.0", "NAME==VERSION"),
        ("flask @", "NAME==VERSION"),
        (f"a @ s3://x/a-1-py3-none-any.whl {HASH}", "http and https alone"),
        ("pkg_resources==0.0.0", "pip of Debian"),
        ("python>=3.11", "python.version"),
        ("flask==3; extra == 'web'", "never be installed"),
        ("flask=3.0", "NAME>=3,<4"),
        ("-U flask", "no option that is known"),
        ("<<<<<<< HEAD", "no requirement"),
        ("-e ./libs/common#egg=a", "#egg=a behind it"),
        ("-r libs", "no file"),
        ("-r env.yaml", "pip list --format freeze"),
        (HASH, "behind its package"),
        ("flask\0", "NUL"),
        ("-r environment.yml", "pip list --format freeze"),
        ("-r pdm.lock", "pdm export"),
        ("flask --global-option=a", "as a wheel"),
        ("git+https://x.example/a", "as? ?.*wheel"),
        ("a @ git+ssh://git@x.example/a", "git"),
        ("-e git+https://x.example/a#egg=a", "git"),
        ("file:///opt/a", "the host's"),
        ("a @ file:///opt/a", "the host's"),
        ("a @ ./libs/common", "the host's"),
        ("-e /opt/a", "the host's"),
        ("/opt/a", "the host's"),
        ("~/a", "the host's"),
        ("https://x.example/a-1-py3-none-any.whl", "NAME @ URL"),
        ("a @ https://x.example/a-1-py3-none-any.whl", "no hash"),
        (f"a @ https://me:hunter2@x.example/a-1-py3-none-any.whl {HASH}", "python_index_url"),
        (f"a @ https://x.example/a-1-py3-none-any.whl?token=hunter2 {HASH}", "python_index_url"),
        ("flask==${VERSION}", "its value"),
        ("flask==1 --hash=md5:1", "sha256:"),
        ("./wheels/other-1.0-py3-none-any.whl", "top of the source"),
        ("../wheels/other-1.0-py3-none-any.whl", "leads out"),
        ("-r nested.txt -c other.txt", "one option in a line"),
        ("-r nested.txt", "nested.txt was looked for"),
        ("-r ../nested.txt", "leads out|looked for"),
        ("-r https://x.example/nested.txt", "address"),
        ("-r requirements.txt", "leads back"),
        ("-r uv.lock", "uv export --format requirements-txt"),
        ("-r poetry.lock", "poetry export"),
        ("-r Pipfile.lock", "pipenv requirements"),
        ("-r pylock.toml", "uv export"),
        ("flask 3.1", "no requirement"),
    ],
)
def test_a_line_that_is_refused_is_named_with_what_to_do(source: Path, line: str, said: str, builds: bool) -> None:
    found = read(source, f"{line}\n", builds=builds)
    assert found.requirements == []
    assert any(re.search(said, problem) for problem in found.problems), found.problems
    assert "hunter2" not in str(found.problems)


def test_files_that_a_file_names_are_read_relative_to_it_and_reach_the_host_as_one(source: Path) -> None:
    (source / "deep").mkdir()
    (source / "deep" / "base.txt").write_text("flask\n-c limits.txt\n")
    (source / "deep" / "limits.txt").write_text("werkzeug<4\n")
    found = read(source, "-r deep/base.txt\njinja2\n")
    assert found.problems == []
    assert found.files() == {
        "requirements.txt": "-c constraints.txt\nflask\njinja2\n",
        "constraints.txt": "werkzeug<4\n",
    }


def test_a_line_in_a_file_that_another_names_is_refused_by_that_file(source: Path) -> None:
    (source / "base.txt").write_text("# first\n\n-e .\n")
    (problem,) = read(source, "-r base.txt\n").problems
    assert problem.startswith("base.txt line 3: '-e .'")


@pytest.mark.parametrize("option", ["-r", "-c"])
def test_a_hash_in_any_file_makes_every_line_need_one(source: Path, option: str) -> None:
    (source / "base.txt").write_text(f"flask==3.1.3 {HASH}\n")
    (problem,) = read(source, f"{option} base.txt\njinja2==3.1\n").problems
    assert problem.startswith("requirements.txt line 2: 'jinja2==3.1' has no hash. Yet base.txt line 1 has a hash")


def test_files_that_name_each_other_are_refused(source: Path) -> None:
    (source / "base.txt").write_text("-r requirements.txt\n")
    (problem,) = read(source, "-r base.txt\n").problems
    assert "base.txt line 1: --requirement requirements.txt leads back" in problem


def test_a_link_that_leads_out_of_the_source_is_not_followed(source: Path) -> None:
    (source.parent / "outside.txt").write_text("flask\n")
    (source / "base.txt").symlink_to(source.parent / "outside.txt")
    (problem,) = read(source, "-r base.txt\n").problems
    assert "leads out of the source" in problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_file_that_is_not_utf_8_is_named(source: Path, encoding: str) -> None:
    bom = b"\xff\xfe" if encoding == "utf-16-le" else b""
    (problem,) = read(source, bom + "flask  # ä\n".encode(encoding)).problems
    assert problem.startswith("requirements.txt")
    assert "Save" in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[project]\nname='x'\ndynamic=['dependencies']\n", "dynamic"),
        ("[project]\nname='x'\n", "no project.dependencies"),
        ("[tool.poetry.dependencies]\nflask='*'\n", "poetry export"),
        ("[project]\ndependencies=['flask']\n[tool.uv.sources]\nflask={path='x'}\n", "tool.uv.sources"),
        ("[project]\ndependencies=['flask @ file:///x']\n", "dependency 1"),
        ("x", "no TOML"),
        ("project = 1\n", "tables"),
        ("[project]\ndependencies=['flask']\n[tool]\nuv=1\n", "tables"),
        ("[project]\ndependencies='flask'\n", "no list"),
        ("[project]\ndependencies=[1]\n", "no list"),
        ("[project]\ndependencies=['flask']\n[tool.poetry.dependencies]\nflask={path='x'}\n", "poetry export"),
        ("[project]\ndependencies=['flask']\n[[tool.pdm.source]]\nurl='x'\n", "pdm export"),
        ("[project]\ndependencies=['flask']\n[[tool.poetry.source]]\nurl='x'\n", "python_index_url"),
        ("[project]\ndynamic=3\n", "project.dynamic is 3"),
        ("[project]\ndependencies=[]\n[tool.uv]\noverride-dependencies=['x']\n", "tool.uv.override-dependencies"),
        ("[project]\ndependencies=[]\n[tool.uv.pip]\nno-deps=true\n", "tool.uv.pip"),
        ("[tool.flit.metadata]\nrequires=['flask']\n", "tool.flit"),
        (
            "[project]\ndynamic=['dependencies']\n[tool.setuptools.dynamic]\ndependencies={file=['deps.in']}\n",
            "They are read from deps.in. Name that file",
        ),
        (
            "[project]\ndynamic=['dependencies']\n[tool.hatch.metadata.hooks.requirements_txt]\nfiles=['r.txt']\n",
            "They are read from r.txt. Name that file",
        ),
        (
            "[project]\ndynamic=['dependencies']\n[tool.setuptools.dynamic]\ndependencies={file=['a', 'b']}\n",
            "uv pip compile",
        ),
    ],
)
def test_a_project_whose_dependencies_are_not_plain_is_refused(source: Path, text: str, said: str) -> None:
    (problem,) = read(source, text, name="pyproject.toml").problems
    assert said in problem


def test_the_dependencies_of_a_project_are_taken_without_running_anything(source: Path) -> None:
    found = read(source, "[project]\ndependencies=['flask>=3', 'jinja2']\n", name="pyproject.toml")
    assert (found.problems, found.files()) == ([], {"requirements.txt": "flask>=3\njinja2\n"})


@pytest.mark.parametrize(
    ("wanted", "python", "refused"),
    [
        (">=3.14", "3.13", True),
        ("<3.13", "3.13", True),
        (">=3.13.2", "3.13", False),
        ("==3.13.5", "3.13", False),
        ("~=3.9", "3.13", False),
        (">=3.14", "", False),
    ],
)
def test_a_project_that_does_not_run_on_the_apps_python_is_refused(
    source: Path, wanted: str, python: str, refused: bool
) -> None:
    (source / "pyproject.toml").write_text(f"[project]\nrequires-python='{wanted}'\ndependencies=['flask']\n")
    problems = Reader(*in_directory(str(source)), python=python).file("pyproject.toml").problems
    assert [f"requires-python is {wanted!r}, and the app's Python is {python}." in each for each in problems] == (
        [True] if refused else []
    )


@pytest.mark.parametrize("wanted", ["'3.x'", "3", "['>=3.9']"])
def test_a_range_of_pythons_that_cannot_be_read_is_refused(source: Path, wanted: str) -> None:
    text = f"[project]\nrequires-python={wanted}\ndependencies=[]\n"
    (problem,) = read(source, text, name="pyproject.toml").problems
    assert "which is no range of versions" in problem


def test_extras_and_groups_that_are_not_installed_are_said(source: Path) -> None:
    text = (
        "[project]\ndependencies=['flask']\n[project.optional-dependencies]\npdf=['reportlab']\n"
        "[dependency-groups]\ntest=['pytest']\n"
    )
    found = read(source, text, name="pyproject.toml")
    (sentence,) = found.left_out
    assert "optional-dependencies pdf and dependency-groups test, which are not installed" in sentence
    assert (found.problems, found.files()) == ([], {"requirements.txt": "flask\n"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.uv]\ndev-dependencies=['pytest']\n", ["tool.uv.dev-dependencies, whose packages are not installed"]),
        ("[tool.pdm.dev-dependencies]\ntest=['pytest']\n", ["tool.pdm.dev-dependencies test, which are not"]),
        ("[tool.poetry.group.docs.dependencies]\nsphinx='*'\n", ["tool.poetry.group docs, which are not"]),
        ("[tool.poetry.dev-dependencies]\nx='*'\n", ["tool.poetry.dev-dependencies, whose packages are not"]),
        ("[tool.rye]\ndev-dependencies=['pytest']\n", ["tool.rye.dev-dependencies, whose packages are not"]),
        ("[tool.pixi.dependencies]\nnumpy='*'\n", ["tool.pixi.dependencies, whose packages are not"]),
        ("dynamic=['requires-python']\n", ["a dynamic requires-python, which is not compared"]),
        ("[tool.uv]\ndefault-groups=['dev']\nmanaged=false\n[dependency-groups]\ndev=['x']\n", ["groups dev, which"]),
        ("[tool.hatch.metadata]\nallow-direct-references=true\n[tool.pdm]\ndistribution=false\n", []),
        ("dependency-groups=3\n[tool]\nrye=3\npixi=[]\n", []),
    ],
)
def test_what_other_tools_would_install_is_said(source: Path, text: str, said: list[str]) -> None:
    found = read(source, f"[project]\ndependencies=['flask']\n{text}", name="pyproject.toml")
    assert (found.problems, found.files()) == ([], {"requirements.txt": "flask\n"})
    assert len(found.left_out) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found.left_out, strict=True))


@pytest.mark.parametrize("second", ["Flask==2.0", "-r base.txt", "-c base.txt"])
def test_two_lines_that_want_two_versions_are_told_with_their_places(source: Path, second: str) -> None:
    (source / "base.txt").write_text("\nflask == 2.0\n")
    (problem,) = read(source, f"flask==3.0\n{second}\n").problems
    assert "wants another version than requirements.txt line 1, 'flask==3.0'. Take one of the two out" in problem
    assert problem.startswith("base.txt line 2" if "base" in second else "requirements.txt line 2")


def test_lines_that_agree_or_are_for_two_platforms_are_taken(source: Path) -> None:
    text = "a==1.0\na==1\nb==1; python_version < '3.10'\nb==2; python_version >= '3.10'\nc==1\nc>0\n"
    assert read(source, text).problems == []


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("Poetry.lock", "poetry export"),
        ("locks/pipfile.lock", "pipenv requirements"),
        ("UV.LOCK", "uv export"),
        ("deploy/PDM.lock", "pdm export"),
        ("pylock.Prod.toml", "uv export"),
    ],
)
def test_a_lock_in_another_case_or_place_is_known_too(source: Path, name: str, command: str) -> None:
    (source / name).parent.mkdir(exist_ok=True)
    (problem,) = read(source, "x", name=name).problems
    assert f"{name} is no requirements file. `{command}" in problem


def test_the_documentation_has_the_table_of_lines() -> None:
    words = {ALLOWED: "yes", BUILDS: "with `python.source_builds_enabled`"}
    table = (ROOT / "docs" / "sources.md").read_text()
    for rule in RULES.values():
        instead = f" {rule.instead[0].upper()}{rule.instead[1:]}." if rule.instead else ""
        assert f"| {rule.example} | {words.get(rule.decision, 'no')} | {rule.why}{instead} |\n" in table


@pytest.mark.parametrize("lock", sorted((ROOT / "roles").rglob("files/**/*.txt")), ids=lambda path: path.name)
def test_our_own_locks_obey_the_same_rules(lock: Path) -> None:
    found = Reader(*in_directory(str(lock.parent))).file(lock.name)
    assert found.problems == []
    assert all(entry.hashes for entry in found.requirements)


def wheel(directory: Path, name: str) -> str:
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "tool", ["pip", pytest.param("uv", marks=pytest.mark.skipif(not UV, reason="uv is not installed"))]
)
def test_what_is_written_installs_alike_whatever_the_source_has_for_the_tools(
    source: Path, tmp_path: Path, tool: str
) -> None:
    digest = wheel(source / "wheels", "probe")
    (source / "pyproject.toml").write_text("[tool.uv]\nfind-links = ['nowhere']\nrequire-hashes = 1\n")
    (source / "uv.toml").write_text("this is no TOML\n")
    (source / "limits.txt").write_text("probe==1.0\n")
    text = f"-c limits.txt\n./wheels/probe-1.0-py3-none-any.whl --hash=sha256:{digest}\n"
    found = read(source, text)
    assert found.problems == []
    for name, content in found.files().items():
        (tmp_path / name).write_text(content)
    install(
        str(tmp_path / "venv"),
        sys.executable,
        [str(tmp_path / "requirements.txt")],
        directory=str(source),
        uv=(UV or "") if tool == "uv" else "",
        wheels=str(source / "wheels"),
        home=str(tmp_path),
    )
    subprocess.run([tmp_path / "venv" / "bin" / "python", "-c", "import probe"], check=True)
