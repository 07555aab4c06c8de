# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: survey; the roles' tasks become one question to the host."""

from __future__ import annotations

import os
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.utils.display import Display

from ansible_collections.baremetal.web.plugins.module_utils._release.layout import SLOTS
from ansible_collections.baremetal.web.plugins.module_utils._release.modules.survey import encoded
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.compiled import reuse
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.surveyed import digest
from ansible_collections.baremetal.web.plugins.plugin_utils._controller.wanted_parts import (
    COLLECTION,
    Part,
    Templates,
    Unsurveyed,
    WantedParts,
    described,
)
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT

# A module, and its arguments.
Question = tuple[str, dict[str, Any]]


class ActionModule(ActionBase):
    """Ask for the facts, read the roles with them, and ask for all that they want."""

    _VALID_ARGS = frozenset(("roles", "tasks"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        known = task_vars or {}
        found: dict[str, Any] = {"changed": False, "as_wanted": False, "parts": {}}
        try:
            with reuse():
                reason = self._survey(known, found)
        except Unsurveyed as left:
            reason = f"takes every task: {left}"
        found["as_wanted"] = not reason
        found["msg"] = reason or f"is as wanted, {len(found['parts'])} parts compared"
        if constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK") != "baremetal.web.json":
            Display().display(f"{known['inventory_hostname']} {found['msg']}")
        return found

    def _survey(self, variables: dict[str, Any], found: dict[str, Any]) -> str:
        """Ask the host twice: what it is, and whether it is as wanted; return what is not."""
        roles = self._task.args["roles"]
        wanted = self._wanted(variables, {}, roles)
        root, apps = described(map(wanted.value, ("wsgi_root", "wsgi_apps | map(attribute='name') | list")))
        asked: list[Question] = [("app_info", {"apps": [], "described": apps, "root": root})]
        # Where no cache of facts has them.
        asked += [(part.module, part.args) for part in described(wanted.task_file(_task_file("gather_facts")))]
        (found["orphans"], *facts), slots = self._gather(asked, variables, found, apps=apps, root=root)
        for answer in facts:
            variables = _with_facts(variables, answer["ansible_facts"])
            found.update(answer)
        wanted = self._wanted(variables, _live(found["orphans"], slots), roles)
        parts = described(self._parts(wanted, roles))
        questions = described(map(self._question, parts))
        answer = self._ask(questions, variables, found)
        difference, answers = answer["difference"], answer["answers"]
        found["parts"] = {
            digest(*each): told for each, told in zip(questions, answers, strict=False) if told is not None
        }
        found["compared"] = [part.task() for part in parts] if Display().verbosity else []
        if difference:
            return f"is not as wanted: {parts[difference['index']].task()}: {difference['reason']}"
        return _moved(questions, answers, slots)

    def _wanted(self, variables: dict[str, Any], given: dict[str, Any], roles: list[str]) -> WantedParts:
        def ask(module: str, args: dict[str, Any]) -> dict[str, Any]:
            return self._gather([(module, plain(args))], variables, {})[0][0]

        controller = {f"{COLLECTION}sites": self._run_action}
        wanted = WantedParts(Templates(self._loader), variables, given, controller, ask)
        wanted.know(roles)
        return wanted

    def _parts(self, wanted: WantedParts, roles: list[str]) -> Any:
        for name in self._task.args.get("tasks") or []:
            yield from wanted.task_file(_task_file(name))
        yield from wanted.roles(roles)

    def _action(self, name: str, args: dict[str, Any], variables: dict[str, Any]) -> ActionBase:
        task = self._task.copy(exclude_parent=True)
        task.args = args
        task.action = name
        return self._shared_loader_obj.action_loader.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=Templar(loader=self._loader, variables=variables),
            shared_loader_obj=self._shared_loader_obj,
        )

    def _run_action(self, name: str, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Run an action that asks no host."""
        result = self._action(name, args, variables).run(task_vars=variables)
        if result.get("failed"):
            raise Unsurveyed(result["msg"])
        return result

    def _question(self, part: Part) -> Question:
        """Return the module and the arguments that the part's task would send to the host first."""
        action = self._shared_loader_obj.action_loader.get(f"{COLLECTION}{part.module}", class_only=True)
        if not hasattr(action, "host_args"):
            raise Unsurveyed(f"{part.task()} asks by {part.module}")
        return getattr(action, "ASKS_BY", part.module), plain(action.host_args(part.args))

    def _gather(
        self, parts: list[Question], variables: dict[str, Any], found: dict[str, Any], **more: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return what modules that only gather say, and the slots; raise Unsurveyed where one says nothing."""
        answer = self._ask(parts, variables, found, **more)
        if difference := answer["difference"]:
            raise Unsurveyed(f"{parts[difference['index']][0]}: {difference['reason']}")
        return answer["answers"], answer["slots"]

    def _ask(
        self, parts: list[Question], variables: dict[str, Any], found: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        args = {"parts": encoded(parts), **more}
        answer = self._execute_module(module_name=f"{COLLECTION}survey", module_args=args, task_vars=variables)
        if "difference" not in answer:
            raise Unsurveyed(answer.get("msg", "the host gave no answer"))
        found.setdefault("warnings", []).extend(answer.get("warnings", []))
        return answer


def _task_file(name: str) -> str:
    return os.path.join(COLLECTION_ROOT, "playbooks", "tasks", f"{name}.yml")


def _with_facts(variables: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Return variables with more facts, as Ansible has them for the next task."""
    known = {name.removeprefix("ansible_"): value for name, value in facts.items()}
    injected = facts if constants.INJECT_FACTS_AS_VARS else {}
    return {**variables, **injected, "ansible_facts": {**variables.get("ansible_facts", {}), **known}}


def _live(orphans: dict[str, Any], slots: dict[str, Any]) -> dict[str, Any]:
    """Return what the tasks of the roles note and register on a host that is as wanted."""
    converged = {"changed": False, "converged": True, "endpoint_changed": False}
    return {
        "__wsgi_orphans": orphans,
        "wsgi_staged": {name: {**converged, "slots": place} for name, place in slots.items()},
        "wsgi_failed": {},
        "wsgi_held": {},
        # Whether a firewall runs is for the module firewall to find out.
        "__nginx_published": {"changed": False, "firewalls": ["any"]},
    }


def _moved(questions: list[Question], answers: list[dict[str, Any]], slots: dict[str, Any]) -> str:
    """Say whose slots the web server does not reach as it was assumed when the sites were rendered."""
    for (module, args), answer in zip(questions, answers, strict=True):
        if module == "release_stage_info":
            name = args["app"]["name"]
            if answer["slots"] != (slots[name] or dict.fromkeys(SLOTS, args["manifest"]["description"]["endpoint"])):
                return f"is not as wanted: the web server reaches app {name} in another way"
    return ""
