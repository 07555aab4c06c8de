"""Root reaches no file by a path that another account could lead elsewhere, in whatever the modules do for an app."""

from __future__ import annotations

import io
import os
import pwd
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_release_module import Host

from ansible_collections.baremetal.web.plugins.module_utils._host import pending_marker
from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit
from ansible_collections.baremetal.web.plugins.module_utils._release import fitness, operation, removal, staging
from ansible_collections.baremetal.web.plugins.module_utils._release import home as app_home
from ansible_collections.baremetal.web.plugins.module_utils._release.home import Home
from ansible_collections.baremetal.web.plugins.modules import release_abandon
from conftest import GROUP, NO_HOOKS, A, B, C, Shop, Systemd, hook

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")

APP, BUILD = "nobody", "daemon"
# These follow no link in the place of the last name, but those in the place of a directory above.
PLAIN = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.rename": 2, "os.link": 2}
FOLLOWING = ("open", "os.chown", "os.chmod", "os.utime", "os.truncate", "os.listdir", "os.scandir", "os.setxattr")


class Watch:
    """Notes what root does by a path of which an unprivileged account owns a part."""

    def __init__(self) -> None:
        self.on = False
        self.seen = 0
        self.found: list[str] = []
        sys.addaudithook(self.hear)  # it stays for as long as the process does

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or not (event in PLAIN or event in FOLLOWING or event == "os.symlink"):
            return
        self.on = False
        try:
            plain = event not in FOLLOWING or (event == "open" and bool((arguments[2] or 0) & os.O_NOFOLLOW))
            paths = arguments[1:2] if event == "os.symlink" else arguments[: PLAIN.get(event, 1)]
            for path in map(str, paths):
                # What is relative is so to a directory that is open.
                if path.startswith("/") and not path.startswith("/proc/"):
                    self.seen += 1
                    self.judge(event, path, plain)
        finally:
            self.on = True

    def judge(self, event: str, path: str, plain: bool) -> None:
        place = os.path.dirname(path)
        if plain:
            place = os.path.dirname(place)
        for lexical in {place, os.path.realpath(place)}:
            while lexical != "/":
                if os.path.lexists(lexical) and os.lstat(lexical).st_uid:
                    owner = pwd.getpwuid(os.lstat(lexical).st_uid).pw_name
                    self.found.append(f"{event} {path}: {lexical} belongs to {owner}")
                lexical = os.path.dirname(lexical)


@pytest.fixture(scope="session")
def only_watch() -> Watch:
    return Watch()


@pytest.fixture
def watch(only_watch: Watch) -> Iterator[Watch]:
    only_watch.found, only_watch.seen = [], 0
    yield only_watch
    only_watch.on = False


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that other accounts may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def host(
    shop: Shop,
    place: Path,
    run_module: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    systemd: Systemd,
) -> Host:
    """Return a host on which the app and its builds are two accounts; what installs is a shell, the build user's."""

    def install(path: str, *_arguments: Any, unit: Unit, **_options: Any) -> None:
        script = (
            f"mkdir -p {path}/lib/python3.12/site-packages/shop-1.dist-info {path}/bin; ln -s /bin/sh {path}/bin/python"
        )
        staging.venv.run(["sh", "-c", script], "The build", unit)

    for owner in (app_home, staging, removal):
        monkeypatch.setattr(owner, "BUILD_HOME", str(place / "build"))
    for owner in (fitness, operation, release_abandon, removal):
        monkeypatch.setattr(owner, "Supervisor", lambda: shop.supervisor)
    monkeypatch.setattr(removal, "LOGS", shop.supervisor.log_directory)
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(place / "marks"))
    monkeypatch.setattr(staging.venv, "install", install)
    monkeypatch.setattr(staging.venv, "find_interpreter", lambda _version: sys.executable)
    shop.home = Home("shop", str(place / "w"))
    host = Host(shop, run_module, place)
    with tarfile.open(host.archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("shop.py"), io.BytesIO())
    return host


def test_the_watch_sees_what_root_does_where_another_account_may_put_a_link(watch: Watch, place: Path) -> None:
    theirs = place / "theirs" / "deep"
    theirs.mkdir(parents=True)
    os.chown(theirs.parent, pwd.getpwnam(APP).pw_uid, -1)
    watch.on = True
    (theirs.parent / "file").write_text("x")
    os.chmod(theirs.parent / "file", 0o600)
    os.unlink(theirs.parent / "file")  # leads nowhere
    os.rmdir(theirs)
    watch.on = False
    assert [line.split()[0] for line in watch.found] == ["open", "os.chmod"]


def test_no_module_reaches_a_file_by_a_path_that_an_account_could_lead_elsewhere(watch: Watch, host: Host) -> None:
    """Stage, activate, roll back, prune, remove with and without the data, and come back."""
    asked = host.asked
    hooks = {kind: [hook("true")] for kind in NO_HOOKS}
    hooks["after_stage"] = [hook("mkdir assets && echo x > assets/all.css", user=""), hook("ls", "root", user="root")]

    def described(release: str, version: str, changes: dict[str, Any]) -> dict[str, Any]:
        own = {"user": APP, "hooks": hooks, "releases": {"keep": 1, "warm": 300}}
        found = asked(release, version, {**own, **changes})
        more = {
            "user": APP,
            "build_user": BUILD,
            "shared": {"directories": ["uploads/photos"], "files": ["var/one.db"]},
        }
        found["app"].update(more, python={**found["app"]["python"], "source_builds_enabled": True})
        return found

    host.asked = described  # type: ignore[method-assign]
    watch.on = True
    for number, release in enumerate((A, B, C), 1):
        answer = host.deploy(release, f"{number}.0")
        assert not answer["failed"], answer["msg"]
    assert host("rollback")["release"] == B
    assert host("abandon", release=C)["failed"] is False
    host.run_module("app_info", {"apps": ["shop"], "root": os.path.dirname(host.home.path)})
    for data_kept in (True, False):
        data = Path(host.home.data, "shared", "uploads", "photo")
        watch.on = False
        data.touch()
        watch.on = True
        removed = host.run_module("removal", {"phase": "app", "app": "shop", "data_kept": data_kept})
        assert not removed["failed"], removed["msg"]
        assert data.exists() is data_kept
        if data_kept:
            host.home.create_directories(APP, GROUP)
    watch.on = False
    assert watch.found == []
    assert watch.seen > 300
