"""A process that reads roles as the action survey does, with Ansible's own variables, templates and plugins.

Ansible finds the plugins of a collection only in a process that did not import the collection by another way. Each line
of its input is a question as JSON, and so is each answer.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from ansible import context
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins import loader as plugins
from ansible.template import Templar
from ansible.utils.context_objects import CLIArgs
from ansible.vars.manager import VariableManager

COLLECTIONS = os.path.join(os.path.dirname(__file__), "..", "..", ".collections")
HOST = "web1"


def action(place: str, asked: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the action survey, and the variables of its task."""
    loader = DataLoader()
    loader.set_basedir(place)
    path = os.path.join(place, "hosts.json")
    groups = {group: {"hosts": {HOST: {}}} for group in asked.get("groups", [])}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({"all": {"hosts": {HOST: asked.get("variables", {})}, "children": groups}}, stream)
    inventory = InventoryManager(loader=loader, sources=[path])
    manager = VariableManager(loader=loader, inventory=inventory)
    host = inventory.get_host(HOST)
    manager.set_host_facts(HOST, asked.get("facts", {}))
    play = Play().load({"name": "p", "hosts": "all", "gather_facts": False}, variable_manager=manager, loader=loader)
    task = Task().load({"baremetal.web.survey": {"roles": asked.get("roles", [])}}, variable_manager=manager)
    variables = manager.get_vars(play=play, host=host, task=task)
    found = plugins.action_loader.get(
        "baremetal.web.survey",
        task=task,
        connection=plugins.connection_loader.get("ansible.builtin.local", PlayContext(), os.devnull),
        play_context=PlayContext(),
        loader=loader,
        templar=Templar(loader=loader, variables=variables),
        shared_loader_obj=plugins,
    )
    return found, variables


def answer(place: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what the roles and the task files ask, or why they cannot be read."""
    from ansible_collections.baremetal.web.plugins.action import survey
    from ansible_collections.baremetal.web.plugins.plugin_utils._controller import compiled, wanted_parts
    from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain

    wanted_parts.ROLES = asked.get("place", os.path.join(wanted_parts.COLLECTION_ROOT, "roles"))
    if asked.get("reuse"):
        with compiled.reuse():
            return answer(place, {**asked, "reuse": False, "values": [f"{asked['roles']} | baremetal.web.roles_text"]})
    found, variables = action(place, asked)
    roles = asked.get("roles", [])
    if "gathered" in asked:  # in place of a host
        found._ask = lambda parts, *_others: {
            "answers": [asked["gathered"][module] for module, _args in parts],
            "difference": None,
            "slots": {},
        }
    try:
        wanted = found._wanted(variables, {}, roles)
        # The name of the survey's task comes first, and loads what all hosts need.
        known = {name: plain(wanted.value(name)) for name in asked.get("values", [])}
        if "orphans" in asked:
            wanted = found._wanted(variables, survey._live(asked["orphans"], asked["slots"]), roles)
        parts = []
        for path in asked.get("files", []):
            parts += wanted_parts.described(wanted.task_file(path))
        parts += wanted_parts.described(wanted.roles(roles))
        names = [part.task() for part in parts]
        if asked.get("questions", True):
            questions = wanted_parts.described(map(found._question, parts))
        else:
            questions = [(part.module, plain(part.args)) for part in parts]
    except wanted_parts.Unsurveyed as reason:
        return {"unsurveyed": str(reason)}
    return {"parts": [[name, *question] for name, question in zip(names, questions, strict=True)], "values": known}


def main() -> None:
    context.CLIARGS = CLIArgs({})
    plugins.init_plugin_loader([COLLECTIONS])
    place = sys.argv[1]
    # What Ansible displays is no answer.
    said, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            told = answer(place, json.loads(line))
        except Exception:  # a fault of what is tested is one test's
            told = {"error": traceback.format_exc()}
        print(json.dumps(told), file=said, flush=True)


if __name__ == "__main__":
    main()
