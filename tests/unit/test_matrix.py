"""The table of platforms and scenarios: what is read from molecule's output, and what is said of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fleet import images
from tests.fleet.process import FleetError
from tools import matrix
from tools.check import SCENARIOS

HOSTS = {"app-centos": "centos9", "app-ubuntu": "ubuntu2404", "app-debian": "debian13"}
INFO = "\x1b[36mINFO    \x1b[0m \x1b[32m{}\x1b[0m ➜ \x1b[33m{}\x1b[0m: "
STARTED = INFO + "\x1b[36mExecuting\x1b[0m\n"
PASSED = INFO + "\x1b[32mExecuted: Successful\x1b[0m\n"
FAILED = INFO.replace("INFO ", "ERROR") + "\x1b[31mExecuted: Failed\x1b[0m\n"
RECAP = "\x1b[31m{}\x1b[0m    : ok=3   \x1b[33mchanged=1   \x1b[0m unreachable={}    failed={}    skipped=0\n"


def read(*lines: str, scenario: str = "default", hosts: dict[str, str] = HOSTS) -> matrix.Run:
    ticks = iter(range(0, 1000, 10))
    progress = matrix.Progress({scenario: matrix.Scenario(dict(hosts))}, clock=lambda: next(ticks))
    for line in lines:
        progress.read(line)
    progress.end()
    return matrix.Run(progress.scenarios, 100, passed=False)


def results(run: matrix.Run) -> dict[str, str]:
    return {platform: next(iter(row.values())) for platform, row in matrix.cells([run]).items()}


def action(name: str, *lines: str, end: str = PASSED, scenario: str = "default") -> list[str]:
    return [STARTED.format(scenario, name), *lines, end.format(scenario, name)]


class TestProgress:
    def test_a_scenario_whose_tests_were_run_has_passed_on_every_platform_of_its_hosts(self):
        run = read(*action("converge", RECAP.format("app-centos", 0, 0)), *action("verify"))
        assert results(run) == dict.fromkeys(HOSTS.values(), "passed")

    def test_the_time_is_that_of_its_actions(self):
        assert read(*action("converge"), *action("verify")).scenarios["default"].seconds == 20

    def test_the_profile_has_the_seconds_of_each_action(self):
        runs = [
            read(*action("converge"), *action("verify")),
            read(
                *action("create", scenario="long"),
                *action("verify", scenario="long"),
                *action("verify", scenario="long"),
                scenario="long",
            ),
        ]
        assert [line.split() for line in matrix.profile(runs).splitlines()] == [
            ["seconds", "create", "verify", "converge", "all"],
            ["long", "10", "20", "0", "30"],
            ["default", "0", "10", "10", "20"],
            ["all", "10", "30", "10", "50"],
        ]

    def test_a_failed_test_is_laid_on_the_platform_of_its_host(self):
        line = "FAILED tests/test_clients.py::test_an_app_answers[ssh://app-ubuntu-hello]\n"
        run = read(*action("converge"), *action("verify", line, end=FAILED))
        assert results(run) == {"centos9": "passed", "ubuntu2404": "FAILED", "debian13": "passed"}

    @pytest.mark.parametrize(("unreachable", "failed"), [(0, 1), (1, 0)])
    def test_where_a_play_fails_the_other_platforms_have_not_been_proven(self, unreachable, failed):
        recap = RECAP.format("app-centos", unreachable, failed)
        run = read(*action("converge", recap, RECAP.format("app-debian", 0, 0), end=FAILED))
        assert results(run) == {"centos9": "FAILED", "ubuntu2404": "not run", "debian13": "not run"}

    def test_a_second_run_that_changes_something_is_laid_on_its_host(self):
        run = read(*action("idempotence", "* [app-debian] => nginx : Configure nginx\n", end=FAILED))
        assert results(run)["debian13"] == "FAILED"

    def test_a_failure_that_was_expected_counts_for_nothing(self):
        run = read(*action("converge", RECAP.format("app-centos", 0, 1)), *action("verify"))
        assert results(run)["centos9"] == "passed"

    def test_a_failure_of_nobody_is_one_of_all(self):
        assert set(results(read(*action("create", end=FAILED))).values()) == {"FAILED"}

    def test_a_run_that_is_cut_off_has_failed(self):
        assert set(results(read(*action("converge"), STARTED.format("default", "verify"))).values()) == {"FAILED"}

    def test_a_scenario_that_never_came_to_its_tests_is_not_run(self):
        assert set(results(read(*action("create", scenario="other"))).values()) == {"not run"}


class TestTable:
    def run(self, scenario: str, platforms: dict[str, str]) -> matrix.Run:
        return read(*action("verify", scenario=scenario), scenario=scenario, hosts=platforms)

    def test_a_platform_that_a_scenario_does_not_use_has_a_dash(self):
        runs = [self.run("default", HOSTS), self.run("nginx", {"nginx-centos": "centos9"})]
        assert matrix.cells(runs)["debian13"] == {"default": "passed", "nginx": "-"}

    def test_of_several_runs_the_worst_result_is_shown(self):
        bad = read(*action("verify", "ERROR tests/x.py::test[ssh://app-centos]\n", end=FAILED))
        assert matrix.cells([self.run("default", HOSTS), bad])["centos9"] == {"default": "FAILED"}

    def test_it_says_for_each_platform_what_it_is_here(self, monkeypatch):
        for platform in ("centos9", "debian13", "ubuntu2404"):
            monkeypatch.delenv(f"TEST_IMAGE_{platform.upper()}", raising=False)
        monkeypatch.setenv("TEST_IMAGE_UBUNTU2404", "registry.test/ubuntu:24.04")
        monkeypatch.setattr(images.apt, "mirrors", lambda: (None, None))
        text = matrix.text([self.run("default", HOSTS)])
        assert "centos9     stand-in, made of debian13             passed" in text
        assert "ubuntu2404  real, from registry.test/ubuntu:24.04  passed" in text
        assert "debian13    real, from its packages                passed" in text

    def test_the_reports_are_written_for_people_and_programs(self, monkeypatch, tmp_path):
        monkeypatch.setattr(matrix, "STATE", tmp_path)
        monkeypatch.setattr(images.apt, "mirrors", lambda: (None, None))
        matrix.save([self.run("default", HOSTS)])
        assert "| centos9 | stand-in, made of debian13 | passed |" in (tmp_path / "matrix.md").read_text()
        assert '"default": "passed"' in (tmp_path / "matrix.json").read_text()


class TestDescription:
    def test_every_scenario_has_hosts_and_every_platform_of_the_set_is_used(self):
        for platforms in matrix.SETS:
            scenarios = matrix.describe(SCENARIOS, {"PLATFORMS": platforms})
            assert all(scenario.platforms for scenario in scenarios.values())
            assert set(scenarios["default"].platforms.values()) == set(platforms.split())

    def test_the_sets_have_every_platform_but_the_other_rebuilds(self):
        named = {platform for platforms in matrix.SETS for platform in platforms.split()}
        assert set(images.PLATFORMS) - named == {"rocky10", "alma9", "alma10", "rhel9", "rhel10"}

    def test_an_unknown_scenario_is_refused_with_the_known_ones(self):
        with pytest.raises(FleetError, match=r"there is no scenario 'rebot'; there are .*reboot"):
            matrix.describe(["rebot"], {})
