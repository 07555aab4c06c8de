"""The tool that compares deployments of this tree with those of a commit."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fleet import images, inventory
from tools import deployment_benchmark as tool
from tools import deployment_comparison as comparison
from tools import deployment_fleet
from tools.deployment_comparison import Plan, Tree
from tools.deployment_figures import Costs, Ratio, Run, comparison_report, ratios

MEASURE = comparison.SCRIPTS / "measure.sh"
OURS, THEIRS = Tree("this", "this tree", Path("/ours"), "1"), Tree("that", "abc", Path("/theirs"), "2")


def made(case: str, of: str, seconds: float, cpu: float, hosts: int = 1, **more: Any) -> Run:
    """Return a run that took so long."""
    return Run(hosts, case, 1, "", {}, seconds, cpu, of=of, **more)


@pytest.fixture
def runs() -> list[Run]:
    """Return the runs of two trees, of which the second is twice as dear."""
    return [
        run
        for of, factor in (("this", 1), ("that", 2))
        for run in (
            made("noop", of, 6.0 * factor, 3.0 * factor, tasks=36 * factor, parent_cpu_seconds=0.5),
            made("noop", of, 9.0 * factor, 6.0 * factor, hosts=4, parent_cpu_seconds=1.4),
            made("counted", of, 30.0, 10.0, round_trips=10),
            made("site", of, 12.0 * factor, 4.0, host_seconds=8.0),
            made("fresh", of, 20.0 * factor, 4.0),
        )
    ]


# Arithmetic.


def test_a_further_host_costs_what_the_largest_fleet_takes_more_for_each_of_its_other_hosts(runs: list[Run]) -> None:
    assert Costs(runs, "this").further("cpu_seconds") == pytest.approx((6 - 3) / 3)
    assert Costs(runs, "that").further("cpu_seconds") == pytest.approx((12 - 6) / 3)


def test_a_large_fleet_is_calculated_from_the_first_host_and_the_further_ones(runs: list[Run]) -> None:
    estimate = Costs(runs, "this").estimate(size=1000, cores=8, forks=80)
    assert estimate.by_cpu == pytest.approx((3 + 999 * 1) / 8)
    assert estimate.one_process == pytest.approx(0.5 + 999 * 0.3)
    # Ten round trips of (6 - 3) / 10 s, for thirteen groups of hosts.
    assert estimate.by_waiting == pytest.approx(10 * 13 * 0.3)
    assert estimate.least == estimate.one_process


def test_a_release_is_measured_over_what_the_host_itself_takes(runs: list[Run]) -> None:
    assert Costs(runs, "this").overhead("site") == pytest.approx(4)
    assert Costs(runs, "that").overhead("site") == pytest.approx(16)


def test_a_figure_is_the_median_of_the_runs_that_went_well(runs: list[Run]) -> None:
    runs += [
        made("fresh", "this", 22.0, 4.0),
        made("fresh", "this", 90.0, 4.0),
        made("fresh", "this", 1.0, 1.0, status="exit status 2"),
    ]
    assert Costs(runs, "this").value("fresh", "seconds") == 22


def test_ratios_are_of_this_tree_to_the_commit(runs: list[Run]) -> None:
    rows = ratios(runs, "this", "that")
    found = {row.what: row for row in rows}
    assert len(found) == len(rows)
    assert found["nothing to do, 1 host: tasks"] == Ratio("nothing to do, 1 host: tasks", 36, 72)
    assert found["nothing to do, 1 host: seconds"].ratio == 0.5
    assert found["fresh host: seconds"].ratio == 0.5


def test_a_figure_that_is_missing_has_no_ratio_and_the_others_have_theirs(runs: list[Run]) -> None:
    data = {
        "trees": [{"key": "this", "title": "this tree", "commit": "1"}, {"key": "that", "title": "abc", "commit": "2"}],
        "machine": {"cpus": 2, "python": "3.13"},
        "ansible": "2.19",
        "hosts": [1],
        "rounds": 1,
        "finished": False,
    }
    broken = made("deploy", "that", 1.0, 1.0, status="exit status 2")
    text = comparison_report(data, [*(run for run in runs if run.hosts == 1), broken])
    assert "| nothing to do, 1 host: seconds | 6 | 12 | 0.50 |" in text
    assert "| nothing to do, each further host: CPU seconds | not measured | not measured |  |" in text
    assert "Not measured to the end." in text
    assert "| abc | deploy | 1 | exit status 2 |" in text
    assert json.loads(json.dumps(Ratio("x", math.nan, 1).told(), allow_nan=False))["ratio"] is None


def test_simulated_hosts_stand_beside_what_was_calculated_of_them(runs: list[Run]) -> None:
    runs.append(made("simulated", "this", 300.0, 205.0, hosts=200))
    found = {row.what: row for row in ratios(runs, "this", "that")}
    assert found["200 simulated hosts, nothing to do: CPU seconds"].ours == 205
    assert found["200 simulated hosts, nothing to do: CPU seconds, calculated"].ours == pytest.approx(3 + 199)


# What is read from runs and hosts.


def test_round_trips_are_the_commands_of_ssh() -> None:
    output = "<10.0.0.2> ESTABLISH SSH CONNECTION\n<10.0.0.2> SSH: EXEC ssh a\nok: [a]\n<10.0.0.2> SSH: EXEC sftp b\n"
    assert comparison.round_trips(output) == 2


def test_the_cpu_time_of_a_process_that_nobody_waits_for_is_read() -> None:
    work = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert comparison.cpu_seconds(process.pid) >= 0.15
        process.communicate(b"\n")
    assert comparison.cpu_seconds(process.pid) == 0


@pytest.mark.parametrize(("changed", "status"), [(True, 0), (True, 3), (False, 0)])
def test_the_stand_in_for_python_measures_modules_that_change_something(
    tmp_path: Path, changed: bool, status: int
) -> None:
    subprocess.run(["sh", MEASURE, tmp_path / "python", tmp_path / "measured"], check=True)
    module = f"import json, sys, time; time.sleep(0.2); print(json.dumps({{'changed': {changed}}})); sys.exit({status})"
    done = subprocess.run([f"{tmp_path}/python"], input=module, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {"changed": changed}
    assert done.returncode == status
    took = "".join(path.read_text() for path in (tmp_path / "measured").iterdir())
    assert (comparison.host_seconds(took) >= 0.2) is changed


def test_the_stand_in_for_python_hands_a_file_on(tmp_path: Path) -> None:
    subprocess.run(["sh", MEASURE, tmp_path / "python", tmp_path / "measured"], check=True)
    words = [f"{tmp_path}/python", "-c", "import sys; print(sys.argv[1:], sys.stdin.read())", "a b"]
    assert subprocess.run(words, input="c", capture_output=True, text=True, check=True).stdout == "['a b'] c\n"


# The hosts.


def test_the_hosts_of_both_trees_are_different_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "state_directory", lambda _name: tmp_path)
    both = comparison.Comparison(Plan((1, 16), 5, 0, OURS, THEIRS), tmp_path, 1)
    seen = set()
    for both.fresh in (0, 1, 5):
        path = tmp_path / "hosts.yml"
        path.write_text(yaml.safe_dump(both.described()))
        fleet = inventory.load(path, images.platforms())
        assert len(fleet.hosts) == 32 + 2 * bool(both.fresh)
        seen |= {host.address for host in fleet.hosts}
    assert len(seen) == 32 + 4


def test_the_trees_take_turns() -> None:
    plan = Plan((1,), 2, 0, OURS, THEIRS)
    assert [plan.turns(number)[0].key for number in (1, 2, 3)] == ["this", "that", "this"]


# The command.


def git(place: Path, *words: str) -> str:
    """Run git with an identity."""
    identity = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(place), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **identity})
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository with a commit that can be measured, and one before that cannot."""
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "--quiet")
    git(place, "commit", "--quiet", "--allow-empty", "-m", "nothing yet")
    git(place, "tag", "empty")
    for name in comparison.NEEDED:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x\n")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "-m", "something")
    monkeypatch.setattr(comparison, "REPOSITORY", place)
    return place


class Fleets:
    """Fleets and runs that are only noted, until one is interrupted."""

    def __init__(self, place: Path):
        self.output = place / "output"
        self.calls: list[str] = []
        self.trees: set[Path] = set()
        self.interrupt = ""
        self.signal = signal.SIGINT

    def up(self, fleet: inventory.Fleet) -> None:
        self.calls.append(f"up {len(fleet.hosts)}")

    def down(self, _fleet: inventory.Fleet, **_more: bool) -> None:
        self.calls.append("down")

    def finish(self, _command: list[str], environment: dict[str, str], log: Path, _timeout: float, tree: Path) -> str:
        assert not {"PYTHONDONTWRITEBYTECODE", "ANSIBLE_FORKS"} & environment.keys()
        assert (tree / "site.yml").exists()
        log.write_text("<a> SSH: EXEC ssh\n")
        self.calls.append(log.stem)
        self.trees.add(tree)
        if log.stem == self.interrupt:
            signal.raise_signal(self.signal)
        return "ok"

    def main(self, *words: str) -> int:
        return tool.main([*words, "--output", str(self.output)])

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.output / "comparison.json").read_text())


@pytest.fixture
def fleets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Fleets:
    fleets = Fleets(tmp_path)
    monkeypatch.setenv("ANSIBLE_FORKS", "1")
    monkeypatch.setattr(comparison, "state_directory", lambda _name: tmp_path)
    monkeypatch.setattr(comparison.Comparison, "on_host", lambda *_words: "1000000000\n")
    monkeypatch.setattr(deployment_fleet.hosts, "up", fleets.up)
    monkeypatch.setattr(deployment_fleet.hosts, "down", fleets.down)
    monkeypatch.setattr(deployment_fleet, "finish", fleets.finish)
    return fleets


def test_both_trees_run_in_turn_and_nothing_stays(fleets: Fleets, repository: Path) -> None:
    assert fleets.main("--against", "HEAD", "--hosts", "1,2", "--rounds", "2", "--simulated", "200") == 0
    assert fleets.calls == [
        *("down", "up 4", "this-provision-2-1", "that-provision-2-1", "up 6"),
        *("this-fresh-1-1", "that-fresh-1-1", "this-noop-1-1", "that-noop-1-1", "this-noop-2-1", "that-noop-2-1"),
        "up 6",
        *("that-fresh-1-2", "this-fresh-1-2", "that-noop-1-2", "this-noop-1-2", "that-noop-2-2", "this-noop-2-2"),
        *("this-counted-1-1", "that-counted-1-1", "this-simulated-200-1", "that-simulated-200-1"),
        *("this-site-1-1", "that-site-1-1", "this-deploy-1-1", "that-deploy-1-1"),
        *("that-site-1-2", "this-site-1-2", "that-deploy-1-2", "this-deploy-1-2"),
        "down",
    ]
    assert len(fleets.trees) == 2
    assert [tree for tree in fleets.trees if tree.exists()] == [repository]
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert fleets.results["finished"]
    assert {row["what"]: row["ratio"] for row in fleets.results["ratios"]}["nothing to do, 1 host: round trips"] == 1
    numbers = [run["command"].partition("number=")[2] for run in fleets.results["runs"] if run["case"] == "site"]
    assert [number.split()[0] for number in numbers] == ["1", "1", "3", "3"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_removes_hosts_and_files_and_keeps_its_results(
    fleets: Fleets, repository: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    fleets.interrupt, fleets.signal = "that-noop-1-1", number
    assert fleets.main("--against", "HEAD", "--hosts", "1,2") == 130
    assert fleets.calls[-2:] == ["that-noop-1-1", "down"]
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert not fleets.results["finished"]
    assert [run["case"] for run in fleets.results["runs"]][-2:] == ["fresh", "noop"]
    assert "Not measured to the end." in capsys.readouterr().out


@pytest.mark.parametrize("commit", ["no-such-commit", "empty", "--help", ""])
def test_a_commit_that_cannot_be_measured_is_refused_before_there_is_a_host(
    fleets: Fleets, commit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleets.main(f"--against={commit}") == 2
    assert f"--against names {commit!r}" in capsys.readouterr().err
    assert fleets.calls == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "HEAD", "--hosts", "2,4"), "name 1 in --hosts"),
        (("--against", "HEAD", "--hosts", "1,4,4"), "twice"),
        (("--against", "HEAD", "--hosts", "1,200"), "no room"),
        (("--against", "HEAD", "--hosts", "0"), "'0' is not a list"),
        (("--against", "HEAD", "--hosts", ","), "',' is not a list"),
        (("--against", "HEAD", "--rounds", "0"), "'0' is not a number"),
        (("--against", "HEAD", "--cases", "noop"), "--cases cannot go with --against"),
        (("--simulated", "200"), "--simulated needs --against"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_there_is_a_host(
    fleets: Fleets, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        fleets.main(*words)
    assert said in capsys.readouterr().err
    assert fleets.calls == []


def test_a_run_that_changes_something_where_nothing_was_to_do_has_no_figure(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(command: list[str], environment: dict[str, str], log: Path, *more: Any) -> str:
        told = {"tasks": [], "parent_cpu_seconds": 0.1, "hosts": {"a": dict.fromkeys(("ok", "skipped"), 1)}}
        told["hosts"]["a"] |= {"failures": 0, "unreachable": 0, "changed": int("noop" in log.stem)}
        Path(environment["TASK_PROFILE"]).write_text(json.dumps(told))
        return fleets.finish(command, environment, log, *more)

    monkeypatch.setattr(deployment_fleet, "finish", finish)
    assert fleets.main("--against", "HEAD", "--hosts", "1") == 1
    rows = {row["what"]: row for row in fleets.results["ratios"]}
    assert rows["nothing to do, 1 host: seconds"]["ratio"] is None
    assert rows["fresh host: seconds"]["this"] is not None


def test_a_tree_that_provisions_no_host_ends_the_comparison(fleets: Fleets, monkeypatch: pytest.MonkeyPatch) -> None:
    def finish(*words: Any) -> str:
        fleets.finish(*words)
        return "exit status 2"

    monkeypatch.setattr(deployment_fleet, "finish", finish)
    assert fleets.main("--against", "HEAD") == 1
    assert fleets.calls == ["down", "up 8", "this-provision-4-1", "down"]
    assert not fleets.results["finished"]
