"""What makes a run with nothing to do short, and the tool that measures runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.baremetal.web.plugins.filter.path_profile import path_profile
from ansible_collections.baremetal.web.plugins.modules import service_config
from conftest import GROUP, OWNER, StandIns
from tools import deployment_benchmark as tool
from tools.deployment_benchmark import Run
from tools.fleet import images, inventory

Change = Callable[..., dict[str, Any]]
RUN = Run(1, "noop", 1, "ansible-playbook site.yml", {}, 5.0, 3.0, tasks_per_host=40, tasks=40)


@pytest.fixture
def change(run_module: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Run service_config with a file of accounts and one that follows it."""
    monkeypatch.setattr(service_config, "MARKS", str(tmp_path / "marks"))

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


# The tool.


def test_the_tool_describes_a_fleet_that_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps(tool.description(16, tmp_path)))
    fleet = inventory.load(path, images.platforms())
    assert len({host.address for host in fleet.hosts}) == 16


def test_a_run_that_takes_too_long_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    command = ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"]
    started = time.monotonic()
    assert tool.finish(command, dict(os.environ), tmp_path / "log", 0.5) == "not done after 0.5 s"
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 5
    sleeper = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    while sleeper.exists() and "zombie" not in sleeper.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sleeper.exists() or "zombie" in sleeper.read_text()


def test_what_a_host_more_costs_is_read_from_fleets_of_several_sizes() -> None:
    assert tool.slope([(1, 3.0), (4, 6.0), (10, 12.0)]) == pytest.approx(1)


def test_a_run_that_failed_is_named_and_has_no_figure() -> None:
    broken = Run(4, "deploy", 1, "", {}, 1.0, 1.0, status="exit status 2")
    text = tool.report({"machine": {"cpus": 2, "python": "3.13"}, "ansible": "2.19"}, [RUN, broken])
    assert "| site.yml, nothing to do | 1 | 5.0 | 3.0 | 40 | 40 | 0 |" in text
    assert tool.TITLES["deploy"] not in text
    assert "| deploy | 4 | exit status 2 |" in text


@pytest.mark.parametrize("words", [["--cases", "nop"], ["--hosts", "many"]])
def test_a_case_that_is_unknown_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(words)
    assert words[1] in capsys.readouterr().err
