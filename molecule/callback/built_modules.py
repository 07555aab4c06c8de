"""Keep the modules that a run has built for its hosts, so that the next run need not build them again.

Building takes a third of what a run costs its controller, because Ansible reads every import of every module anew.
Its own cache ends with the run. This fills that cache beforehand, and stores what is new in it afterwards.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from ansible import __file__ as ANSIBLE
from ansible import constants as C
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: built_modules
type: aggregate
short_description: Keep the modules that a run has built
description: Runs of the same modules share them in C(.cache/modules/) of the project.
"""
PROJECT = Path(__file__).resolve().parents[2]
SOURCES = ("plugins/modules", "plugins/module_utils", "roles/*/library", "roles/*/module_utils")


def digest(project: Path) -> str:
    """Return a name for all that goes into the project's modules."""
    found = hashlib.sha256(f"{__version__} {ANSIBLE} {sys.version} {project}".encode())
    for pattern in SOURCES:
        for path in sorted(path for place in project.glob(pattern) for path in place.rglob("*.py")):
            found.update(f"\0{path}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


class CallbackModule(CallbackBase):
    """Fills Ansible's cache before the first task, and learns from it after the last."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "built_modules"

    def __init__(self) -> None:
        super().__init__()
        # An earlier version has a checkout and modules of its own.
        self.disabled = Path(C.CONFIG_FILE or "/").parent != PROJECT
        if self.disabled:
            return
        self.kept = PROJECT / ".cache" / "modules" / digest(PROJECT)
        self.cache = Path(C.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
        if self.kept.is_dir():
            shutil.copytree(self.kept, self.cache, dirs_exist_ok=True)

    def v2_playbook_on_stats(self, stats: object) -> None:
        """Keep what is new, each file at once, because other runs read it meanwhile."""
        self.kept.mkdir(parents=True, exist_ok=True)
        for path in self.cache.iterdir() if self.cache.is_dir() else ():
            if not path.name.endswith((".lock", "-part")) and not (self.kept / path.name).exists():
                part = self.kept.parent / f"{path.name}.{os.getpid()}"
                shutil.copyfile(path, part)
                part.replace(self.kept / path.name)
