"""The scenarios' runs keep the modules that they have built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

MODULE = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({}).exit_json(said="SAID")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a module of its own, and the callback."""
    (tmp_path / "molecule").mkdir()
    shutil.copytree(ROOT / "molecule" / "callback", tmp_path / "molecule" / "callback")
    (tmp_path / "roles" / "one" / "library").mkdir(parents=True)
    (tmp_path / "roles" / "one" / "library" / "say.py").write_text(MODULE.replace("SAID", "once"))
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "play.yml").write_text(
        "- {hosts: localhost, connection: local, gather_facts: false, roles: [one], tasks: [{say: }]}\n"
    )
    return tmp_path


def run(project: Path, config: str = "ansible.cfg") -> str:
    """Run the play; return what was printed."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_CALLBACK_PLUGINS": str(project / "molecule" / "callback"),
        "ANSIBLE_CONFIG": str(project / config),
        "ANSIBLE_HOME": str(project / "home"),
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-v", "play.yml"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING]: Callback" not in done.stderr
    return done.stdout


def kept(project: Path) -> list[Path]:
    """Return the modules that were kept."""
    return sorted(path for path in (project / ".cache" / "modules").glob("*/*") if path.is_file())


def test_the_next_run_takes_the_module_that_was_built(project: Path) -> None:
    assert '"once"' in run(project)
    (built,) = kept(project)
    before = built.stat()
    # A module that is there is neither built nor kept again.
    os.utime(built, (1, 1))
    assert '"once"' in run(project)
    assert kept(project) == [built]
    assert (built.stat().st_ino, built.stat().st_mtime) == (before.st_ino, 1)
    built.write_bytes(b"not what Ansible has written")
    with pytest.raises(AssertionError):
        run(project)


def test_a_module_that_has_changed_is_built_anew(project: Path) -> None:
    run(project)
    module = project / "roles" / "one" / "library" / "say.py"
    module.write_text(MODULE.replace("SAID", "twice"))
    assert '"twice"' in run(project)
    assert len(kept(project)) == 2


def test_a_run_of_another_project_keeps_nothing(project: Path) -> None:
    (project / "other").mkdir()
    (project / "other" / "ansible.cfg").touch()
    assert '"once"' in run(project, "other/ansible.cfg")
    assert kept(project) == []
