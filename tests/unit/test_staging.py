"""A release is built where it will stay, and nothing that is not complete counts as one."""

from __future__ import annotations

import ast
import copy
import io
import json
import os
import pwd
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit
from ansible_collections.baremetal.web.plugins.module_utils._host.trees import chown_tree
from ansible_collections.baremetal.web.plugins.module_utils._host.venv import VenvError
from ansible_collections.baremetal.web.plugins.module_utils._release import home as app_home
from ansible_collections.baremetal.web.plugins.module_utils._release import staging as module
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home, ReleaseError
from ansible_collections.baremetal.web.plugins.module_utils._release.staging import (
    SERVER_LOCK,
    Staging,
    changed_names,
    environment_text,
    read_environment,
    release_id,
    unpack,
)
from conftest import GROUP, NO_HOOKS, OWNER, A, hook, killed_at

PARTS: tuple[str, dict[str, str]] = ("tree", {"server/options.json": "{}", SERVER_LOCK: "lock"})
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


@pytest.fixture
def app(program: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Describe an app, resolved."""
    return {
        "name": "shop",
        "user": OWNER,
        "build_user": OWNER,
        "entrypoint": "shop:app",
        "interface": "wsgi",
        "runner": {"endpoint": {"protocol": "http", "port": 0}},
        "python": {"version": "auto", "requirements": "requirements.txt", "source_builds_enabled": False},
        "health": {"path": "/", "timeout": 10, "stable": 5},
        "releases": {"keep": 5, "warm": 300, "keep_failed_enabled": False},
        "program": program("shop", command="serve $release", environment={"APP_NAME": "shop"}),
        "limits": {"memory": 0, "processes": 0, "open_files": 0},
        "private_tmp": True,
        "programs": [],
        "hooks": NO_HOOKS,
        "shared": {"directories": [], "files": []},
        "wheel": "",
        "uv": sys.executable,
        "index_url": "",
        "proxy_url": "",
        "no_proxy": [],
        "wheels": "",
    }


# The name of a release.


def test_the_same_parts_are_the_same_release(app: dict[str, Any]) -> None:
    assert release_id(app, *PARTS) == release_id(copy.deepcopy(app), *PARTS)


@pytest.mark.parametrize(
    "change",
    [
        {"entrypoint": "shop:other"},
        {"interface": "asgi"},
        {"runner": {"endpoint": {"protocol": "uwsgi", "port": 0}}},
        {"runner": {"endpoint": {"protocol": "http", "port": 5000}}},
        {"python": {"version": "3.12"}},
        {"python": {"requirements": "other.txt"}},
        {"program": {"environment": {"APP_NAME": "other"}}},
        {"programs": [{"name": "mailer"}]},
        {"limits": {"memory": 1 << 29, "processes": 0, "open_files": 0}},
        {"private_tmp": False},
        {"shared": {"directories": ["uploads"]}},
        {"hooks": {"migrate": [hook("true")]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_the_app_is_another_release(app: dict[str, Any], change: dict[str, Any]) -> None:
    changed = {key: {**app[key], **value} if isinstance(value, dict) else value for key, value in change.items()}
    assert release_id({**app, **changed}, *PARTS) != release_id(app, *PARTS)


@pytest.mark.parametrize(
    "parts",
    [
        ("x", PARTS[1]),
        ("tree", {**PARTS[1], "server/options.json": "x"}),
        ("tree", {**PARTS[1], SERVER_LOCK: "x"}),
        ("tree", {**PARTS[1], "server/baremetal_web/gevent.py": ""}),
    ],
)
def test_a_change_of_the_code_or_of_the_servers_files_is_another_release(
    app: dict[str, Any], parts: tuple[str, dict[str, str]]
) -> None:
    assert release_id(app, *parts) != release_id(app, *PARTS)


@pytest.mark.parametrize("change", [{"releases": {"keep": 9}}, {"health": {"path": "/x", "timeout": 1}}])
def test_what_is_not_in_a_release_makes_no_new_one(app: dict[str, Any], change: dict[str, Any]) -> None:
    assert release_id({**app, **change}, *PARTS) == release_id(app, *PARTS)


# The environment.

NASTY = {
    "QUOTES": "'it\"s' \\",
    "LINES": "a\n b\r\nc\rd\n",
    "SHELL_CODE": "$(id) `id` $HOME ; # %s",
    "KEY": "-----BEGIN KEY-----\nMII=\n-----END KEY-----\n",
    "JSON": '{"a": [1, "two"]}',
    "HAN": "漢字 😀",
    "EQUALS": "a=b=c",
    "EXPORT": "export X='1'",
    "E": "",
}


def test_an_environment_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "environment").write_bytes(environment_text(NASTY).encode())
    assert read_environment(str(tmp_path / "environment")) == NASTY


def test_a_shell_gets_the_same_environment(tmp_path: Path) -> None:
    (tmp_path / "environment").write_bytes(environment_text(NASTY).encode())
    show = f"{sys.executable} -c 'import os; print(ascii(dict(os.environ)))'"
    out = subprocess.run(
        ["/bin/sh", "-c", f". {tmp_path}/environment && exec {show}"],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    arrived = ast.literal_eval(out)
    assert {name: arrived.get(name) for name in NASTY} == NASTY


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ["/usr/local/bin", "/usr/bin", "/bin"]),
        ({"PATH": "/opt/tools/bin"}, ["/opt/tools/bin", "/usr/local/bin", "/usr/bin", "/bin"]),
        ({"PATH": "/bin:/opt/x"}, ["/bin", "/opt/x", "/usr/local/bin", "/usr/bin"]),
    ],
)
def test_the_commands_of_the_release_and_of_the_system_are_in_every_path(
    build: Build, given: dict[str, str], wanted: list[str]
) -> None:
    build.app["program"]["environment"] = given
    path = build()
    found = read_environment(str(path / "environment"))["PATH"]
    assert found.split(":") == [str(path / "venv" / "bin"), *wanted]


def test_what_is_different_between_environments_is_told_by_name_and_never_by_value() -> None:
    before = {"SAME": "hunter2", "CHANGED": "hunter2", "GONE": "hunter2"}
    after = {"SAME": "hunter2", "CHANGED": "correct-horse", "NEW": "correct-horse"}
    assert changed_names(before, after) == ["~ CHANGED", "- GONE", "+ NEW"]


# What the controller sends.

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


# Building.


class Build:
    """A release while it is built; its virtual environment is a stand-in, for a real one takes seconds."""

    def __init__(self, home: Home, app: dict[str, Any], pack: Pack):
        self.home, self.app, self.pack = home, app, pack
        self.files = {"src/shop.py": 0o644, "requirements.txt": 0o644}
        self.path = Path(home.release(A))
        self.installed: dict[str, Any] = {}

    def install(self, path: str, _python: str, requirements: list[str], **options: Any) -> None:
        path = options["unit"].binds[path]  # where the build user has it
        packages = Path(path, "lib", "python3.12", "site-packages")
        for name in ("Flask_Login-0.6.3", "gunicorn-27.0"):
            (packages / f"{name}.dist-info").mkdir(parents=True)
        Path(path, "asked-for").write_text("".join(Path(file).read_text() for file in requirements))
        chown_tree(path, *module.account(options["unit"].user))
        self.installed = options

    @property
    def staging(self) -> Staging:
        return Staging(self.home, self.app, A)

    def __call__(self) -> Path:
        texts = {"server/gunicorn.conf.py": "workers = 1\n", SERVER_LOCK: "gunicorn==27\n"}
        texts["requirements.txt"] = "flask\n"
        self.staging.build(self.pack(self.files), texts, {"version": "1"})
        self.staging.finish()
        return self.path


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that other users may enter; pytest's own is closed to them."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def build(app: dict[str, Any], pack: Pack, place: Path, monkeypatch: pytest.MonkeyPatch, own_files: None) -> Build:
    for owner in (app_home, module):
        monkeypatch.setattr(owner, "BUILD_HOME", str(place / "build"))
    home = Home("shop", str(place / "w"))
    home.create_directories(OWNER, GROUP)
    build = Build(home, app, pack)
    monkeypatch.setattr(module.venv, "install", build.install)
    monkeypatch.setattr(module.venv, "find_interpreter", lambda _version: sys.executable)
    return build


def test_a_staged_release_has_its_code_its_configuration_its_packages_and_its_manifest(build: Build) -> None:
    path = build()
    assert (path / "app" / "src" / "shop.py").exists()
    assert (path / "server" / "gunicorn.conf.py").read_text() == "workers = 1\n"
    assert (path / "venv" / "asked-for").read_text() == "gunicorn==27\nflask\n"
    manifest = build.home.manifest(A)
    assert (manifest["version"], manifest["release"]) == ("1", A)
    assert manifest["dependencies"] == {"flask-login": "0.6.3", "gunicorn": "27.0"}
    assert manifest["python"] == os.path.realpath(sys.executable)
    assert "healthy" not in manifest
    assert build.home.staged() == [A]


def test_the_code_of_a_release_is_importable_in_its_environment(build: Build) -> None:
    path = build()
    (places,) = [file.read_text().split() for file in path.rglob("*.pth")]
    assert places == [str(path / "app" / "src"), str(path / "app"), str(path / "server")]


def test_the_environment_of_a_release_is_closed_to_all_but_the_app(build: Build) -> None:
    build.app["program"]["environment"] = NASTY
    path = build()
    found = read_environment(str(path / "environment"))
    assert {name: found[name] for name in NASTY} == NASTY
    own = {"APP_RELEASE": A, "APP_ENTRYPOINT": "shop:app", "APP_INTERFACE": "wsgi"}
    own |= {"USER": build.app["user"], "LOGNAME": build.app["user"], "SHELL": "/bin/sh"}  # not those of root
    assert {name: found[name] for name in own} == own
    assert "APP_SOCKET" not in found  # it depends on the slot
    assert found["PATH"].split(":")[0] == str(path / "venv" / "bin")
    assert modes(path, "environment", ".") == {"environment": 0o440, ".": 0o750}
    owner = pwd.getpwnam(OWNER)
    info = (path / "environment").stat()
    assert (info.st_uid, info.st_gid, path.stat().st_gid) == (0, owner.pw_gid, owner.pw_gid)


@root_only
def test_what_is_built_is_roots_and_the_app_can_read_it_and_write_none_of_it(build: Build) -> None:
    build.app["user"] = build.app["build_user"] = "nobody"
    build.home.create_directories("nobody", GROUP)
    path = build()
    owners = {str(file.relative_to(path)): file.lstat().st_uid for file in path.rglob("*")}
    assert [name for name, uid in owners.items() if uid] == []
    for command, works in (("cat", True), ("touch", False)):
        for file in (
            path / "app" / "src" / "shop.py",
            path / "server" / "gunicorn.conf.py",
            path / "venv" / "asked-for",
        ):
            done = subprocess.run([command, str(file)], user="nobody", group="nogroup", capture_output=True)
            assert (done.returncode == 0) == works, (command, file)


def test_a_wheel_is_installed_after_its_dependencies(build: Build) -> None:
    build.app["wheel"] = "shop-1.2-py3-none-any.whl"
    build.files = {"shop-1.2-py3-none-any.whl": 0o644, "requirements.txt": 0o644}
    path = build()
    assert build.installed["package"] == str(path / "app" / "shop-1.2-py3-none-any.whl")
    build.app["wheel"] = ""
    build.files = {"shop.py": 0o644, "requirements.txt": 0o644}
    build()
    assert build.installed["package"] == ""


def test_what_a_build_that_broke_off_left_is_not_in_the_next_one(build: Build) -> None:
    leftover = build.path / "app" / "leftover.py"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    build()
    assert not leftover.exists()


def test_wherever_a_build_is_killed_it_does_not_count_and_the_next_one_is_whole(build: Build) -> None:
    """Killed for real, in a process of its own, before each of its steps."""
    build.app["shared"] = {"directories": ["uploads"], "files": ["one.db"]}
    build.files |= {"uploads/photo": 0o644, "one.db": 0o644}
    steps = [(module, name) for name in ("unpack", "write_file", "make_directory", "environment_text")]
    steps += [(module.trees, "copy"), (module.shutil, "rmtree")]
    steps += [(Staging, "finish"), (Staging, "_dependencies"), (module.venv, "run"), (module.venv, "install")]
    number, killed = 0, True
    while killed:
        killed = killed_at(number, build, steps)
        assert (build.home.staged() == []) == killed, number
        whole = build()
        assert build.home.staged() == [A]
        assert os.readlink(whole / "app" / "uploads") == f"{build.home.data}/shared/uploads"
        assert Path(build.home.data, "shared", "uploads", "photo").read_text() == "uploads/photo"
        build.home.drop(A)
        number += 1
    assert number > 15


# What is shared.


def shared(build: Build, name: str) -> Path:
    return Path(build.home.data, "shared", name)


def test_shared_paths_begin_as_the_source_has_them_and_then_belong_to_the_app(build: Build) -> None:
    build.app["shared"] = {"directories": ["uploads", "var/cache"], "files": ["var/one.db", "two.db"]}
    build.files |= {"uploads/photo": 0o644, "var/one.db": 0o644}
    path = build()
    assert (path / "app" / "uploads" / "photo").read_text() == "uploads/photo"
    assert (path / "app" / "var" / "one.db").read_text() == "var/one.db"
    for name in ("uploads", "var/cache", "var/one.db", "two.db"):
        assert os.readlink(path / "app" / name) == str(shared(build, name))
    assert shared(build, "var/cache").is_dir()
    assert not shared(build, "two.db").exists()
    shared(build, "uploads/photo").write_text("dear to somebody")
    shared(build, "var/one.db").write_text("rows")
    build.files |= {"uploads/other": 0o644}
    path = build()
    assert (path / "app" / "uploads" / "photo").read_text() == "dear to somebody"
    assert (path / "app" / "var" / "one.db").read_text() == "rows"
    assert not shared(build, "uploads/other").exists()


def test_a_path_where_packages_keep_data_is_shared_by_all_releases(build: Build) -> None:
    build.app["shared"] = {"directories": ["venv/var/shop-instance"], "files": ["venv/var/shop.db"]}
    path = build()
    assert os.readlink(path / "venv" / "var" / "shop.db") == str(shared(build, "venv/var/shop.db"))
    (path / "venv" / "var" / "shop-instance" / "note").write_text("kept")
    assert (build() / "venv" / "var" / "shop-instance" / "note").read_text() == "kept"
    assert not (path / "app" / "venv").exists()


@pytest.mark.parametrize("link", ["var", "var/deep"])
def test_a_link_that_a_package_has_made_leads_no_shared_path_out_of_the_release(
    build: Build, place: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    install = build.install

    def linking(path: str, *arguments: Any, **options: Any) -> None:
        install(path, *arguments, **options)
        made = Path(options["unit"].binds[path], link)
        made.parent.mkdir(exist_ok=True)
        made.symlink_to(place)
        chown_tree(options["unit"].binds[path], *module.account(options["unit"].user))

    monkeypatch.setattr(module.venv, "install", linking)
    build.app["shared"] = {"directories": ["venv/var/deep/shop"], "files": []}
    with pytest.raises(ReleaseError, match=r"'venv/var/deep/shop' of shared is behind a link"):
        build()
    assert not (place / "deep").exists()
    assert not (place / "shop").exists()


@root_only
def test_links_that_the_app_puts_into_its_data_do_not_lead_root_anywhere(build: Build, place: Path) -> None:
    build.app["user"] = build.app["build_user"] = "nobody"
    build.home.create_directories("nobody", GROUP)
    roots = place / "roots"
    (roots / "uploads").mkdir(parents=True)
    roots.chmod(0o755)
    uid = pwd.getpwnam("nobody").pw_uid
    Path(build.home.data, "shared").symlink_to(roots)
    os.lchown(Path(build.home.data, "shared"), uid, uid)
    build.app["shared"] = {"directories": ["new"], "files": []}
    with pytest.raises(VenvError, match=r"shared directory 'new'(?s:.)*Permission denied"):
        build()
    build.app["shared"] = {"directories": ["uploads"], "files": []}
    build.files |= {"uploads/photo": 0o644}
    with pytest.raises(VenvError, match=r"Copying 'uploads'(?s:.)*Permission denied"):
        build()
    assert [path.name for path in roots.rglob("*")] == ["uploads"]
    assert {path.stat().st_uid for path in (roots, *roots.rglob("*"))} == {0}


def hooked(build: Build, command: str, user: str = "nobody") -> Path:
    """Let a hook of a user work at the code of a release, really as that user."""
    with build.staging.opened(user) as binds:
        module.venv.run(["sh", "-c", command], "The hook", Unit("shop", user, binds), directory=str(build.path / "app"))
    return build.path / "app"


@root_only
def test_a_hook_writes_into_the_code_which_is_roots_again_in_new_files(build: Build) -> None:
    build.app["user"] = "nobody"
    path = build()
    script = path / "app" / "src" / "shop.py"
    before = script.stat().st_ino
    app = hooked(build, "id -un > who; chmod 6777 src src/shop.py; ln -s src/shop.py link; pwd > where")
    assert ((app / "who").read_text(), (app / "where").read_text()) == ("nobody\n", f"{app}\n")
    assert os.readlink(app / "link") == "src/shop.py"
    assert {file.lstat().st_uid for file in (app, *app.rglob("*"))} == {0}
    assert modes(app, "src", "src/shop.py", ".") == {"src": 0o755, "src/shop.py": 0o755, ".": 0o755}
    assert script.stat().st_ino != before
    assert not (path / "work").exists()


@root_only
def test_a_hook_that_fails_leaves_the_code_as_it_was(build: Build) -> None:
    build.app["user"] = "nobody"
    build()
    with pytest.raises(VenvError, match="The hook failed with exit status 3"):
        hooked(build, "rm -r src; exit 3")
    assert (build.path / "app" / "src" / "shop.py").exists()
    assert not (build.path / "work").exists()


@root_only
def test_the_live_app_keeps_nothing_of_a_release_that_it_opened_during_a_hook(
    build: Build, start: Callable[..., subprocess.Popen]
) -> None:
    """It is the same user as the hook, goes where the hook is by way of the kernel, and says so later."""
    build.app["user"] = "nobody"
    build()
    note = 'cd "$1" && exec 9>>src/shop.py && echo open && read word; echo note >&9 && touch note && echo written'
    with build.staging.opened("nobody") as binds:
        (copy,) = binds.values()
        # Not by its path,
        assert subprocess.run(["ls", copy], user="nobody", group="nogroup", extra_groups=[], check=False).returncode
        # but by the directory of the hook's process.
        hook_ = start("sleep", "60", cwd=copy, user="nobody", group="nogroup", extra_groups=[])
        as_app = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        app = start("sh", "-c", note, "sh", f"/proc/{hook_.pid}/cwd", **as_app, **pipes)
        assert app.stdout.readline() == b"open\n"
        hook_.kill()
    app.communicate(b"\n", 60)
    assert (build.path / "app" / "src" / "shop.py").read_text() == "src/shop.py"
    assert sorted(path.name for path in (build.path / "app").iterdir()) == ["requirements.txt", "src"]


@root_only
def test_a_hook_of_root_runs_in_a_directory_that_the_app_never_had(build: Build) -> None:
    build.app["user"] = "nobody"
    build()
    app = hooked(build, "echo touched > made-by-the-app")
    with build.staging.opened("root") as binds:
        assert binds == {}
        assert {file.lstat().st_uid for file in (build.path, app, *app.rglob("*"))} == {0}


@root_only
def test_a_process_that_a_hook_leaves_behind_is_ended(build: Build) -> None:
    build.app["user"] = "nobody"
    build()
    mark = Path(build.home.data, "mark")
    build.home.create_directories("nobody", GROUP)
    ticks = f"while sleep 0.05; do date +%N > {mark}; done"
    hooked(build, f"(setsid sh -c '{ticks}') > /dev/null 2>&1 & until test -s {mark}; do sleep 0.05; done")
    before = mark.read_text()
    time.sleep(0.3)
    assert mark.read_text() == before


@root_only
@pytest.mark.parametrize("left", ["a pipe", "another name of a file"])
def test_what_a_hook_leaves_and_no_release_can_hold_is_refused_by_its_name(
    build: Build, place: Path, left: str
) -> None:
    build.app["user"] = "nobody"
    build()

    def work() -> None:
        with build.staging.opened("nobody") as binds:
            (copy,) = binds.values()
            os.mkfifo(Path(copy, "pipe")) if "pipe" in left else os.link(build.path / "server.txt", Path(copy, "mine"))

    with pytest.raises(OSError, match="'pipe' is a pipe" if "pipe" in left else "'mine' belongs to root"):
        work()
    assert (build.path / "app" / "src" / "shop.py").exists()


# What a build may do.


@root_only
def test_a_link_that_a_package_puts_in_the_place_of_a_directory_leads_root_nowhere(
    build: Build, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "roots").mkdir()

    def install(path: str, *arguments: Any, **options: Any) -> None:
        build.install(path, *arguments, **options)
        packages = Path(options["unit"].binds[path], "lib", "python3.12", "site-packages")
        module.shutil.rmtree(packages)
        packages.symlink_to(place / "roots")
        os.lchown(packages, *module.account("nobody"))

    build.app["build_user"] = "nobody"
    monkeypatch.setattr(module.venv, "install", install)
    with pytest.raises(ReleaseError, match="or a link there"):
        build()
    assert list((place / "roots").iterdir()) == []


def test_packages_are_installed_by_uv_or_not_at_all(build: Build, place: Path) -> None:
    build.app["uv"] = str(place / "bin" / "uv")
    with pytest.raises(ReleaseError, match=r"/bin/uv' is not on this host.*Run site.yml"):
        build()
    assert build.home.staged() == []


@root_only
def test_a_build_sees_the_cache_of_its_app_alone_and_leaves_nothing_running(
    build: Build, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What installs is a shell, really the build user's, that looks around and leaves a process behind."""
    cache = Path(module.BUILD_HOME)

    def install(path: str, *_arguments: Any, **options: Any) -> None:
        ticks = f"while sleep 0.05; do date +%N > {cache}/ticks; done"
        steps = (
            f"id -un > {path}/who; ls -A {cache} > {path}/seen; echo mine > {cache}/mine",
            f"grep NoNewPrivs /proc/self/status > {path}/rights",
            f"mkdir -p {path}/lib/python3.12/site-packages; echo x > {build.path}/app/common.egg-info",
            f"(setsid sh -c '{ticks}') > /dev/null 2>&1 & until test -s {cache}/ticks; do sleep 0.05; done",
        )
        script = "; ".join((f"ls -A {options['home']} > {path}/home; touch {options['home']}/.netrc", *steps))
        module.venv.run(["sh", "-c", script], "The build", options["unit"])

    build.app["build_user"] = "nobody"
    build.app["python"] = {**build.app["python"], "source_builds_enabled": True}
    (cache / "other").mkdir(parents=True)
    monkeypatch.setattr(module.venv, "install", install)
    path = build()
    assert [(path / "venv" / name).read_text() for name in ("who", "seen")] == ["nobody\n", ""]
    assert (path / "venv" / "rights").read_text().split() == ["NoNewPrivs:", "1"]
    assert (cache / "shop" / "mine").read_text() == "mine\n"
    assert not (path / "app" / "common.egg-info").exists()
    ticks = (cache / "shop" / "ticks").read_text()
    time.sleep(0.3)
    assert (cache / "shop" / "ticks").read_text() == ticks
    assert (cache.stat().st_uid, stat.S_IMODE(cache.stat().st_mode)) == (0, 0o700)
    build()
    assert "mine" in (path / "venv" / "seen").read_text()
    assert (path / "venv" / "home").read_text() == ""  # nothing that the first build left in its home
    assert not (path / module.HOME).exists()
    assert json.loads((path / "release.json").read_text())["staged"]
