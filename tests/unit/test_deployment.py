"""What makes a run with nothing to do short, and the tool that measures runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.path_profile import path_profile
from ansible_collections.baremetal.web.plugins.module_utils._host import pending_marker
from conftest import GROUP, OWNER, StandIns
from tests.fleet import images, inventory
from tests.fleet.process import FleetError
from tools import deployment_benchmark as tool
from tools import deployment_figures as figures
from tools import deployment_fleet
from tools.deployment_figures import Run

Change = Callable[..., dict[str, Any]]
RUN = Run(1, "noop", 1, "ansible-playbook site.yml", {}, 5.0, 3.0, tasks_per_host=40, tasks=40)


@pytest.fixture
def change(run_module: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Run service_config with a file of accounts and one that follows it."""
    monkeypatch.setattr(pending_marker, "DIRECTORY", str(tmp_path / "marks"))

    def _change(**more: Any) -> dict[str, Any]:
        own = {"owner": OWNER, "group": GROUP}
        return run_module(
            "service_config",
            {
                "account_files": [{"path": str(tmp_path / "accounts.conf"), "content": "g web -\n", **own}],
                "files": [{"path": str(tmp_path / "follows"), "content": "new\n", **own}],
                **more,
            },
            False,
        )

    return _change


def test_accounts_are_made_before_what_may_belong_to_them_is_written(
    change: Change, stand_ins: StandIns, tmp_path: Path
) -> None:
    stand_ins.add("systemd-sysusers", f"[ ! -e {tmp_path}/follows ]")
    assert change()["changed"]
    assert stand_ins.calls == [f"systemd-sysusers {tmp_path}/accounts.conf"]
    assert not change()["changed"]
    assert len(stand_ins.calls) == 1


def test_an_account_that_is_gone_is_made_again(change: Change, stand_ins: StandIns) -> None:
    stand_ins.add("systemd-sysusers")
    change()
    assert change(accounts=["no-such-account"])["changed"]
    assert len(stand_ins.calls) == 2


def test_accounts_that_systemd_refuses_leave_every_file_as_it_was(
    change: Change, stand_ins: StandIns, tmp_path: Path
) -> None:
    stand_ins.add("systemd-sysusers", "echo no such thing >&2; exit 1")
    assert "no such thing" in change()["msg"]
    assert not (tmp_path / "accounts.conf").exists()
    assert not (tmp_path / "follows").exists()


def test_the_facts_are_those_that_ansible_gathers(tmp_path: Path) -> None:
    facts = {}
    for module, words in (
        ("ansible.builtin.setup", ["-a", "gather_subset=!all,!min,distribution,pkg_mgr,platform,processor,selinux"]),
        ("baremetal.web.host_facts", []),
    ):
        command = ["ansible", "localhost", "-c", "local", "-m", module, *words, "--tree", str(tmp_path / module)]
        interpreter = ["-e", f"ansible_python_interpreter={sys.executable}"]
        subprocess.run([*command, *interpreter], check=True, capture_output=True)
        facts[module] = json.loads((tmp_path / module / "localhost").read_text())["ansible_facts"]
    gathered, own = facts.values()
    assert own.keys() >= {"ansible_distribution", "ansible_processor_nproc", "ansible_memtotal_mb", "ansible_selinux"}
    assert own == {name: gathered[name] for name in own}


def test_a_profile_adds_a_directory_that_is_there_once_and_last(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    profile = tmp_path / "profile.sh"
    profile.write_text(path_profile([f"{tmp_path}/one", f"{tmp_path}/none"]))
    script = f". {profile}; . {profile}; echo $PATH"
    said = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert said.stdout == f"/usr/bin:/bin:{tmp_path}/one\n"


@pytest.mark.parametrize(("uid", "added"), [(0, False), (1000, True)])
def test_roots_shell_leaves_out_what_an_app_might_have_written(tmp_path: Path, uid: int, added: bool) -> None:
    script = f"id() {{ echo {uid}; }}\n{path_profile([str(tmp_path)], for_root=False)}echo $PATH"
    said = subprocess.run(
        ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert said.stdout == f"/usr/bin:/bin{f':{tmp_path}' if added else ''}\n"


# The tool.


def test_the_tool_describes_a_fleet_that_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps(deployment_fleet.description(16, tmp_path)))
    fleet = inventory.load(path, images.platforms())
    assert len({host.address for host in fleet.hosts}) == 16


def ended(file: Path) -> bool:
    """Tell whether the process whose id is in the file ends."""
    status = Path("/proc", file.read_text().strip(), "status")
    deadline = time.monotonic() + 50
    while status.exists() and "zombie" not in status.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not status.exists() or "zombie" in status.read_text()


def test_a_run_that_takes_too_long_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    command = ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"]
    for seconds in (0.5, 10):  # the second one where the machine is too slow to start so much in the first
        started = time.monotonic()
        assert (
            deployment_fleet.finish(command, dict(os.environ), tmp_path / "log", seconds)
            == f"not done after {seconds} s"
        )
        assert time.monotonic() - started < 30
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    assert ended(tmp_path / "pid")


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[None]:
    """Press Ctrl-C as soon as the process whose id is to be in a file is there."""

    def interrupt(*_signal: object) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_an_interrupted_run_is_over_with_all_its_processes(
    tmp_path: Path, interrupted: None, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.setattr(deployment_fleet, "GRACE", 0.3)
    command = ["sh", "-c", f"{trap}sleep 60 & echo $$ > {tmp_path}/leader; echo $! > {tmp_path}/pid; wait"]
    with pytest.raises(KeyboardInterrupt):
        deployment_fleet.finish(command, dict(os.environ), tmp_path / "log", 60)
    # The hosts are removed next, so it is not only about to end.
    assert not Path("/proc", (tmp_path / "leader").read_text().strip()).exists()
    assert ended(tmp_path / "pid")


class Fleets:
    """Fleets that are only noted; every run of a playbook is well, but for those that are not."""

    def __init__(self, place: Path):
        self.output = place / "output"
        self.calls: list[str] = []
        self.refuse: dict[str, BaseException] = {}
        self.failing: set[str] = set()

    def up(self, fleet: inventory.Fleet) -> None:
        self.call(f"up {len(fleet.hosts)}")

    def down(self, fleet: inventory.Fleet, **_more: bool) -> None:
        up = f"up {len(fleet.hosts)}" in self.calls
        self.call(f"down {len(fleet.hosts)}{', again' if up else ''}")

    def call(self, what: str) -> None:
        self.calls.append(what)
        if what in self.refuse:
            raise self.refuse[what]

    def finish(self, _command: list[str], _environment: dict[str, str], log: Path, *_more: object) -> str:
        log.touch()
        self.call(log.stem)
        return "exit status 2" if log.stem in self.failing else "ok"

    def main(self, *words: str) -> int:
        return tool.main([*words, "--output", str(self.output)])

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.output / "deployments.json").read_text())


@pytest.fixture
def fleets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleets:
    fleets = Fleets(tmp_path)
    monkeypatch.setattr(deployment_fleet, "state_directory", lambda _name: tmp_path)
    monkeypatch.setattr(deployment_fleet.hosts, "up", fleets.up)
    monkeypatch.setattr(deployment_fleet.hosts, "down", fleets.down)
    monkeypatch.setattr(deployment_fleet, "finish", fleets.finish)
    return fleets


@pytest.mark.parametrize(("problem", "status"), [(FleetError("no room"), 2), (KeyboardInterrupt(), 130)])
def test_a_fleet_that_cannot_be_made_is_removed_and_takes_no_results_with_it(
    fleets: Fleets, problem: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fleets.refuse["up 4"] = problem
    assert fleets.main("--hosts", "1,4", "--cases", "noop") == status
    assert fleets.calls == [
        "down 1",
        "up 1",
        "fresh-1-1",
        "noop-1-1",
        "down 1, again",
        "down 4",
        "up 4",
        "down 4, again",
    ]
    assert [(run["hosts"], run["case"]) for run in fleets.results["runs"]] == [(1, "fresh"), (1, "noop")]
    assert fleets.results["unfinished"] == [4]
    said = "Not measured to the end: fleets of 4 hosts."
    assert said in (fleets.output / "deployments.md").read_text()
    assert said in capsys.readouterr().out


def test_a_run_that_is_cut_off_takes_no_results_with_it(fleets: Fleets) -> None:
    fleets.refuse["deploy-1-1"] = KeyboardInterrupt()
    assert fleets.main("--hosts", "1", "--cases", "noop,deploy") == 130
    assert fleets.calls[-1] == "down 1, again"
    assert [run["case"] for run in fleets.results["runs"]] == ["fresh", "noop"]


def test_what_was_wrong_first_is_what_is_said_last(fleets: Fleets, capsys: pytest.CaptureFixture[str]) -> None:
    fleets.refuse = {"up 1": FleetError("no image"), "down 1, again": FleetError("no podman")}
    assert fleets.main("--hosts", "1") == 2
    assert "no podman" in (said := capsys.readouterr().err)
    assert said.splitlines()[-1] == "deployment benchmark: no image"


def test_a_fleet_that_is_not_removed_is_an_error_and_its_results_stay(fleets: Fleets) -> None:
    fleets.refuse = {"down 1, again": FleetError("no podman")}
    assert fleets.main("--hosts", "1", "--cases", "noop") == 2
    assert [run["case"] for run in fleets.results["runs"]] == ["fresh", "noop"]
    assert fleets.results["unfinished"] == []


def test_results_of_before_stay_where_nothing_was_measured(fleets: Fleets) -> None:
    fleets.output.mkdir()
    (fleets.output / "deployments.json").write_text("{}")
    fleets.refuse["up 1"] = FleetError("no room")
    fleets.main("--hosts", "1")
    assert fleets.results == {}


def test_the_run_that_fills_the_cache_counts_only_where_it_failed(fleets: Fleets) -> None:
    words = ("--hosts", "1", "--cases", "noop,fact-cache")
    assert fleets.main(*words) == 0
    assert [(run["case"], run["round"]) for run in fleets.results["runs"][2:]] == [("fact-cache", 1)]
    fleets.failing = {"fact-cache-1-0"}
    assert fleets.main(*words) == 1
    cached = [run for run in fleets.results["runs"] if run["case"] == "fact-cache"]
    assert [(run["round"], run["status"]) for run in cached] == [(0, "exit status 2")]
    assert "| fact-cache | 1 | exit status 2 |" in (fleets.output / "deployments.md").read_text()


def test_several_rounds_give_a_median_with_the_least_and_the_most(fleets: Fleets) -> None:
    assert fleets.main("--hosts", "1", "--cases", "noop", "--rounds", "3") == 0
    assert [figure["runs"] for figure in fleets.results["figures"]] == [1, 3]
    runs = [replace(RUN, round=number, seconds=seconds) for number, seconds in enumerate((7.0, 5.0, 5.5))]
    (figure,) = figures.figures(runs)
    assert figure["seconds"] == {"median": 5.5, "least": 5.0, "most": 7.0}
    text = figures.report({"machine": {"cpus": 2, "python": "3.13"}, "ansible": "2.19"}, runs)
    assert "| site.yml, nothing to do | 1 | 3 | 5.5 (5.0 to 7.0) | 3.0 (3.0 to 3.0) |" in text


def test_what_a_host_more_costs_is_read_from_fleets_of_several_sizes() -> None:
    assert figures.slope([(1, 3.0), (4, 6.0), (10, 12.0)]) == pytest.approx(1)


def test_a_run_that_failed_is_named_and_has_no_figure() -> None:
    broken = Run(4, "deploy", 1, "", {}, 1.0, 1.0, status="exit status 2")
    text = figures.report({"machine": {"cpus": 2, "python": "3.13"}, "ansible": "2.19"}, [RUN, broken])
    assert "| site.yml, nothing to do | 1 | 1 | 5.0 | 3.0 | 40 | 40 | 0 |" in text
    assert figures.TITLES["deploy"] not in text
    assert "| deploy | 4 | exit status 2 |" in text


@pytest.mark.parametrize("words", [["--cases", "nop"], ["--hosts", "many"]])
def test_a_case_that_is_unknown_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(words)
    assert words[1] in capsys.readouterr().err
