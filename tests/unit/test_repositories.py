"""packages_repositories: what is refused on the controller, and what a host gets."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms import repositories
from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.repositories import (
    RepositoriesError,
    examine,
    resolve,
)

DEBIAN = {"os_family": "Debian", "distribution_release": "trixie"}
REDHAT = {"os_family": "RedHat", "distribution_release": "NA"}


def repository(**more: Any) -> dict[str, Any]:
    return {"name": "mirror", "url": "http://mirror.example.com/debian", **more}


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ("http://mirror", "must be a list"),
        ([["mirror"]], "no dictionary"),
        ([{"name": "mirror"}], "url is missing"),
        ([repository(keys="x")], r"unknown key keys \(did you mean key\?\)"),
        ([repository(name="Mirror")], "name is 'Mirror'"),
        ([repository(url="mirror.example.com/debian")], "must start with http://"),
        ([repository(url="http://me:hunter2@mirror.example.com/")], "holds a login"),
        ([repository(url="http://a/ http://b/")], "without spaces"),
        ([repository(key="key.asc")], "without fingerprints"),
        ([repository(key="key.asc", fingerprints=["8D88A2B3"])], "40 hexadecimal digits"),
        ([repository(key="nowhere.asc", fingerprints=["0" * 40])], "not on the controller"),
        ([repository(password="hunter2")], "without a username"),
        ([repository(families=["Suse"])], "Suse"),
        ([repository(), repository()], "used twice"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(described: Any, reason: str) -> None:
    (problem,) = examine(described, [])[1]
    assert re.search(reason, problem)
    assert "hunter2" not in problem


def test_a_host_gets_the_repositories_of_its_family_and_its_own_suite() -> None:
    described = [repository(), repository(name="el", families=["RedHat"], url="http://m/$basearch")]
    (mirror,) = resolve(described, DEBIAN, [])
    assert (mirror["suites"], mirror["components"]) == (["trixie"], ["main"])
    assert [one["name"] for one in resolve(described, REDHAT, [])] == ["mirror", "el"]


def test_one_name_may_stand_for_each_family_once() -> None:
    described = [repository(families=["Debian"]), repository(families=["RedHat"])]
    assert examine(described, [])[1] == []


def test_what_is_not_given_does_not_reach_the_host() -> None:
    (mirror,) = resolve([repository()], DEBIAN, [])
    assert not {"key", "username", "password", "fingerprints", "families"} & set(mirror)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the file of a key and its fingerprint."""
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)

    def gpg(*arguments: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--passphrase", "", *arguments]
        environment = {**os.environ, "GNUPGHOME": str(home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    gpg("--quick-generate-key", "mirror@example.com", "ed25519", "default", "never")
    file = home / "mirror.asc"
    file.write_text(gpg("--armor", "--export"))
    lines = gpg("--with-colons", "--fingerprint").splitlines()
    return file, next(line.split(":")[9] for line in lines if line.startswith("fpr"))


def test_a_key_is_found_beside_the_inventory_and_comes_as_text(key: tuple[Path, str]) -> None:
    file, fingerprint = key
    (mirror,) = resolve([repository(key=file.name, fingerprints=[fingerprint])], DEBIAN, [str(file.parent)])
    assert mirror["key"].startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


def test_another_key_than_the_promised_one_stops_everything(key: tuple[Path, str]) -> None:
    file, fingerprint = key
    with pytest.raises(RepositoriesError, match=f"repository mirror: .*{fingerprint}, which is not among"):
        resolve([repository(key=str(file), fingerprints=["0" * 40])], DEBIAN, [])


@pytest.fixture
def web(key: tuple[Path, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve the key's directory; return the key's address and what was asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(key[0].parent))

        def log_message(self, *arguments: Any) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mirror.asc", asked
        server.shutdown()


def test_a_key_of_the_web_is_fetched_once_and_checked_always(
    web: tuple[str, list[str]], key: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "CACHE", str(tmp_path / "cache"))
    address, asked = web
    described = [repository(key=address, fingerprints=[key[1]])]
    for _time in range(2):
        assert "BEGIN PGP" in resolve(described, DEBIAN, [])[0]["key"]
    assert asked == ["/mirror.asc"]
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_text("something else")
    with pytest.raises(RepositoriesError, match="not in the format"):
        resolve(described, DEBIAN, [])


def test_a_web_page_in_place_of_a_key_is_refused_and_not_kept(
    web: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "CACHE", str(tmp_path / "cache"))
    (problem,) = examine([repository(key=web[0].replace("mirror.asc", ""), fingerprints=["0" * 40])], [])[1]
    assert "not in the format of OpenPGP" in problem
    assert not (tmp_path / "cache").exists()
