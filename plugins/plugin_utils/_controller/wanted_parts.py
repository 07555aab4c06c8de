# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions of roles' tasks to a host, read from the task files themselves, with no host asked.

A role's tasks are the one place that says what a host is to be. They are read here as Ansible reads them, as far as
they are of the few kinds below. Anything else raises Unsurveyed, and the tasks run as they do without a survey.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from jinja2 import Environment

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.compiled import compile_once
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain
from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT, role_options

COLLECTION = "baremetal.web."
ROLES = os.path.join(COLLECTION_ROOT, "roles")
# Keywords that change neither what a task asks nor whether it does.
_IGNORED = frozenset(("name", "tags", "no_log", "changed_when", "check_mode"))
_KNOWN = frozenset(("when", "vars", "loop", "loop_control", "register", "block", "rescue", "always")) | _IGNORED
_AS_WANTED = {"changed": False, "failed": False}
# Keys of what is shown, or done after a failure, so not on a host that is as wanted.
_SPOKEN = frozenset(("fail_msg", "label", "msg", "rescue"))

Values = dict[str, Any]


class Unsurveyed(Exception):
    """The tasks have more to do or to say than a question to the host can."""


class Part(NamedTuple):
    """One thing that a task asks of a host: the task, its module, and the arguments."""

    task: Callable[[], str]
    module: str
    args: Values


class Templates:
    """Values and conditions of task files, with whichever ansible-core it is."""

    def __init__(self, loader: DataLoader):
        # Up to ansible-core 2.18, lookups in a copy of another one see the variables of that one.
        self._templar = Templar(loader=loader)
        self._loader = loader

    def value(self, raw: Any, variables: Values) -> Any:
        """Return a value with its templates resolved, and without what is omitted."""
        self._templar.available_variables = variables
        return _kept(self._templar.template(raw), variables.get("omit"))

    def holds(self, conditions: Any, variables: Values) -> bool:
        """Tell whether all conditions hold."""
        self._templar.available_variables = variables
        return all(self._holds(each, variables) for each in _listed(conditions))

    def _holds(self, condition: Any, variables: Values) -> bool:
        if isinstance(condition, bool):
            return condition
        if hasattr(self._templar, "evaluate_conditional"):
            return bool(self._templar.evaluate_conditional(condition))
        # Up to ansible-core 2.18.
        from ansible.playbook.conditional import Conditional

        examined = Conditional(loader=self._loader)
        examined.when = [condition]
        return bool(examined.evaluate_conditional(self._templar, variables))

    def yaml(self, path: str) -> Any:
        """Return what a file of this collection has; its texts may be templates."""
        return _yaml(self._loader, path)


_FILES: dict[str, Any] = {}


def _yaml(loader: Any, path: str) -> Any:
    if path not in _FILES:
        trusted = {"trusted_as_template": True} if _marks_trust(type(loader)) else {}
        _FILES[path] = loader.load_from_file(path, cache="none", **trusted)
    return _FILES[path]


@functools.cache
def _marks_trust(loader: Any) -> bool:
    return "trusted_as_template" in loader.load_from_file.__code__.co_varnames


def preload(environment: Environment, roles: Iterable[str]) -> None:
    """Read what roles want once, in the process that those for the hosts come from, and compile its templates."""
    loader = DataLoader()
    texts: list[str] = []
    files: dict[str, Any] = {}
    for role in (roles := [*roles, "packages"]):
        place = os.path.join(ROLES, role)
        _reach(loader, os.path.join(place, "tasks", "main.yml"), roles, files)
        for path in (os.path.join(place, kind, "main.yml") for kind in ("defaults", "vars")):
            if os.path.exists(path):
                files[path] = _yaml(loader, path)
        texts += _templates(os.path.join(place, "templates"))
    compile_once(environment, dict.fromkeys(_texts(files)), texts)


def _reach(loader: DataLoader, path: str, roles: list[str], files: dict[str, Any]) -> None:
    """Read a task file and those that it takes, but not those that wait for something to do."""
    if path not in files and os.path.exists(path):
        files[path] = _yaml(loader, path)
        for task in _flat(files[path]):
            if file := task.get("ansible.builtin.import_tasks"):
                _reach(loader, os.path.normpath(os.path.join(os.path.dirname(path), file)), roles, files)
            if include := task.get("ansible.builtin.include_role"):
                name = include["name"].removeprefix(COLLECTION)
                for role in roles if "{{" in name else [name]:
                    _reach(loader, os.path.join(ROLES, role, "tasks", f"{include['tasks_from']}.yml"), roles, files)


def _flat(tasks: Any) -> Iterator[Values]:
    """Yield tasks and those of their blocks."""
    for task in tasks or []:
        yield task
        yield from _flat([*task.get("block", []), *task.get("always", [])])


def _templates(place: str) -> Iterator[str]:
    """Yield the templates of a role."""
    for directory, _directories, files in os.walk(place):
        for file in files:
            with open(os.path.join(directory, file), encoding="utf-8") as stream:
                yield stream.read()


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts that are templates."""
    if isinstance(value, str):
        if "{{" in value:
            yield value
    elif isinstance(value, (Mapping, list)):
        items = [item for key, item in value.items() if key not in _SPOKEN] if isinstance(value, Mapping) else value
        for item in items:
            yield from _texts(item)


class _Scope(NamedTuple):
    """Where a task stands: the role, the directory of its file, the variables around it, and where files are."""

    role: str
    directory: str
    variables: Values
    search: tuple[str, ...]

    def within(self, directory: str, role: str = "") -> _Scope:
        """Return the scope of a file that this one includes; what lies beside the including one is found, too."""
        place = os.path.join(ROLES, role or self.role) if role or self.role else directory
        search = dict.fromkeys((place, directory, *self.search))
        return self._replace(role=role or self.role, directory=directory, search=tuple(search))


_NOWHERE = _Scope("", "", {}, ())


class WantedParts:
    """Reads roles for one host, task by task, as if every part were as wanted."""

    def __init__(
        self,
        templates: Templates,
        variables: Mapping[str, Any],
        given: Mapping[str, Any],
        controller: Mapping[str, Callable[[str, Values, Values], Values]],
        ask: Callable[[str, Values], Values],
    ):
        """Read with the variables of a host.

        C(given) is what tasks register or note where all is as wanted. C(controller) calls actions that ask no host,
        and C(ask) a module that only gathers, because later tasks need its answer.
        """
        self._templates = templates
        self._base = dict(variables)
        self._given = given
        self._noted: Values = dict(given)
        self._controller = controller
        self._ask = ask
        self._roles: set[str] = set()

    def roles(self, names: Iterable[str]) -> Iterator[Part]:
        """Yield the parts of whole roles, in their order."""
        for name in names:
            self._refuse_wrong_types(name)
            yield from self._file(name, "main", _NOWHERE)

    def task_file(self, path: str) -> Iterator[Part]:
        """Yield the parts of a task file of a playbook."""
        yield from self._tasks(self._templates.yaml(path), _NOWHERE.within(os.path.dirname(path)))

    def value(self, expression: str) -> Any:
        """Return what an expression gives with the variables of the roles that are known."""
        return self._templates.value(_template(expression), {**self._base, **self._noted})

    def know(self, roles: Iterable[str]) -> None:
        """Add the variables of roles, which see those of each other."""
        for role in roles:
            self._know(role)

    def _know(self, role: str) -> None:
        """Add a role's variables: defaults below all that is set, and what is in vars above."""
        if role in self._roles:
            return
        self._roles.add(role)
        place = os.path.join(ROLES, role)
        for name, value in (self._optional(os.path.join(place, "defaults", "main.yml"))).items():
            self._base.setdefault(name, value)
        self._base.update(self._optional(os.path.join(place, "vars", "main.yml")))

    def _optional(self, path: str) -> Values:
        return (self._templates.yaml(path) or {}) if os.path.exists(path) else {}

    def _refuse_wrong_types(self, role: str) -> None:
        """Refuse a role's variables as Ansible does at the beginning of the role."""
        options = role_options(role)
        variables = {**self._base, **self._noted}
        said = {
            name: plain(self._templates.value(self._base[name], variables)) for name in options if name in self._base
        }
        if errors := ArgumentSpecValidator(options).validate(said).error_messages:
            raise Unsurveyed(f"the variables of the role {role}: {'; '.join(errors)}")

    def _file(self, role: str, name: str, scope: _Scope) -> Iterator[Part]:
        directory = os.path.join(ROLES, role, "tasks")
        tasks = self._templates.yaml(os.path.join(directory, f"{name}.yml"))
        yield from self._tasks(tasks, scope.within(directory, role))

    def _tasks(self, tasks: Any, scope: _Scope) -> Iterator[Part]:
        for task in tasks or []:
            yield from self._task(task, scope)

    def _task(self, task: Values, scope: _Scope) -> Iterator[Part]:
        try:
            yield from self._read(task, scope)
        except Unsurveyed:
            raise
        except Exception as error:  # whatever it is: the task itself says it better
            raise Unsurveyed(f"{task.get('name', 'a task')} {_unread(error)}") from error

    def _read(self, task: Values, scope: _Scope) -> Iterator[Part]:
        action = _action(task)
        own = {**scope.variables, **(task.get("vars") or {})}
        inner = scope._replace(variables=own)
        variables = self._variables(inner)
        if "loop" in task:
            control = task.get("loop_control") or {}
            name = control.get("loop_var", "item")
            results = []
            for item in self._templates.value(task["loop"], variables):
                yield from self._once(task, action, inner._replace(variables={**own, name: item}))
                results.append({**self._noted.get(task.get("register"), {}), name: item})
            if "register" in task:
                skipped = {"skipped": True} if all(each.get("skipped") for each in results) else {}
                self._note(task["register"], {**_AS_WANTED, **skipped, "results": results})
        else:
            yield from self._once(task, action, inner)

    def _once(self, task: Values, action: str, scope: _Scope) -> Iterator[Part]:
        variables = self._variables(scope)
        if "when" in task and not self._templates.holds(task["when"], variables):
            if "register" in task:
                self._note(task["register"], {"changed": False, "skipped": True})
            return
        if action == "block":
            yield from self._tasks([*task["block"], *task.get("always", [])], scope)
        elif action.endswith(("import_tasks", "include_tasks")):
            file = _file_of(task, action)
            path = os.path.normpath(os.path.join(scope.directory, self._templates.value(file, variables)))
            yield from self._tasks(self._templates.yaml(path), scope.within(os.path.dirname(path)))
        elif action.endswith(("import_role", "include_role")):
            args = self._templates.value(task[action], variables)
            _refuse_others(task, args, ("name", "tasks_from", "rolespec_validate"))
            role = args["name"].removeprefix(COLLECTION)
            self._know(role)
            yield from self._file(role, args.get("tasks_from", "main"), scope)
        else:
            yield from self._do(task, action, variables)

    def _do(self, task: Values, action: str, variables: Values) -> Iterator[Part]:
        """Do what a task does on the controller, or yield what it asks the host."""
        if action == "ansible.builtin.set_fact":
            for name in task[action]:
                if name not in self._given:
                    self._noted[name] = self._templates.value(task[action][name], variables)
            return
        if action == "ansible.builtin.assert":
            if not self._templates.holds(task[action]["that"], variables):
                raise Unsurveyed(self._name(task, variables))
            return
        if not action.startswith(COLLECTION):
            # A message for people, or a command that no module of ours knows.
            raise Unsurveyed(self._name(task, variables))
        args = self._templates.value(task[action] or {}, variables)
        answer: Values = _AS_WANTED
        if action in self._controller:
            answer = self._controller[action](action, args, variables)
        elif action.endswith("_info"):
            answer = self._ask(action.removeprefix(COLLECTION), args)
        else:
            yield Part(functools.partial(self._name, task, variables), action.removeprefix(COLLECTION), args)
        if "register" in task:
            self._note(task["register"], answer)

    def _note(self, name: str, value: Values) -> None:
        if name not in self._given:
            self._noted[name] = value

    def _name(self, task: Values, variables: Values) -> str:
        with contextlib.suppress(AnsibleError):  # Ansible takes the text then, too
            return str(self._templates.value(task.get("name", ""), variables))
        return str(task["name"])

    def _variables(self, scope: _Scope) -> Values:
        found = {**self._base, **scope.variables, **self._noted}
        places = {"role_path": os.path.join(ROLES, scope.role), "ansible_search_path": list(scope.search)}
        return {**found, **places, "role_name": scope.role}


def _action(task: Mapping[str, Any]) -> str:
    """Return the action of a task; raise Unsurveyed for keywords that are not known here."""
    rest = [key for key in task if key not in _KNOWN]
    if "block" in task and not rest:
        return "block"
    if len(rest) != 1 or "block" in task:
        raise Unsurveyed(f"{task.get('name', 'a task')} has {', '.join(map(str, rest))}")
    return str(rest[0])


def _file_of(task: Values, action: str) -> Any:
    """Return the file that a task includes."""
    given = task[action]
    if not isinstance(given, Mapping):
        return given
    _refuse_others(task, given, ("file", "apply"))
    _refuse_others(task, given.get("apply", {}), ("tags",))
    return given["file"]


def _refuse_others(task: Values, given: Mapping[str, Any], known: Iterable[str]) -> None:
    if others := set(given) - set(known):
        raise Unsurveyed(f"{task.get('name', 'a task')} includes with {', '.join(sorted(others))}")


def _template(expression: str) -> Any:
    """Return an expression as a template; from ansible-core 2.19 on, a text of a program is none by itself."""
    try:
        from ansible.template import trust_as_template
    except ImportError:
        return "{{ " + expression + " }}"
    return trust_as_template("{{ " + expression + " }}")


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _kept(value: Any, omit: Any) -> Any:
    """Return a value without what is omitted; up to ansible-core 2.18 that is a text."""
    if not isinstance(omit, str):
        return value
    if isinstance(value, Mapping):
        return {key: _kept(item, omit) for key, item in value.items() if item != omit}
    if isinstance(value, list):
        return [_kept(item, omit) for item in value if item != omit]
    return value


def described(wanted: Iterable[Any]) -> list[Any]:
    """Return all that is wanted; raise Unsurveyed where it cannot be worked out without its host."""
    try:
        return list(wanted)
    except Unsurveyed:
        raise
    except Exception as error:  # whatever it is: the tasks say it better
        raise Unsurveyed(f"a variable {_unread(error)}") from error


def _unread(error: Exception) -> str:
    """Say that something cannot be worked out; up to ansible-core 2.18, a reason may begin with a secret."""
    return f"cannot be worked out: {error if isinstance(error, AnsibleActionFail) else type(error).__name__}"
