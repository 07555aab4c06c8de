"""If a release is bad in any way, the previous one goes on answering, and one message says what is wrong."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import apps, eventually, name, play
from traffic import STAMPED, Target, ask, lives, load, stamped, state

HOSTS = ("app-centos", "app-debian")
LIMIT = f"--limit={','.join(HOSTS)}"
HOME = "/srv/wsgi/stamped"
LIGHT: dict[str, Any] = {"rate": 10, "connections": {"kept": 1, "closed": 1, "post": 1, "slow": 1}}


@dataclass(frozen=True)
class Bad:
    """A release that is not fit, the step at which that shows, and what is said about it."""

    step: str
    says: str
    description: dict[str, Any] = field(default_factory=dict)
    requirements: str = ""

    def described(self, source: Path) -> dict[str, Any]:
        """Describe the app with what is wrong in it."""
        if self.requirements:
            (source / "requirements.txt").write_text(self.requirements)
        python = {"requirements": "requirements.txt" if self.requirements else ""}
        return stamped("stamped", source, python=python, **self.description)


def fails(how: str, **health: int) -> dict[str, Any]:
    return {"environment": {"FAILS": how}, "health": health}


def hook(kind: str, then: str, **values: Any) -> dict[str, Any]:
    return {"hooks": {kind: [{"name": "told", "command": f"python hook.py told {then}", **values}]}}


BAD = {
    "fails to import": Bad("check", "this release cannot be imported", fails("import")),
    "fails its probe": Bad("healthy", "within 8 s: answer 500", fails("health", timeout=8)),
    # Counted from another moment: a busy machine takes seconds from the start to the import.
    "dies after three seconds": Bad("stable", "healthy on /healthz at first, but not", fails("dies", stable=20)),
    "loses its workers after three seconds": Bad(
        "stable", "a process of it has ended", fails("workers_die", stable=20)
    ),
    "listens but hangs": Bad(
        "healthy", "within 4 s: no answer", {**fails("hangs", timeout=4), "server": {"graceful_timeout": 2}}
    ),
    "needs what does not exist": Bad("stage", "six==99.0", requirements="six==99.0\n"),
    "needs what has another hash": Bad("stage", "[Hh]ash", requirements=f"six==1.17.0 --hash=sha256:{'0' * 64}\n"),
    "has a hook that fails after staging": Bad("after_stage", "told to fail", hook("after_stage", "fail")),
    "has a hook that takes too long": Bad("before_activate", "2 s", hook("before_activate", "hang", timeout=2)),
    "has a hook that fails before the switch": Bad("before_activate", "told to fail", hook("before_activate", "fail")),
    "has a migration that fails": Bad("migrate", "told to fail", hook("migrate", "fail")),
}
# What can be seen only after the switch, so that clients have met the release.
REVERTED = {
    "has a background program that ends": Bad(
        "background",
        "told to fail",
        {"programs": [{"name": "worker", "command": "python background.py fail"}]},
    ),
    "has a hook that fails after the switch": Bad("after_activate", "told to fail", hook("after_activate", "fail")),
}


def converge(described: dict[str, Any], *arguments: str) -> tuple[int, str]:
    """Bring the app to both hosts; return the exit status and what was printed."""
    return play("site.yml", LIMIT, "--tags=wsgi", *arguments, wsgi_apps=[*apps(), described], wsgi_selected=["stamped"])


@pytest.fixture(scope="module")
def hosts(connect: Callable[[str], Host]) -> list[Host]:
    """The hosts that get releases."""
    return [connect(host) for host in HOSTS]


@pytest.fixture(scope="module", autouse=True)
def good() -> Iterator[None]:
    """A good release of the app on both hosts."""
    code, _ = play("site.yml", LIMIT, wsgi_apps=[*apps(), stamped("stamped")])
    assert code == 0
    yield
    code, _ = play("playbooks/remove.yml", LIMIT, remove="stamped", confirm="stamped", remove_data=True)
    assert code == 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the app, in which something can be wrong."""
    return Path(shutil.copytree(STAMPED, tmp_path / "stamped", ignore=shutil.ignore_patterns("__pycache__")))


@contextmanager
def unnoticed(hosts: list[Host], client: Host, live: bool = False) -> Iterator[None]:
    """See that clients notice nothing of what the block does, and that it leaves every host as it was."""
    before = [state(host, "stamped") for host in hosts]
    with load(client, [Target(host, "stamped") for host in hosts], **LIGHT) as judgement:
        yield
    judgement.assert_flawless(in_order=not live)
    # A unit that has ended is in systemd's list for a moment more.
    assert eventually(lambda: (after := [state(host, "stamped") for host in hosts]) == before or print(after))


def complaints(output: str) -> dict[str, tuple[str, str, str]]:
    """Return of each host's message about the app the release, the step and the rest."""
    begin = r"(?:failed|fatal): \["
    message = rf"{begin}([a-z-]+)\](?:: FAILED!)?(?: \(item=[^)]*\))? =>(?:(?!{begin}).)*?"
    message += r"app stamped: release ([0-9a-f]{12}): (\w+): (.*?)"
    found = re.findall(message + rf"(?={begin}|TASK \[|PLAY RECAP)", output)
    return {host: (release, step, rest) for host, release, step, rest in found}


def check(bad: Bad, output: str, hosts: list[Host]) -> None:
    """See that each host's message says what is wrong, where, and which release is live."""
    if bad.step == "migrate":
        # A migration is the whole fleet's: the first host runs it for all, and the others say where it failed.
        hosts, others = hosts[:1], hosts[1:]
        for host in others:
            stays = f"app stamped: its release does not go live. It failed on {name(hosts[0])}."
            assert re.search(rf"fatal: \[{name(host)}\]: FAILED! =>(?:(?!fatal: \[).)*?{stays}", output)
    found = complaints(output)
    for host in hosts:
        release, step, rest = found[name(host)]
        assert step == bad.step
        assert re.search(bad.says, rest)
        assert f"The live release is {lives(host, 'stamped')[-1]}" in rest
        assert release not in lives(host, "stamped")


@pytest.mark.parametrize("what", BAD)
def test_no_client_meets_a_release_that(what: str, hosts: list[Host], client: Host, source: Path) -> None:
    with unnoticed(hosts, client):
        code, output = converge(BAD[what].described(source))
    assert code == 2
    check(BAD[what], output, hosts)


@pytest.mark.parametrize("what", REVERTED)
def test_no_request_fails_while_a_release_is_taken_back_that(
    what: str, hosts: list[Host], client: Host, source: Path
) -> None:
    with unnoticed(hosts, client, live=True):
        code, output = converge(REVERTED[what].described(source))
    assert code == 2
    check(REVERTED[what], output, hosts)


@pytest.fixture
def full_disk(hosts: list[Host]) -> Iterator[None]:
    """A disk for releases that has room for nothing but the one that is there."""
    for host in hosts:
        live = lives(host, "stamped")[-1]
        host.check_output(
            f"mkdir /mnt/live && mount --bind {HOME}/releases/{live} /mnt/live"
            f" && mount -t tmpfs -o size=1m,mode=0755 tmpfs {HOME}/releases && mkdir {HOME}/releases/{live}"
            f" && mount --bind /mnt/live {HOME}/releases/{live}"
        )
    yield
    for host in hosts:
        host.check_output(f"umount {HOME}/releases/[0-9a-f]* {HOME}/releases /mnt/live && rmdir /mnt/live")


@pytest.mark.usefixtures("full_disk")
def test_no_client_notices_that_the_disk_is_full(hosts: list[Host], client: Host) -> None:
    with unnoticed(hosts, client):
        code, output = converge(stamped("stamped", environment={"VERSION": "too big"}))
    assert code == 2
    check(Bad("stage", "No space left on device"), output, hosts)


def test_a_release_that_failed_is_kept_for_a_look_when_asked_for_and_never_goes_live(
    hosts: list[Host], source: Path
) -> None:
    described = BAD["fails its probe"].described(source) | {"releases": {"keep_failed_enabled": True}}
    before = [state(host, "stamped") for host in hosts]
    code, output = converge(described)
    assert code == 2
    check(BAD["fails its probe"], output, hosts)
    for host, earlier in zip(hosts, before, strict=True):
        (release, _, _), kept = complaints(output)[name(host)], state(host, "stamped")
        assert set(kept.pop("releases").split()) == {*earlier.pop("releases").split(), release}
        assert kept == earlier
        answer = ask(name(host), "release_rollback", name="stamped", to=release)[name(host)]
        assert "was never healthy" in answer["msg"]


def test_after_all_that_a_good_release_goes_live(hosts: list[Host]) -> None:
    before = [len(lives(host, "stamped")) for host in hosts]
    code, _ = converge(stamped("stamped", environment={"VERSION": "2"}))
    assert code == 0
    assert [len(lives(host, "stamped")) for host in hosts] == [number + 1 for number in before]
