"""This version takes over a host of an earlier version under load, and rewrites its state."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from probes import PROJECT, differences, play, snapshot
from traffic import Target, lives, load

# A version that gives state on hosts its old names, such as ledger.json.
COMMIT = "d1025ffffae00c61c2adff552dd7a05a02ea3287"
APPS = ("http", "uwsgi", "port")
INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
EARLIER = PROJECT / ".fleet" / "earlier" / "collection"
# What packages and Ansible itself leave, as the scenario `remove` says.
LEFT_BY_OTHERS = {
    "files": r"/var/(backups|lib/nginx|www)(/.*)?|/root/\.ansible(/tmp)?",
    "logs": r"nginx|(alternatives|apt|dpkg)(\.log)?",
}
RECORD = "/var/lib/baremetal.web"
# The earlier version leaves this key where a run ends between the staging of a release and its activation.
INTERRUPT = """
import json, sys
with open(sys.argv[1]) as stream:
    manifest = json.load(stream)
with open(sys.argv[1], "w") as stream:
    json.dump({**manifest, "former_description": manifest["description"]}, stream)
"""


@dataclass(frozen=True)
class Provisioned:
    """The host before the earlier version came, and the releases that it made."""

    snapshot: dict[str, Any]
    releases: dict[str, str]


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, check=False)


def extract_earlier_version() -> None:
    """Extract the earlier version beside the fleet's files, with which it goes; skip where the history is missing."""
    if not (PROJECT / ".git").exists():
        pytest.skip(f"This checkout has no history, so it lacks commit {COMMIT[:7]}. Run the scenario in a git clone.")
    archive = git("archive", COMMIT)
    if archive.returncode and git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        pytest.skip(f"This clone is shallow, so it lacks commit {COMMIT[:7]}. Run git fetch --unshallow.")
    assert archive.returncode == 0, archive.stderr.decode()
    EARLIER.mkdir(exist_ok=True)
    subprocess.run(["tar", "--extract", f"--directory={EARLIER}"], input=archive.stdout, check=True)


def run(playbook: str, *arguments: str, project: Path = PROJECT, **variables: Any) -> str:
    """Run a playbook of this version, or of the one in another directory; return what it printed."""
    code, output = play(playbook, *arguments, inventory=INVENTORY, project=project, **variables)
    assert code == 0
    return output


def read(host: Host, path: str) -> dict[str, Any]:
    return json.loads(host.file(path).content_string)


def endpoints(host: Host) -> dict[str, dict[str, Any]]:
    """Return what is noted about the endpoints of each app."""
    return {app: read(host, f"/srv/wsgi/{app}/endpoints.json") for app in APPS}


def notes(host: Host) -> set[str]:
    """Return the names of the files with the host's change record."""
    return {path for path in host.check_output("ls %s", RECORD).split() if path.endswith(".json")}


@pytest.fixture(scope="module")
def host(connect: Callable[[str], Host]) -> Host:
    """The only host."""
    return connect("earlier-debian")


@pytest.fixture(scope="module")
def earlier(host: Host) -> Provisioned:
    """Let the earlier version provision the host."""
    extract_earlier_version()
    before = snapshot(host)
    run("site.yml", project=EARLIER)
    releases = {app: lives(host, app)[-1] for app in APPS}
    host.check_output("python3 -c %s %s", INTERRUPT, f"/srv/wsgi/http/releases/{releases['http']}/release.json")
    return Provisioned(before, releases)


@pytest.fixture(scope="module")
def upgraded(host: Host, earlier: Provisioned) -> Provisioned:
    """Put load on every app, and let this version take over the host."""
    assert notes(host) == {"ledger.json"}
    former = endpoints(host)
    assert [noted.pop("told") for noted in former.values()] == [True] * len(APPS)
    record = read(host, f"{RECORD}/ledger.json")
    with load(host, [Target(host, app) for app in APPS], rate=5, connections={"kept": 1, "slow": 1}) as judgement:
        run("site.yml", "--check", "--diff")
        assert notes(host) == {"ledger.json"}
        run("site.yml")
        assert notes(host) == {"changes.json"}
        assert endpoints(host) == {app: {**noted, "proxy_synced": True} for app, noted in former.items()}
        kept = read(host, f"{RECORD}/changes.json")
        assert [kept[kind] | names for kind, names in record.items()] == [kept[kind] for kind in record]
        assert "changed=0" in run("site.yml")
        run("playbooks/rollback.yml", app="http")
        assert lives(host, "http")[-1] == earlier.releases["http"]
        run("playbooks/deploy.yml", redeploy=True)
        run("playbooks/status.yml")
    judgement.assert_flawless()
    assert judgement.found["count"] > 1000
    return earlier


def test_no_request_fails_while_this_version_takes_over(host: Host, upgraded: Provisioned) -> None:
    assert {app: lives(host, app)[0] for app in APPS} == upgraded.releases
    assert [len(lives(host, app)) for app in APPS] == [4, 3, 3]


@pytest.mark.usefixtures("upgraded")
def test_no_state_with_an_old_name_is_left(host: Host) -> None:
    assert notes(host) == {"changes.json"}
    assert [noted.keys() for noted in endpoints(host).values()] == [{"a", "b", "proxy_synced"}] * len(APPS)
    assert host.check_output("grep -rlE --include=*.json 'former_description|\"told\"' /srv/wsgi || true") == ""


def test_after_removal_the_host_is_as_it_was_before_the_earlier_version(host: Host, upgraded: Provisioned) -> None:
    run("playbooks/remove.yml", remove="stack", confirm="stack", remove_data=True)
    before, after = upgraded.snapshot, snapshot(host)
    assert differences(before, after, LEFT_BY_OTHERS) == {}
