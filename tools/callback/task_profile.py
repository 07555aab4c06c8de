"""Callback for the tool alone: what each task of a run cost, written as JSON to the file that TASK_PROFILE names."""

from __future__ import annotations

import json
import os
import resource
import time
from collections import Counter
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_profile
type: aggregate
short_description: Tell what each task cost
description: Seconds, CPU seconds of the controller, and what became of the task on each host.
"""


def spent() -> float:
    """Return the CPU seconds of this process and of those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class CallbackModule(CallbackBase):
    """A task costs what is spent until the next one starts; where hosts go on by themselves, that is a mixture."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_profile"

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[dict[str, Any]] = []
        self.began = (time.monotonic(), spent())

    def _close(self) -> None:
        now = (time.monotonic(), spent())
        if self.tasks:
            self.tasks[-1]["seconds"] += now[0] - self.began[0]
            self.tasks[-1]["cpu_seconds"] += now[1] - self.began[1]
        self.began = now

    def _open(self, role: str, name: str, action: str) -> None:
        self._close()
        self.tasks.append(
            {"role": role, "name": name, "action": action, "seconds": 0.0, "cpu_seconds": 0.0, "results": Counter()}
        )

    def v2_playbook_on_start(self, playbook: Any) -> None:
        # What the process has spent until now is the program's own start.
        self.tasks.append({"role": "", "name": "(start)", "action": "", "seconds": 0.0, "cpu_seconds": 0.0})
        self.tasks[-1]["results"] = Counter()
        self.began = (self.began[0], 0.0)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._open("", f"(play) {play.get_name()}", "")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        role = task._role.get_name().rpartition(".")[2] if task._role else ""
        self._open(role, task.name or task.action, task.resolved_action or task.action)

    def _count(self, what: str) -> None:
        if self.tasks:
            self.tasks[-1]["results"][what] += 1

    def v2_runner_on_ok(self, result: Any) -> None:
        self._count("changed" if result._result.get("changed") else "ok")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._count("skipped")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._count("failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._count("unreachable")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._close()
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        with open(os.environ["TASK_PROFILE"], "w", encoding="utf-8") as stream:
            own = resource.getrusage(resource.RUSAGE_SELF)
            parent = own.ru_utime + own.ru_stime
            json.dump({"tasks": self.tasks, "hosts": hosts, "parent_cpu_seconds": parent}, stream, indent=1)
