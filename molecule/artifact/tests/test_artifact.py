"""The artifact that users install, used as they use it."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from testinfra.host import Host

from probes import INVENTORY, PROJECT, App, name

UNWANTED = ("tests", "molecule", "tools", ".fleet", ".venv", "__pycache__", ".ruff_cache", "inventories/demo", "build")


def command(*words: str, cwd: Path, collections: Path | None = None) -> str:
    """Run a command with no more of Ansible's configuration than a place for collections; return what it printed."""
    ours = {"ANSIBLE_COLLECTIONS_PATH": str(collections)} if collections else {}
    others = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
    done = subprocess.run(
        words, cwd=cwd, env={**others, **ours}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}"
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is published."""
    target = tmp_path_factory.mktemp("artifact")
    command("ansible-galaxy", "collection", "build", "--output-path", str(target), cwd=PROJECT)
    return next(target.glob("baremetal-web-*.tar.gz"))


@pytest.fixture(scope="module")
def fleet_repository(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a site.yml and an inventory prod, and the collection installed beside it."""
    repository = tmp_path_factory.mktemp("fleet")
    collections = repository / "collections"
    command(
        *("ansible-galaxy", "collection", "install", str(artifact), "--collections-path", str(collections)),
        cwd=repository,
        collections=collections,
    )
    shutil.copy(collections / "ansible_collections/baremetal/web/site.yml", repository)
    shutil.copytree(INVENTORY, repository / "prod")
    logins = repository / "prod" / "group_vars" / "all.yml"
    logins.write_text(logins.read_text().replace("{{ inventory_dir }}/../..", str(PROJECT)))
    return repository


def test_the_artifact_has_neither_tests_nor_state_nor_caches(artifact: Path) -> None:
    with tarfile.open(artifact) as tar:
        names = tar.getnames()
    assert "playbooks/site.yml" in names
    assert "files/hello_flask/hello_flask/__init__.py" in names
    assert [name for name in names if any(f"/{part}/" in f"/{name}/" for part in UNWANTED)] == []


def test_a_fleet_repository_needs_nothing_but_the_collection(
    fleet_repository: Path, host: Host, neighbour: Host, hello: App
) -> None:
    site = ("ansible-playbook", "site.yml", "-i", "prod", "--limit", name(host))
    collections = fleet_repository / "collections"
    # The artifact's copy of the app has no tests, so it is a release of its own.
    before = hello.release(host)
    command(*site, cwd=fleet_repository, collections=collections)
    assert hello.release(host) != before
    assert hello.answers(host, client=neighbour)
    assert "changed=0 " in command(*site, cwd=fleet_repository, collections=collections)
    status = command(
        "ansible-playbook", "baremetal.web.status", *site[2:], cwd=fleet_repository, collections=collections
    )
    assert hello.name in status.split()
    assert hello.release(host) in status
    assert "healthy" in status
