"""Releases of an app on a host: staged beside the live one, started, probed, switched to, retired."""

from __future__ import annotations

import ast
import base64
import copy
import io
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils import ledger
from ansible_collections.baremetal.web.plugins.module_utils import releases as module
from ansible_collections.baremetal.web.plugins.module_utils.releases import (
    SERVER_LOCK,
    ReleaseError,
    Releases,
    point,
    pointed,
    probe,
    release_id,
    unpack,
)
from ansible_collections.baremetal.web.plugins.module_utils.sockets import UnixConnection
from ansible_collections.baremetal.web.plugins.module_utils.supervisor import (
    Supervisor,
    SupervisorError,
    render_program,
)
from ansible_collections.baremetal.web.plugins.modules import release as release_module
from conftest import GROUP, OWNER

PARTS = ("tree", "config", "lock")
A, B, C, D, E = (letter * 12 for letter in "abcde")


@pytest.fixture
def app(tmp_path: Path, answerer: Path, program: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Describe an app, resolved, whose releases answer HTTP on their sockets."""
    environment = {"PYTHONUNBUFFERED": "1", "APP_NAME": "shop"}
    command = f"{sys.executable} {answerer} $socket"
    return {
        "name": "shop",
        "home": str(tmp_path / "wsgi" / "shop"),
        "user": OWNER,
        "build_user": OWNER,
        "deployer": "tests@here",
        "entrypoint": "shop:app",
        "python": {"version": "auto", "requirements": "requirements.txt", "source_builds_enabled": False},
        "server": {"check": f"{sys.executable} -c 'import json'"},
        "site": {"server_names": ["shop.example"]},
        "health": {"path": "/", "timeout": 10},
        "releases_kept": 3,
        "index_url": "",
        "wheels": "",
        "uv": "",
        "program": program("shop", command=command, directory="$release/app", environment=environment, log_name="shop"),
    }


@pytest.fixture
def described(app: dict[str, Any]) -> Releases:
    """Return the releases of the app on a host of which nothing is asked but its files."""
    os.makedirs(os.path.join(app["home"], "releases"))
    os.makedirs(os.path.join(app["home"], "run"))
    return Releases(app, None)  # type: ignore[arg-type]


@pytest.fixture
def releases(app: dict[str, Any], supervisor: Supervisor) -> Releases:
    """Return the releases of the app on a host with a running supervisord."""
    releases = Releases(app, supervisor)
    os.makedirs(app["home"])
    releases.make_room(GROUP)
    return releases


def stage(releases: Releases, release: str, staged: float = 0) -> None:
    """Put a complete release there without building it."""
    path = Path(releases.path(release))
    (path / "app").mkdir(parents=True)
    (path / "environment").write_text(f"export APP_RELEASE={release}\n")
    (path / "manifest.json").write_text(json.dumps({"release": release, "staged": staged}))


def go_live(releases: Releases, release: str, staged: float = 0) -> None:
    stage(releases, release, staged)
    releases.start(release)
    releases.switch(release)
    releases.retire(release)


def who_answers(releases: Releases) -> str:
    """Return the release that a visitor gets."""
    connection = UnixConnection(releases.current_socket, 5)
    connection.request("GET", "/", headers={"Host": "shop.example"})
    answer = connection.getresponse().read().decode().split()[-1]
    connection.close()
    return answer


def test_the_same_parts_are_the_same_release(app: dict[str, Any]) -> None:
    assert release_id(app, *PARTS) == release_id(copy.deepcopy(app), *PARTS)


@pytest.mark.parametrize(
    "change",
    [
        {"entrypoint": "shop:other"},
        {"python": {"version": "3.12"}},
        {"python": {"requirements": "other.txt"}},
        {"program": {"environment": {"APP_NAME": "other"}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_the_app_is_another_release(app: dict[str, Any], change: dict[str, Any]) -> None:
    changed = {key: {**app[key], **value} if isinstance(value, dict) else value for key, value in change.items()}
    assert release_id({**app, **changed}, *PARTS) != release_id(app, *PARTS)


@pytest.mark.parametrize(
    "parts", [("x", "config", "lock"), ("tree", "x", "lock"), ("tree", "config", "x"), ("treeconfig", "", "lock")]
)
def test_a_change_of_the_code_the_configuration_or_the_servers_packages_is_another_release(
    app: dict[str, Any], parts: tuple[str, str, str]
) -> None:
    assert release_id(app, *parts) != release_id(app, *PARTS)


@pytest.mark.parametrize("change", [{"releases_kept": 9}, {"health": {"path": "/x", "timeout": 1}}, {"deployer": "me"}])
def test_what_is_not_in_a_release_makes_no_new_one(app: dict[str, Any], change: dict[str, Any]) -> None:
    assert release_id({**app, **change}, *PARTS) == release_id(app, *PARTS)


def test_the_name_of_a_release_is_one_that_its_programs_are_found_by(app: dict[str, Any], releases: Releases) -> None:
    release = release_id(app, *PARTS)
    Path(releases.supervisor.path(releases.program_name(release))).touch()
    for name in ("shop", "shop-api", f"shop-api-{release}", f"my-shop-{release}", "shop-not-hex-at-all"):
        Path(releases.supervisor.path(name)).touch()
    found = releases.programs()
    for path in Path(releases.supervisor.directory).iterdir():
        path.unlink()
    assert found == [f"shop-{release}"]


def test_a_link_points_to_its_newest_target(tmp_path: Path) -> None:
    link = str(tmp_path / "current")
    assert pointed(link) is None
    for target in ("releases/one", "releases/two", "releases/two"):
        point(link, target)
        assert os.readlink(link) == target
        assert pointed(link) == os.path.basename(target)
    assert os.listdir(tmp_path) == ["current"]


def test_a_link_is_moved_even_after_an_attempt_that_broke_off(tmp_path: Path) -> None:
    (tmp_path / "current.new").symlink_to("left-behind")
    point(str(tmp_path / "current"), "releases/one")
    assert pointed(str(tmp_path / "current")) == "one"


def test_a_link_is_there_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, seen = tmp_path / "current", []
    point(str(link), "one")
    for name in ("unlink", "symlink", "replace"):
        real = getattr(os, name)

        def watched(*arguments: Any, real: Callable[..., Any] = real) -> None:
            real(*arguments)
            seen.append(os.readlink(link))

        monkeypatch.setattr(module.os, name, watched)
    point(str(link), "two")
    assert seen[-1] == "two"
    assert set(seen) == {"one", "two"}


@pytest.mark.parametrize(
    ("release", "listening", "current"),
    [(None, None, None), (A, A, A), (A, B, None), (A, None, None), (None, A, None)],
)
def test_a_release_is_live_when_both_links_agree_on_it(
    described: Releases, release: str | None, listening: str | None, current: str | None
) -> None:
    if release:
        point(described.current_link, f"releases/{release}")
    if listening:
        point(described.current_socket, f"run/{listening}.sock")
    assert described.current == current


def test_a_switch_moves_both_links(described: Releases) -> None:
    for release in (A, B):
        described.switch(release)
        assert described.current == release
        assert os.path.realpath(described.current_link) == os.path.realpath(described.path(release))
        assert os.path.realpath(described.current_socket) == os.path.realpath(described.socket(release))


def test_complete_releases_are_listed_in_the_order_in_which_they_were_staged(described: Releases) -> None:
    for release, staged in ((A, 3), (B, 1), (C, 2)):
        stage(described, release, staged)
    os.makedirs(os.path.join(described.path(D), "app"))  # without its manifest: the build broke off
    assert described.staged() == [B, C, A]


def test_a_host_without_the_app_has_no_releases(app: dict[str, Any]) -> None:
    releases = Releases(app, None)  # type: ignore[arg-type]
    assert releases.staged() == []
    assert releases.current is None
    assert releases.manifest(A) == {}


def test_the_places_of_a_release_are_filled_into_its_program_and_only_there(described: Releases) -> None:
    program = described.program(A)
    assert program["name"] == f"shop-{A}"
    assert described.socket(A) in program["command"]
    assert program["directory"] == f"{described.path(A)}/app"
    own = {"APP_RELEASE": A, "APP_SOCKET": described.socket(A)}
    assert described.environment(A) == {**described.app["program"]["environment"], **own}
    assert "$socket" in described.app["program"]["command"]
    assert "APP_RELEASE" not in described.app["program"]["environment"]


def test_the_environment_of_an_app_is_not_where_supervisord_could_change_or_show_it(described: Releases) -> None:
    described.app["program"]["environment"]["PASSWORD"] = "hunter2"
    assert "hunter2" not in render_program(described.program(A), "/")


def test_a_second_release_of_the_app_at_the_same_time_is_refused(described: Releases) -> None:
    with (
        described.lock(),
        pytest.raises(ReleaseError, match="under way"),
        Releases(described.app, described.supervisor).lock(),
    ):
        pass
    with described.lock():
        pass


@pytest.mark.parametrize(("path", "said"), [("/", ""), ("/204", ""), ("/302", ""), ("/404", "404"), ("/503", "503")])
def test_an_app_is_healthy_when_it_answers_200_to_399(unix_server: Path, path: str, said: str) -> None:
    problem = probe(path, "shop.example", str(unix_server), 5)
    assert said in problem
    assert bool(problem) == bool(said)


@pytest.mark.parametrize("path", ["/slow", "/garbage"])
def test_an_app_that_does_not_answer_as_a_web_server_is_not_healthy(unix_server: Path, path: str) -> None:
    before = time.monotonic()
    assert "no answer" in probe(path, "shop.example", str(unix_server), 0.2)
    assert time.monotonic() - before < 2


@pytest.mark.parametrize("listened_once", [True, False], ids=["refused", "missing"])
def test_an_app_that_does_not_listen_is_not_healthy(tmp_path: Path, listened_once: bool) -> None:
    path = str(tmp_path / "app.sock")
    if listened_once:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
    assert "no answer" in probe("/", "shop.example", path, 1)


def test_the_directories_of_an_app_are_open_to_those_only_who_need_them(app: dict[str, Any], own_files: None) -> None:
    releases = Releases(app, None)  # type: ignore[arg-type]
    os.makedirs(app["home"])
    previous = os.umask(0)
    try:
        releases.make_room(GROUP)
        releases.make_room(GROUP)
    finally:
        os.umask(previous)
    modes = {name: stat.S_IMODE(os.stat(os.path.join(app["home"], name)).st_mode) for name in os.listdir(app["home"])}
    assert modes == {"releases": 0o755, "run": 0o750, "data": 0o700}
    assert stat.S_IMODE(os.stat(app["home"]).st_mode) == 0o751


def test_the_home_of_an_app_is_noted_as_ours_with_all_in_it(app: dict[str, Any], own_files: None) -> None:
    Releases(app, None).make_room(GROUP)  # type: ignore[arg-type]
    notes = ledger.read()
    assert notes["app"][app["home"]] == {"user": app["user"]}
    assert os.path.dirname(app["home"]) in notes["directory"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_data_that_was_kept_when_its_app_was_removed_is_the_apps_again(app: dict[str, Any], tmp_path: Path) -> None:
    data = Path(app["home"]) / "data"
    (data / "uploads").mkdir(parents=True)
    (data / "uploads" / "photo").touch()
    (tmp_path / "outside").touch()
    (data / "link").symlink_to(tmp_path / "outside")
    Releases({**app, "user": "nobody"}, None).make_room(GROUP)  # type: ignore[arg-type]
    uid = pwd.getpwnam("nobody").pw_uid
    assert {path.lstat().st_uid for path in (data, *data.rglob("*"))} == {uid}
    assert (tmp_path / "outside").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("last", ["photo", "text"])
def test_data_that_is_the_apps_again_in_part_only_is_given_to_it_by_the_next_run(
    app: dict[str, Any], monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    def cut_off(name: str, *arguments: Any, **options: Any) -> None:
        if name == last:
            raise KeyboardInterrupt
        chown(name, *arguments, **options)

    data, chown = Path(app["home"]) / "data", os.chown
    (data / "uploads").mkdir(parents=True)
    for path in (data / "uploads" / "text", data / "photo"):
        path.touch()
    returned = Releases({**app, "user": "nobody"}, None)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(os, "chown", cut_off)
        with pytest.raises(KeyboardInterrupt):
            returned.make_room(GROUP)
    returned.make_room(GROUP)
    uid = pwd.getpwnam("nobody").pw_uid
    assert {path.lstat().st_uid for path in (data, *data.rglob("*"))} == {uid}


def test_a_home_that_was_there_before_is_not_noted_and_one_that_was_keeps_its_newest_user(
    app: dict[str, Any], own_files: None
) -> None:
    theirs = {**app, "home": f"{app['home']}-theirs"}
    os.makedirs(theirs["home"])
    Releases(theirs, None).make_room(GROUP)  # type: ignore[arg-type]
    with ledger.Ledger() as notes:
        notes.note_app(app["home"], "somebody")
    Releases(app, None).make_room(GROUP)  # type: ignore[arg-type]
    assert ledger.read()["app"] == {app["home"]: {"user": app["user"]}}


def test_a_release_starts_becomes_live_and_is_settled(releases: Releases) -> None:
    stage(releases, A)
    releases.start(A)
    assert releases.health(A) == ""
    assert not releases.is_settled(A)
    releases.switch(A)
    assert releases.is_settled(A)
    assert who_answers(releases) == A


def test_a_settled_release_that_is_started_again_keeps_its_process(releases: Releases) -> None:
    go_live(releases, A)
    name = releases.program_name(A)
    before = releases.supervisor.call("getProcessInfo", name)["pid"]
    releases.start(A)
    assert releases.supervisor.call("getProcessInfo", name)["pid"] == before


def test_a_new_release_runs_beside_the_live_one_until_it_takes_over(releases: Releases) -> None:
    go_live(releases, A)
    stage(releases, B)
    releases.start(B)
    assert who_answers(releases) == A
    releases.switch(B)
    assert who_answers(releases) == B
    releases.retire(B)
    assert releases.programs() == [releases.program_name(B)]
    assert not os.path.exists(releases.socket(A))
    assert who_answers(releases) == B


def test_a_settled_release_is_no_longer_settled_when_its_program_is_described_otherwise(releases: Releases) -> None:
    go_live(releases, A)
    releases.app["program"]["stopwaitsecs"] += 1
    assert not releases.is_settled(A)


def test_a_settled_release_is_no_longer_settled_when_its_program_ended(releases: Releases) -> None:
    go_live(releases, A)
    releases.supervisor.call("stopProcess", releases.program_name(A))
    assert releases.program_name(A) in releases.health(A)
    assert not releases.is_settled(A)


def test_a_start_takes_no_longer_than_the_app_was_given_to_become_healthy(releases: Releases) -> None:
    stage(releases, A)
    releases.app["health"] = {"path": "/slow", "timeout": 1}
    before = time.monotonic()
    with pytest.raises(ReleaseError, match=r"within 1 s: no answer"):
        releases.start(A)
    assert time.monotonic() - before < 4


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        (1, [E]),
        (2, [D, E]),
        (3, [C, D, E]),
        (4, [B, C, D, E]),
        (5, [A, B, C, D, E]),
        (6, [A, B, C, D, E]),
        (7, [A, B, C, D, E]),
        (9, [A, B, C, D, E]),
    ],
)
def test_the_newest_releases_are_kept(releases: Releases, kept: int, left: list[str]) -> None:
    for number, release in enumerate((A, B, C, D, E)):
        stage(releases, release, number)
    releases.app["releases_kept"] = kept
    releases.retire(E)
    assert releases.staged() == left


def test_an_old_release_that_is_live_again_is_kept_with_the_newest_others(releases: Releases) -> None:
    for number, release in enumerate((A, B, C, D)):
        stage(releases, release, number)
    releases.app["releases_kept"] = 3
    releases.retire(A)
    assert releases.staged() == [A, C, D]


def test_a_build_that_broke_off_is_cleared_away(releases: Releases) -> None:
    stage(releases, A)
    os.makedirs(os.path.join(releases.path(B), "app"))
    releases.retire(A)
    assert os.listdir(releases.root) == [A]


def test_the_other_apps_of_the_host_are_left_alone(releases: Releases, program: Callable[..., dict[str, Any]]) -> None:
    other = f"shop-api-{A}"
    releases.supervisor.add(other, render_program(program(other), releases.supervisor.log_directory))
    before = releases.supervisor.call("getProcessInfo", other)["pid"]
    go_live(releases, A)
    go_live(releases, B)
    assert releases.supervisor.call("getProcessInfo", other)["pid"] == before


def test_each_release_leaves_one_line_in_the_log(described: Releases) -> None:
    described.log(A, "refused")
    described.log(B, "live")
    with open(os.path.join(described.home, "releases.log"), encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    assert [(line["release"], line["result"], line["by"]) for line in lines] == [
        (A, "refused", "tests@here"),
        (B, "live", "tests@here"),
    ]
    assert lines[0]["time"].endswith("Z")
    assert stat.S_IMODE(os.stat(os.path.join(described.home, "releases.log")).st_mode) & 0o007 == 0


Pack = Callable[..., str]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Pack files, with their modes, into an archive; all by one name when told."""

    def _pack(files: dict[str, int], name: str = "") -> str:
        archive = tmp_path / "source.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for file, mode in files.items():
                member = tarfile.TarInfo(name or file)
                member.mode, member.size = mode, len(file)
                tar.addfile(member, io.BytesIO(file.encode()))
        return str(archive)

    return _pack


def modes(directory: Path, *names: str) -> dict[str, int]:
    return {name: stat.S_IMODE((directory / name).stat().st_mode) for name in names}


def test_unpacked_files_are_readable_and_executable_as_in_the_source_and_nothing_more(
    pack: Pack, tmp_path: Path, own_files: None
) -> None:
    unpack(pack({"src/shop.py": 0o600, "run.sh": 0o4777, "data.txt": 0o666}), str(tmp_path / "app"))
    found = modes(tmp_path / "app", "src/shop.py", "run.sh", "data.txt")
    assert found == {"src/shop.py": 0o644, "run.sh": 0o755, "data.txt": 0o644}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil"])
def test_an_archive_that_leads_out_of_the_release_is_refused_by_the_name_of_the_file(
    pack: Pack, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ReleaseError, match=f"'{name}'"):
        unpack(pack({"evil": 0o644}, name), str(tmp_path / "app"))


@pytest.fixture
def build(
    described: Releases, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_files: None
) -> Callable[[], Path]:
    """Stage a release; its virtual environment is a stand-in, for a real one takes seconds."""

    def make_environment(path: str, _python: str, requirements: list[str], **_options: Any) -> None:
        os.makedirs(os.path.join(path, "lib", "python3.12", "site-packages"))
        Path(path, "asked-for").write_text("".join(Path(file).read_text() for file in requirements))

    monkeypatch.setattr(module, "BUILD_HOME", str(tmp_path / "build"))
    monkeypatch.setattr(module.venv, "install", make_environment)
    monkeypatch.setattr(module.venv, "find_interpreter", lambda _version: sys.executable)
    archive = pack({"src/shop.py": 0o644, "requirements.txt": 0o644})
    files = {"gunicorn.conf.py": "workers = 1\n", SERVER_LOCK: "gunicorn==27\n"}

    def _build() -> Path:
        described.stage(A, archive, files, {"version": "1"})
        return Path(described.path(A))

    return _build


def test_a_staged_release_has_its_code_its_configuration_its_packages_and_its_manifest(
    build: Callable[[], Path], described: Releases
) -> None:
    path = build()
    assert (path / "app" / "src" / "shop.py").exists()
    assert (path / "gunicorn.conf.py").read_text() == "workers = 1\n"
    assert (path / "venv" / "asked-for").read_text() == "gunicorn==27\nrequirements.txt"
    assert described.manifest(A)["version"] == "1"
    assert described.staged() == [A]


def test_the_code_of_a_release_is_importable_in_its_environment(build: Callable[[], Path]) -> None:
    path = build()
    (places,) = [file.read_text().split() for file in path.rglob("*.pth")]
    assert places == [str(path / "app" / "src"), str(path / "app")]


def test_the_environment_of_a_release_arrives_whole_and_is_closed_to_others(
    build: Callable[[], Path], described: Releases
) -> None:
    given = {
        "QUOTES": "'it\"s' \\",
        "LINES": "a\n b\r\n",
        "SHELL_CODE": "$(id) `id` $HOME ; # %s",
        "HAN": "漢字",
        "E": "",
    }
    described.app["program"]["environment"] = given
    path = build()
    out = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f". {path}/environment && exec {sys.executable} -c 'import os; print(ascii(dict(os.environ)))'",
        ],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    arrived = ast.literal_eval(out)
    assert {name: arrived.get(name) for name in given} == given
    assert arrived["APP_RELEASE"] == A
    assert modes(path, "environment", ".") == {"environment": 0o640, ".": 0o750}


def test_what_a_build_that_broke_off_left_is_not_in_the_next_one(
    build: Callable[[], Path], described: Releases
) -> None:
    leftover = Path(described.path(A)) / "app" / "leftover.py"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    build()
    assert not leftover.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a command as the app's user")
def test_an_app_that_cannot_be_imported_is_refused_with_the_last_line_of_its_traceback(releases: Releases) -> None:
    stage(releases, A)
    releases.check(A)
    releases.app["server"]["check"] = f"{sys.executable} -c 'import no_such_package; app'"
    with pytest.raises(ReleaseError) as refusal:
        releases.check(A)
    assert "'shop:app'" in str(refusal.value)
    assert "ModuleNotFoundError: No module named 'no_such_package'" in str(refusal.value)


class Staged(Releases):
    """Releases whose building and checking always succeed."""

    def stage(self, release: str, *_arguments: Any) -> None:
        stage(self, release, time.time())

    def check(self, release: str) -> None:
        pass


@pytest.fixture
def deploy(app: dict[str, Any], supervisor: Supervisor) -> Callable[..., Releases]:
    """Bring a release to the host as the module does."""

    def _deploy(release: str, **changes: dict[str, Any]) -> Releases:
        changed = {key: {**app[key], **value} for key, value in changes.items()}
        releases = Staged({**app, **changed}, supervisor)
        os.makedirs(app["home"], exist_ok=True)
        wanted = {
            **{"release": release, "socket_group": GROUP, "archive": "", "files": {}, "manifest": {}},
            **{"wheels": None, "wheels_archive": None},
        }
        release_module.activate(releases, wanted)
        return releases

    return _deploy


def results(releases: Releases) -> list[tuple[str, str]]:
    with open(os.path.join(releases.home, "releases.log"), encoding="utf-8") as stream:
        return [(line["release"], line["result"]) for line in map(json.loads, stream)]


UNHEALTHY = {"path": "/503", "timeout": 1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"health": UNHEALTHY}, "503"),
        ({"program": {"command": "sh -c 'echo the reason; exit 3'", "startsecs": 1, "startretries": 0}}, "the reason"),
    ],
    ids=["unhealthy", "dead"],
)
def test_a_broken_release_never_serves_a_request_and_leaves_only_a_line_in_the_log(
    deploy: Callable[..., Releases], changes: dict[str, Any], said: str
) -> None:
    releases = deploy(A)
    with pytest.raises(ReleaseError, match="not healthy") as refusal:
        deploy(B, **changes)
    assert said in str(refusal.value)
    assert who_answers(releases) == releases.current == A
    assert releases.programs() == [releases.program_name(A)]
    assert os.listdir(releases.root) == [A]
    assert results(releases) == [(A, "live"), (B, "refused")]


def test_a_release_that_broke_off_for_another_reason_is_cleared_away_as_well(
    deploy: Callable[..., Releases], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_releases: Releases, _release: str) -> None:
        raise OSError(28, "No space left on device")

    releases = deploy(A)
    monkeypatch.setattr(Staged, "check", fail)
    with pytest.raises(ReleaseError, match="No space left"):
        deploy(B)
    assert os.listdir(releases.root) == [A]


def test_the_live_release_is_not_taken_down_by_its_own_probe(deploy: Callable[..., Releases]) -> None:
    releases = deploy(A)
    with pytest.raises(ReleaseError, match="503"):
        deploy(A, health=UNHEALTHY)
    assert who_answers(releases) == releases.current == A


def test_a_release_that_was_live_before_can_be_live_again(deploy: Callable[..., Releases]) -> None:
    for release in (A, B, A):
        assert who_answers(deploy(release)) == release


def test_an_old_release_that_is_no_longer_fit_is_refused_and_kept(deploy: Callable[..., Releases]) -> None:
    deploy(A)
    releases = deploy(B)
    with pytest.raises(ReleaseError, match="503"):
        deploy(A, health=UNHEALTHY)
    assert releases.staged() == [A, B]
    assert who_answers(releases) == B


@pytest.fixture
def run_release(
    run_module: Callable[..., dict[str, Any]], releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run the module release on a host where A is live."""
    go_live(releases, A)
    monkeypatch.setattr(release_module, "Supervisor", lambda **_: releases.supervisor)
    monkeypatch.setattr(release_module, "Releases", Staged)

    def _run_release(phase: str, **changes: Any) -> dict[str, Any]:
        environment = base64.b64encode(json.dumps(releases.app["program"]["environment"]).encode()).decode()
        wanted = {"app": {**releases.app, **changes}, "socket_group": GROUP, "environment": environment}
        return run_module("release", {**wanted, "release": B, "phase": phase})

    return _run_release


def test_a_host_is_asked_for_what_it_has_without_touching_it(
    run_release: Callable[..., dict[str, Any]], releases: Releases
) -> None:
    before = sorted(os.walk(releases.home))
    result = run_release("inspect")
    assert result == {**result, "failed": False, "changed": False, "current": A, "staged": False, "settled": False}
    assert sorted(os.walk(releases.home)) == before


def test_a_release_that_went_live_is_a_change(run_release: Callable[..., dict[str, Any]], releases: Releases) -> None:
    result = run_release("activate")
    assert result == {**result, "failed": False, "changed": True, "current": B}
    assert run_release("inspect")["settled"]


def test_a_refused_release_is_told_with_its_reason_and_with_what_serves_on(
    run_release: Callable[..., dict[str, Any]], releases: Releases
) -> None:
    result = run_release("activate", health=UNHEALTHY)
    assert result == {**result, "failed": True, "release": B, "current": A}
    for part in ("app shop", B, "503", f"live release is {A}"):
        assert part in result["msg"]


def test_the_new_release_is_said_to_be_live_when_only_the_removal_of_the_old_one_failed(
    run_release: Callable[..., dict[str, Any]], releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_releases: Releases, _release: str) -> None:
        raise SupervisorError("supervisord does not answer")

    monkeypatch.setattr(Staged, "retire", fail)
    result = run_release("activate")
    assert who_answers(releases) == B
    assert result["current"] == B
    assert A not in result["msg"]
    assert (B, "live") in results(releases)
