"""Commands run as other accounts, in a unit of their own where systemd is, and nothing of them outlives it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.baremetal.web.plugins.module_utils._host import transient
from ansible_collections.baremetal.web.plugins.module_utils._host.transient import Unit, run
from conftest import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a command as another user")

BUS = transient.BUS
UNIT = Unit("tests", "nobody")


@pytest.fixture(params=["unit", "namespaces"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run it in each way that this machine has; hosts of the scenarios have systemd."""
    if request.param == "unit":
        if not (os.path.exists(BUS) and shutil.which("systemd-run")):
            pytest.skip("systemd does not run here")
        monkeypatch.setattr(transient, "BUS", BUS)
    return request.param


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that everybody may write to, where a unit with a /tmp of its own sees it."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as directory:
        os.chmod(directory, 0o777)
        yield Path(directory)


def shell(script: str, unit: Unit = UNIT, seconds: float = PATIENCE, directory: str = "/", **variables: str) -> str:
    plain = {"PATH": "/usr/bin:/bin", **variables}
    status, output = run(["sh", "-c", script], plain, seconds, directory, unit)
    assert status == 0, output
    return output


def test_a_command_runs_as_the_account_with_its_groups_and_these_variables_alone() -> None:
    nasty = "a 'b' \"c\" $HOME ${HOME} $$ %n \\ \n ü"
    assert shell("id -un; id -gn; id -Gn").split() == ["nobody", "nogroup", "nogroup"]
    assert shell('printf %s "$VALUE"', VALUE=nasty) == nasty
    names = {line.partition("=")[0] for line in shell("env").splitlines()}
    assert names <= {"PATH", "PWD", "SHLVL", "_"}


def test_what_a_shell_puts_after_a_dollar_is_the_commands_own() -> None:
    assert shell('X=1; Y="${X} $X $$"; test "${Y%% *}" = 1 && echo "%n ${X}"') == "%n 1\n"


def test_a_status_is_the_commands_and_its_input_is_empty() -> None:
    assert run(["sh", "-c", "cat; echo said; exit 7"], {}, PATIENCE, "/", UNIT) == (7, "said\n")


def test_an_account_runs_where_it_cannot_go_by_itself(place: Path) -> None:
    closed = place / "closed"
    (closed / "app").mkdir(parents=True)
    closed.chmod(0o700)
    assert shell("pwd", directory=str(closed / "app")) == f"{closed}/app\n"


def ticking(place: Path) -> str:
    """Return a script that leaves a process in a session of its own behind."""
    ticks = f"while sleep 0.05; do date +%N > {place}/ticks; done"
    return f"(setsid sh -c '{ticks}') & until test -s {place}/ticks; do sleep 0.05; done"


def stands_still(path: Path) -> bool:
    before = path.read_text()
    time.sleep(0.3)
    return path.read_text() == before


def test_nothing_of_a_command_outlives_it_and_nobody_waits_for_what_it_leaves_behind(place: Path) -> None:
    begun = time.monotonic()
    shell(ticking(place))
    assert time.monotonic() - begun < PATIENCE / 2
    assert stands_still(place / "ticks")


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_has_started(place: Path) -> None:
    for seconds in (1.5, 15):  # the second one where the machine is too slow to start so much in the first
        with pytest.raises(TimeoutError, match=f"{seconds} s"):
            shell(f"{ticking(place)}; sleep 60", seconds=seconds)
        if (place / "ticks").exists():
            break
    assert stands_still(place / "ticks")


def test_a_run_that_was_killed_leaves_nothing_for_the_next_one(place: Path) -> None:
    process = os.fork()
    if not process:
        try:
            shell(f"{ticking(place)}; sleep 60")
        finally:
            os._exit(0)
    wait_until((place / "ticks").exists)
    os.kill(process, 9)
    os.waitpid(process, 0)
    shell("true")
    assert stands_still(place / "ticks")


def test_a_directory_stands_in_the_place_of_another_one_for_the_command_alone(place: Path) -> None:
    for name in ("shown", "own one"):
        (place / name).mkdir()
    (place / "own one").chmod(0o777)
    shell(
        "echo mine > file",
        Unit("tests", "nobody", {str(place / "shown"): str(place / "own one")}),
        PATIENCE,
        f"{place}/shown",
    )
    assert (place / "own one" / "file").read_text() == "mine\n"
    assert list((place / "shown").iterdir()) == []


def test_a_confined_command_gets_no_more_rights_by_a_program() -> None:
    assert shell("grep NoNewPrivs /proc/self/status", UNIT._replace(confined=True)).split() == ["NoNewPrivs:", "1"]
    assert shell("grep NoNewPrivs /proc/self/status").split() == ["NoNewPrivs:", "0"]


def test_a_unit_has_a_tmp_of_its_own_unless_told(way: str) -> None:
    if way == "namespaces":
        pytest.skip("only systemd makes one")
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o644)
        assert "tmp" not in shell("ls /tmp")
        shell(f"test -e {file.name}", UNIT._replace(private=False))


def test_no_variable_stands_in_a_list_of_processes() -> None:
    found = shell("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '[h]unter2'; true", PASSWORD="hunter2")
    assert found.splitlines()[-1] == "0"
