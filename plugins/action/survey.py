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

from ansible_collections.baremetal.web.plugins.action.release_stage import staged
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

# What tells the platform, and what the roles read beside that.
_FACTS = {"architecture", "distribution", "os_family", "pkg_mgr", "processor_nproc", "memtotal_mb", "selinux"}
_TASKS = os.path.join(COLLECTION_ROOT, "playbooks", "tasks")


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
        if found.pop("unanswered", None):
            return found
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
        facts = dict(variables.get("ansible_facts") or {})
        asked: list[tuple[str, dict[str, Any]]] = [("app_info", {"apps": [], "described": apps, "root": root})]
        if not facts.keys() >= _FACTS:
            asked.append(("host_facts", {}))
        answer = self._ask(asked, variables, found, apps=apps, root=root)
        if "difference" not in answer:
            return f"takes every task: {answer.get('msg', 'the host gave no answer')}"
        if answer["difference"]:
            return f"takes every task: {asked[answer['difference']['index']][0]}: {answer['difference']['reason']}"
        found["orphans"] = answer["answers"][0]
        if len(asked) > 1:
            found["ansible_facts"] = answer["answers"][1]["ansible_facts"]
            facts.update({name.removeprefix("ansible_"): value for name, value in found["ansible_facts"].items()})
        variables = {**variables, "ansible_facts": facts}
        if constants.INJECT_FACTS_AS_VARS:
            variables.update(found.get("ansible_facts", {}))
        slots = answer["slots"]
        wanted = self._wanted(variables, _live(found["orphans"], slots), roles)
        parts = described(self._parts(wanted, roles))
        questions = described(self._question(part, variables) for part in parts)
        answer = self._ask([*questions], variables, found)
        difference = answer.get("difference", {"index": 0, "reason": "the host gave no answer"})
        answers = answer.get("answers", [])
        found["parts"] = {
            digest(*each): told for each, told in zip(questions, answers, strict=False) if told is not None
        }
        found["compared"] = [part.task() for part in parts] if Display().verbosity else []
        if difference:
            return f"is not as wanted: {parts[difference['index']].task()}: {difference['reason']}"
        return _moved(questions, answers, slots)

    def _wanted(self, variables: dict[str, Any], given: dict[str, Any], roles: list[str]) -> WantedParts:
        def ask(module: str, args: dict[str, Any]) -> dict[str, Any]:
            answer = self._ask([(module, plain(args))], variables, {})
            if not answer.get("answers"):
                raise Unsurveyed(f"{module}: {answer.get('difference', {}).get('reason', 'the host gave no answer')}")
            return answer["answers"][0]

        controller = {f"{COLLECTION}sites": self._run_action}
        wanted = WantedParts(Templates(self._loader), variables, given, controller, ask)
        wanted.know(roles)
        return wanted

    def _parts(self, wanted: WantedParts, roles: list[str]) -> Any:
        for name in self._task.args.get("tasks") or []:
            yield from wanted.task_file(os.path.join(_TASKS, f"{name}.yml"))
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

    def _question(self, part: Part, variables: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the module and the arguments that the part's task would send to the host first."""
        if part.module == "release_stage":
            with staged(part.args) as release:
                return "release_stage_info", plain(release.question())
        action = self._shared_loader_obj.action_loader.get(f"{COLLECTION}{part.module}", class_only=True)
        if not hasattr(action, "host_args"):
            raise Unsurveyed(f"{part.task()} asks by {part.module}")
        return part.module, plain(action.host_args(part.args))

    def _ask(
        self, parts: list[tuple[str, dict[str, Any]]], variables: dict[str, Any], found: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        args = {"parts": encoded(parts), **more}
        answer = self._execute_module(module_name=f"{COLLECTION}survey", module_args=args, task_vars=variables)
        if answer.get("unreachable"):
            found.update(answer, unanswered=True)
        found.setdefault("warnings", []).extend(answer.get("warnings", []))
        return answer


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


def _moved(questions: list[tuple[str, dict[str, Any]]], answers: list[dict[str, Any]], slots: dict[str, Any]) -> str:
    """Say whose slots the web server does not reach as it was assumed when the sites were rendered."""
    for (module, args), answer in zip(questions, answers, strict=True):
        if module == "release_stage_info":
            name = args["app"]["name"]
            if answer["slots"] != (slots[name] or dict.fromkeys(SLOTS, args["manifest"]["description"]["endpoint"])):
                return f"is not as wanted: the web server reaches app {name} in another way"
    return ""
