"""One deploy over four hosts: the canary, then batches, or nothing; and everybody can see how it went."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import SUPERVISORCTL, eventually, fetch, play

INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
HOSTS = ("shop1", "shop2", "shop3", "shop4")
HOME = "/srv/wsgi/shop"
COUNTS = "/srv/hooks.log"


class Fleet:
    """The four hosts as the tests look at them."""

    def __init__(self, connect: Callable[[str], Host]):
        self.hosts = {name: connect(name) for name in HOSTS}

    def each(self, question: Callable[[Host], Any]) -> dict[str, Any]:
        return {name: question(host) for name, host in self.hosts.items()}

    def log(self) -> list[dict[str, Any]]:
        """Return the audit logs of all hosts, each oldest first."""
        logs = self.each(lambda host: host.file(f"{HOME}/releases.log").content_string.splitlines())
        return [{**json.loads(line), "host": name} for name, lines in logs.items() for line in lines]

    def versions(self) -> dict[str, str]:
        """Return which version is live on each host."""
        return self.each(self.version)

    def version(self, host: Host) -> str:
        return json.loads(host.file(f"{HOME}/current/release.json").content_string)["version"]

    def are_on(self, *versions: str) -> bool:
        """Tell whether the hosts are on these versions, answer from them, and are not locked."""
        live = self.each(lambda host: host.check_output(f"readlink {HOME}/current"))
        answers = self.each(lambda host: json.loads(fetch(host, f"http://{name_of(host)}:8080/shop/").text)["release"])
        locked = [
            name for name, found in self.each(lambda host: host.file(f"{HOME}/lock.json").exists).items() if found
        ]
        print(self.versions(), live, answers, "locked:", locked)
        return (
            tuple(self.versions().values()) == (versions * len(HOSTS))[: len(HOSTS)]
            and {name: Path(link).name for name, link in live.items()} == answers
            and not locked
        )

    def bring(self, *versions: str) -> None:
        """Bring the hosts to these versions one after the other, unless they are on the last one."""
        if set(self.versions().values()) != {versions[-1]}:
            for version in versions:
                assert deploy(version)[0] == 0

    def migrations(self) -> int:
        """Return how often a migration ran, on all hosts together."""
        counts = self.each(lambda host: host.run(f"grep -c '^migrate ' {HOME}/data/hooks.log").stdout.strip())
        return sum(int(count or 0) for count in counts.values())


def name_of(host: Host) -> str:
    return host.backend.get_hostname()


def run(playbook: str, *arguments: str, **variables: Any) -> tuple[int, str]:
    return play(f"playbooks/{playbook}.yml", *arguments, inventory=INVENTORY, **variables)


def deploy(version: str, *arguments: str, **variables: Any) -> tuple[int, str]:
    return run("deploy", *arguments, app="shop", version=version, **variables)


def rollback(*arguments: str, **variables: Any) -> tuple[int, str]:
    return run("rollback", *arguments, app="shop", **variables)


def changed(output: str) -> list[str]:
    return re.findall(r"changed=(\d+)", output)


@pytest.fixture(scope="module")
def fleet(connect: Callable[[str], Host]) -> Fleet:
    """The hosts, whatever an earlier run has left on them."""
    found = Fleet(connect)
    run("unlock", app="shop")
    return found


def test_the_canary_comes_first_and_each_batch_waits_for_the_one_before(fleet: Fleet) -> None:
    fleet.bring("v1")
    code, output = deploy("v2", message="the new basket")
    assert code == 0
    assert fleet.are_on("v2")
    assert len(re.findall(r"shop\d shop \w+ \w+ \(v2\) \w+ \(v2\) live \d", output)) == 4
    lived = {row["host"]: row for row in fleet.log() if row["result"] == "live" and row["version"] == "v2"}
    times = [lived[name]["time"] for name in HOSTS]
    assert times[0] < times[1] < min(times[2:])
    assert {row["message"] for row in lived.values()} == {"the new basket"}


def test_hooks_for_the_whole_fleet_run_once_before_the_first_switch_and_after_the_last(fleet: Fleet) -> None:
    fleet.bring("v2")
    before, known = fleet.migrations(), fleet.log()
    assert deploy("v3")[0] == 0
    assert fleet.migrations() == before + 1
    new = [row for row in fleet.log() if row not in known]
    migrate, announce = (row for row in new if row["action"] == "hooks")
    switches = [row["time"] for row in new if row["action"] == "deploy"]
    assert (migrate["host"], migrate["hooks"]) == ("shop1", ["tables"])
    assert announce["hooks"] == ["announce"]
    assert len(switches) == 4
    assert migrate["time"] < min(switches)
    assert announce["time"] >= max(switches)


def test_every_hook_runs_where_and_as_often_as_documented(fleet: Fleet) -> None:
    fleet.bring("v3")
    kinds, users = ("after_stage", "migrate", "before_activate", "after_activate"), ("", "nobody", "root")
    every = {
        kind: [
            {"name": word, "command": f"echo {word} $(id -un) >> {COUNTS}", "user": user, "run_once": run_once}
            for run_once in (False, True)
            for user in users
            for word in [f"{kind}-{'once' if run_once else 'each'}-{user or 'wsgi-shop'}"]
        ]
        for kind in kinds
    }

    def ran(kind: str, scope: str) -> list[str]:
        """Return the hosts on which the hooks ran, each once by each user."""
        names = [f"{kind}-{scope}-{user or 'wsgi-shop'}" for user in users]
        wanted = [f"{word} {word.rpartition(f'-{scope}-')[2]}" for word in names]
        lines = fleet.each(lambda host: host.file(COUNTS).content_string.splitlines())
        found = {host: [line for line in some if line.startswith(f"{kind}-{scope}-")] for host, some in lines.items()}
        assert all(some in ([], wanted) for some in found.values()), found
        return [host for host, some in found.items() if some]

    def forget() -> None:
        fleet.each(lambda host: host.check_output(f"truncate --size 0 {COUNTS}; chmod 0666 {COUNTS}"))

    forget()
    assert deploy("v4", every_hook=every)[0] == 0
    assert {kind: ran(kind, "each") for kind in kinds} == {kind: list(HOSTS) for kind in kinds}
    assert {kind: ran(kind, "once") for kind in kinds} == {kind: ["shop1"] for kind in kinds}
    forget()
    assert rollback()[0] == 0
    assert rollback(to="v4")[0] == 0
    assert {kind: ran(kind, "each") for kind in kinds} == {
        kind: list(HOSTS) if "activate" in kind else [] for kind in kinds
    }
    assert {kind: ran(kind, "once") for kind in kinds} == {kind: [] for kind in kinds}
    assert rollback(to="v3")[0] == 0


def test_a_second_deploy_changes_nothing(fleet: Fleet) -> None:
    fleet.bring("v3")
    before = fleet.log()
    code, output = deploy("v3")
    assert (code, changed(output)) == (0, ["0"] * 4)
    assert output.count("was live already") == 4
    assert fleet.log() == before


def test_the_plan_says_for_each_host_from_what_to_what_and_what_starts_anew(fleet: Fleet) -> None:
    fleet.bring("v3")
    before = fleet.log()
    code, output = deploy("v4", "--check", "--diff")
    assert code == 0
    assert output.count("+release ") == 4
    assert len(re.findall(r"shop\d shop \w+ \w+ \(v4\) server, worker", output)) == 4
    assert fleet.log() == before
    assert fleet.are_on("v3")


def test_when_a_batch_fails_the_hosts_before_are_switched_back(fleet: Fleet) -> None:
    fleet.bring("v3")
    code, output = deploy("v4", fails="health", fails_on="shop3")
    assert code == 2
    assert fleet.are_on("v3")
    assert len(re.findall(r"shop[12] shop \w+ \w+ \(v4\) \w+ \(v3\) switched back", output)) == 2
    assert re.search(r"shop3 shop \w+ \w+ \(v4\) \w+ \(v3\) not switched", output)
    assert "not healthy on /healthz within 8 s: answer 500" in output


def test_when_the_last_hook_fails_the_whole_fleet_is_switched_back(fleet: Fleet) -> None:
    fleet.bring("v3")
    code, output = deploy("v4", announcement="fail")
    assert code == 2
    assert output.count("switched back") == 4
    assert "after_activate: The hook announce of after_activate failed" in output
    assert fleet.are_on("v3")


def test_a_bad_canary_is_the_only_host_that_notices(fleet: Fleet) -> None:
    fleet.bring("v3")
    before = [row for row in fleet.log() if row["host"] != "shop1" and row["result"] != "abandoned"]
    code, _ = deploy("v4", fails="health", fails_on="shop1")
    assert code == 2
    assert fleet.are_on("v3")
    assert [row for row in fleet.log() if row["host"] != "shop1" and row["result"] != "abandoned"] == before


def test_a_release_that_cannot_be_staged_somewhere_is_switched_nowhere(fleet: Fleet) -> None:
    fleet.bring("v3")
    before = fleet.migrations()
    code, output = deploy("v4", fails="import", fails_on="shop4")
    assert code == 2
    assert "does not import: RuntimeError: this release cannot be imported" in output
    assert fleet.are_on("v3")
    assert fleet.migrations() == before


def test_without_switching_back_the_summary_says_who_is_on_what_and_the_next_run_goes_on(fleet: Fleet) -> None:
    fleet.bring("v3")
    code, output = deploy("v4", fails="health", fails_on="shop3", deploy_switch_back=False)
    assert code == 2
    assert fleet.are_on("v4", "v4", "v3", "v4")
    assert len(re.findall(r"shop[124] shop \w+ \w+ \(v4\) \w+ \(v4\) live", output)) == 3
    assert len(re.findall(r"shop3 shop \w+ \w+ \(v4\) \w+ \(v3\) not switched", output)) == 1
    code, output = deploy("v4")
    assert code == 0
    assert output.count("was live already") == 3
    assert fleet.are_on("v4")


def test_with_a_host_that_is_away_nothing_is_switched(fleet: Fleet) -> None:
    fleet.bring("v4")
    code, output = deploy("v5", away="10.89.84.14", fresh_facts=True)
    assert code != 0
    assert "shop4 could not be reached, so nothing was switched anywhere" in output
    assert fleet.are_on("v4")


def test_when_a_host_is_lost_before_its_turn_the_others_are_switched_back(fleet: Fleet) -> None:
    fleet.bring("v4")
    code, output = deploy("v5", lost="10.89.84.13")
    assert code == 2
    assert re.search(r"shop3 shop \w+ \w+ \(v5\) unknown the host did not answer", output)
    assert len(re.findall(r"shop[12] shop \w+ \w+ \(v5\) \w+ \(v4\) switched back", output)) == 2
    assert "It was locked by" in run("unlock", app="shop")[1]
    assert fleet.are_on("v4")


def test_a_canary_that_falls_ill_stops_the_batches_after_it(fleet: Fleet) -> None:
    fleet.bring("v4")
    host = fleet.hosts["shop1"]

    def fall_ill() -> None:
        eventually(lambda: fleet.version(host) == "v5", 180)
        release = Path(host.check_output(f"readlink {HOME}/current")).name
        host.check_output(f"{SUPERVISORCTL} stop shop-{release}")

    illness = threading.Thread(target=fall_ill)
    illness.start()
    code, output = deploy("v5")
    illness.join()
    assert code == 2
    assert "is live and not healthy: its program shop-" in output
    assert fleet.are_on("v4")


def test_a_migration_that_fails_leaves_every_host_on_the_old_release(fleet: Fleet) -> None:
    fleet.bring("v4")
    before = fleet.migrations()
    code, output = deploy("v5", migration="fail")
    assert code == 2
    assert fleet.migrations() == before + 1
    assert "migrate: The hook tables of migrate failed" in output
    assert output.count("not switched") == 4
    assert fleet.are_on("v4")


def test_a_locked_host_says_who_when_and_why_and_nothing_is_switched(fleet: Fleet) -> None:
    fleet.bring("v4")
    assert run("lock", "--limit=shop3", app="shop", message="stocktaking until Monday")[0] == 0
    code, output = deploy("v5")
    assert code == 2
    assert re.search(r"locked by \S+@\S+ since 20\S+ \(stocktaking until Monday\)", output)
    assert output.count("not switched") == 4
    assert "stocktaking until Monday" in run("status")[1]
    assert run("unlock", app="shop")[0] == 0
    assert fleet.are_on("v4")


def test_a_deploy_may_wait_for_the_lock(fleet: Fleet) -> None:
    fleet.bring("v4")
    assert run("lock", "--limit=shop3", app="shop", message="a moment")[0] == 0
    unlock = threading.Timer(15, run, ("unlock", "--limit=shop3"), {"app": "shop"})
    unlock.start()
    code, _ = deploy("v5", lock_wait=90)
    unlock.join()
    assert code == 0
    assert fleet.are_on("v5")


def test_a_lock_without_a_message_is_refused() -> None:
    code, output = run("lock", app="shop")
    assert code == 2
    assert "A lock is for an app and has a message" in output


def test_the_fleet_goes_back_in_a_moment_and_forward_again(fleet: Fleet) -> None:
    fleet.bring("v4", "v5")
    code, output = rollback()
    assert code == 0
    assert fleet.are_on("v4")
    took = [float(seconds) for seconds in re.findall(r"\w+ \(v4\) live ([\d.]+)", output)]
    print("rollback:", took)
    assert len(took) == 4
    assert max(took) < 2
    assert rollback()[0] == 0
    assert fleet.are_on("v5")


def test_it_goes_to_a_version_or_to_a_release_by_its_name(fleet: Fleet) -> None:
    fleet.bring("v3", "v4", "v5")
    assert rollback(to="v3")[0] == 0
    assert fleet.are_on("v3")
    release = Path(fleet.hosts["shop1"].check_output(f"readlink {HOME}/current")).name
    assert rollback(to="v5")[0] == 0
    assert rollback("--limit=shop1", to=release)[0] == 0
    assert fleet.are_on("v3", "v5", "v5", "v5")
    assert rollback(to="v5")[0] == 0
    assert fleet.are_on("v5")


def test_a_rollback_to_what_is_live_changes_nothing(fleet: Fleet) -> None:
    fleet.bring("v5")
    code, output = rollback(to="v5")
    assert (code, changed(output)) == (0, ["0"] * 4)


def test_a_release_that_is_gone_is_refused_with_what_there_is(fleet: Fleet) -> None:
    fleet.bring("v5")
    code, output = rollback(to="v0")
    assert code == 2
    assert "'v0' is neither a release nor a version on this host. It has " in output
    assert fleet.are_on("v5")


def test_an_irreversible_migration_is_crossed_by_force_only(fleet: Fleet) -> None:
    fleet.bring("v5")
    assert deploy("v6", irreversible=True)[0] == 0
    code, output = rollback()
    assert code == 2
    assert "are irreversible migrations: tables of" in output
    assert "-e force=true" in output
    assert fleet.are_on("v6")
    assert rollback(force=True)[0] == 0
    assert fleet.are_on("v5")


def test_a_rollback_needs_no_description(fleet: Fleet) -> None:
    fleet.bring("v5", "v6")
    code, _ = rollback(to="v6", wsgi_apps="{{ undefined_vault_password }}")
    assert code == 0
    assert fleet.are_on("v6")


def test_history_and_status_show_the_whole_fleet(fleet: Fleet) -> None:
    code, output = run("history", app="shop", lines=200)
    assert code == 0
    for words in ("deploy live", "rollback live", "lock locked", "stage refused", "the new basket"):
        assert words in output
    assert {row["by"] for row in fleet.log()} == {"root@" + row["by"].partition("@")[2] for row in fleet.log()}
    code, output = run("history")
    assert code == 0
    assert " shop deploy live " in output
    code, output = run("status")
    assert code == 0
    assert len(re.findall(r"shop\d shop \w{12} v6 \w{10} 20\S+ RUNNING \w{12} \d+ MB active healthy", output)) == 4


def test_an_app_of_one_host_is_deployed_there_alone(fleet: Fleet) -> None:
    before = fleet.log()
    code, output = run("deploy", app="stock", stock_version=2)
    assert code == 0
    assert len(re.findall(r"shop\d stock ", output)) == 1
    assert json.loads(fetch(fleet.hosts["shop4"], "http://shop4:8080/stock/").text)["version"] == "2"
    assert fleet.log() == before


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"app": "shoop"}, "No host of this run has an app named shoop; wsgi_apps names shop, stock."),
        ({"app": "stock", "version": "v2"}, "The source of stock on shop4 is not git"),
        ({"version": "v2"}, "Which app is to get version v2? Add -e app=NAME."),
        ({"app": "shop", "wsgi_root": "/srv/elsewhere"}, "shop is not live on shop1 yet. Run site.yml first"),
    ],
)
def test_what_cannot_be_meant_is_refused(fleet: Fleet, variables: dict[str, Any], sentence: str) -> None:
    before = fleet.log()
    code, output = run("deploy", **variables)
    assert code == 2
    assert sentence in output
    assert fleet.log() == before
