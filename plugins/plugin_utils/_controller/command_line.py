# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that playbooks take from the command line, and names that look like one of ours and are none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.roles import COLLECTION_ROOT, role_options

# What each playbook reads besides variables of roles. One that begins with a playbook's name may be in an inventory.
WORDS: dict[str, tuple[str, ...]] = {
    "benchmark": ("benchmark_target",),
    "deploy": ("app", "deploy_serial", "deploy_switch_back", "lock_wait", "message", "redeploy", "version"),
    "history": ("app", "lines"),
    "lock": ("app", "message"),
    "remove": ("confirm", "remove", "remove_data", "unpublish"),
    "rollback": ("app", "force", "lock_wait", "message", "rollback_serial", "to"),
    "site": ("app", "site_survey", "unpublish"),
    "status": (),
    "unlock": ("app",),
    "upgrade": ("upgrade_timeout", "upgrade_serial"),
    "wheelhouse": (),
}
# Names of earlier versions, each with the one that is read now.
RENAMED = {"supervisor_fronts": "supervisor_drained_units", "upgrade_patience": "upgrade_timeout"}
_BATCH = r"[1-9]\d*|(100|[1-9]\d?)(\.\d+)?%"
_NAME = r"[^\s,]+"


class _Wanted(NamedTuple):
    """The form that the value of a word must have: each part of a list, or the whole."""

    pattern: str
    said: str
    several: bool = False


_TRUTH = _Wanted(r"(?i:true|false|yes|no|on|off|y|n|t|f|1|0|1\.0|0\.0)", "true or false")
_SHARES = _Wanted(_BATCH, "a number of hosts from 1 up, a share of them such as 30%, or a list of these", several=True)
_VALUES = {
    "app": _Wanted(_NAME, "the name of an app, or several as one,two", several=True),
    "unpublish": _Wanted(_NAME, "the name of an app, or several as one,two", several=True),
    **dict.fromkeys(("redeploy", "force", "deploy_switch_back", "remove_data", "site_survey"), _TRUTH),
    **dict.fromkeys(("deploy_serial", "rollback_serial", "upgrade_serial"), _SHARES),
    "lock_wait": _Wanted(r"\d+", "a number of seconds, 0 or more, without a unit"),
    "upgrade_timeout": _Wanted(r"[1-9]\d*", "a number of seconds, 1 or more, without a unit"),
    "lines": _Wanted(r"[1-9]\d*", "a number of lines, 1 or more"),
    "version": _Wanted(r"\S+", "a branch, tag or commit"),
    **dict.fromkeys(("message", "to"), _Wanted(r"(?s:.*)", "a text")),
}
# Playbooks that work for one app at a time.
_ONE_APP = ("lock", "rollback", "unlock")
ROLES = ("apache", "benchmark", "nginx", "packages", "python", "redis", "supervisor", "wsgi")
ALL_WORDS = frozenset(word for words in WORDS.values() for word in words)
_IMPORT = re.compile(r"^\s*-?\s*(?:ansible\.builtin\.)?import_playbook:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)
_PLAY = re.compile(r"^\s*-?\s*hosts:", re.MULTILINE)
_WAY_OUT = "Correct it, or give a variable of your own another name."
_COMMENT = re.compile(r"(^|\s)#.*")
_TEMPLATE = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)


class Run:
    """The playbooks that a command line runs: ours, and those of others."""

    def __init__(self, playbooks: Iterable[str]):
        self.ours: set[str] = set()
        self.texts: list[str] = []
        self.others = False  # whether plays of others, which may read anything, run as well
        for playbook in playbooks:
            self._add(playbook)

    def _add(self, playbook: str, directory: str = "") -> None:
        if name := _name(playbook, directory):
            self.ours.add(name)
            return
        try:
            with open(os.path.join(directory, playbook), encoding="utf-8") as stream:
                text = _COMMENT.sub("", stream.read())
        except OSError:
            self.others = True
            return
        has_plays = bool(_PLAY.search(text))
        self.others |= has_plays
        self.texts += [text] if has_plays else _TEMPLATE.findall(text)
        for imported in _IMPORT.findall(text):
            self._add(imported, os.path.dirname(os.path.join(directory, playbook)))

    def uses(self, name: str) -> bool:
        """Tell whether a playbook of others has the name where it can be a variable."""
        return any(re.search(rf"\b{re.escape(name)}\b", text) for text in self.texts)

    def reads(self) -> set[str]:
        """Return the words that playbooks of ours read in this run."""
        return {word for playbook in self.ours for word in WORDS[playbook]}


def _name(playbook: str, directory: str) -> str:
    """Return which playbook of ours this is; empty for one of others."""
    collection, name = playbook.rpartition(".")[::2]
    if collection == "baremetal.web":
        return name if name in WORDS else ""
    path = os.path.realpath(os.path.join(directory, playbook))
    stem = os.path.splitext(os.path.basename(path))[0]
    return stem if os.path.dirname(path) == os.path.join(COLLECTION_ROOT, "playbooks") and stem in WORDS else ""


def word_problems(said: Iterable[str], playbooks: Iterable[str], inventory: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each name of the command line that is meant to steer something, and does not."""
    run = Run(playbooks)
    reads = run.reads()
    suspects = {}
    for name in said:
        if name not in reads and not name.startswith("ansible_") and (problem := _problem(name, reads, run)):
            suspects[name] = problem
    used = _used(suspects, inventory) if suspects else set()
    return [problem for name, problem in suspects.items() if name not in used and not run.uses(name)]


def value_problems(said: Mapping[str, Any], playbooks: Iterable[str]) -> list[str]:
    """Return a sentence for each word of the command line whose value steers nothing, or not what it seems to."""
    run = Run(playbooks)
    reads = run.reads()
    problems = []
    for name, value in said.items():
        # An empty value is told by what reads it.
        if name not in reads or name not in _VALUES or value in (None, "", []):
            continue
        wanted = _VALUES[name]
        alone = sorted(run.ours.intersection(_ONE_APP)) if name == "app" else []
        parts = _parts(value) if wanted.several else [value]
        if alone and len(parts) > 1:
            problems.append(f"-e app is {value!r}; {_and(alone)} {_takes(alone)} one app. Run it once for each.")
        elif not all(_is_plain(part) and re.fullmatch(wanted.pattern, str(part)) for part in parts):
            problems.append(f"-e {name} is {value!r}; it must be {wanted.said}.")
    return problems


def _parts(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _takes(readers: list[str]) -> str:
    return "takes" if len(readers) == 1 else "take"


def _problem(name: str, reads: set[str], run: Run) -> str:
    """Say what is wrong with a name that no playbook of ours reads in this run; empty when it is somebody's own."""
    if name in RENAMED:
        return f"-e {name} has no effect: its name is now {RENAMED[name]}. Say -e {RENAMED[name]} instead."
    if name in ALL_WORDS:
        if run.others or not run.ours:
            return ""
        readers = [playbook for playbook, words in WORDS.items() if name in words]
        there = f"{_and(sorted(reads))} from the command line" if reads else "no word of the command line"
        return (
            f"-e {name} has no effect: {_and(readers)} {_verb(readers)} it, and {_and(sorted(run.ours))} "
            f"{_verb(run.ours)} {there}. Leave it out, or run the playbook that you mean."
        )
    options = settings(ROLES)
    if name in options:
        return ""
    meant = next((word for word in sorted(reads) if _near(name, word)), "")
    meant = meant or next((word for word in sorted(ALL_WORDS) if _near(name, word, substitution=2)), "")
    meant = meant or _near_setting(name, [*options, *ALL_WORDS])
    return meant and (
        f"-e {name} has no effect: no playbook or role of baremetal.web reads it (did you mean {meant}?). {_WAY_OUT}"
    )


def setting_problems(variables: Mapping[str, Any], said: Iterable[str]) -> list[str]:
    """Return a sentence for each variable of a host that is nearly a setting of ours, and used nowhere else."""
    prefixes = {name.split("_", 1)[0] for name in variables if "_" in name}
    options = {*settings(role for role in ROLES if role in prefixes), *ALL_WORDS}
    ours = tuple({f"{name.split('_', 1)[0]}_" for name in options if "_" in name})
    own = [name for name in variables if name.startswith(ours) and name not in options and name not in said]
    problems = {}
    for name in own:
        start = f"The inventory has a variable {name}, which no role or playbook of baremetal.web reads"
        if name in RENAMED:
            problems[name] = f"{start}: its name is now {RENAMED[name]}. Rename it."
        elif meant := _near_setting(name, options, prefix=True):
            problems[name] = f"{start} (did you mean {meant}?). {_WAY_OUT}"
    used = _used(problems, [variables]) if problems else set()
    return [problem for name, problem in problems.items() if name not in used]


def settings(roles: Iterable[str]) -> list[str]:
    """Return the names of the variables that roles read."""
    return [name for role in roles for name in role_options(role)]


def _used(names: Iterable[str], variables: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names that templates of other variables use."""
    patterns = {name: re.compile(rf"\b{re.escape(name)}\b") for name in names}
    return {
        name
        for host in variables
        for variable, value in host.items()
        for template in _templates(value)
        for name, pattern in patterns.items()
        if name != variable and pattern.search(template)
    }


def _templates(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _TEMPLATE.findall(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _templates(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _templates(part)


def _near(name: str, word: str, substitution: int = 1) -> bool:
    """Tell whether a name is a word with a slip of the hand in it: one in nine letters, none of another short word."""
    name = name.lower().replace("-", "_")
    if name == word:
        return True
    if len(word) <= 3:
        return name == f"{word}s" or (set(name) == set(word) and abs(len(name) - len(word)) <= 1)
    return _distance(name, word, substitution) <= 1 + len(word) // 9


def _near_setting(name: str, settings: Iterable[str], *, prefix: bool = False) -> str:
    """Return the setting that a name is nearly; of its prefix and the rest, one has to be right."""
    first, rest = name.lower().replace("-", "_").partition("_")[::2]
    if not rest:
        return ""
    for setting in sorted(settings):
        right_first, right_rest = setting.partition("_")[::2]
        if right_rest and (
            (first == right_first and _near(rest, right_rest))
            or (not prefix and rest == right_rest and _near(first, right_first))
        ):
            return setting
    return ""


def _distance(one: str, other: str, substitution: int) -> int:
    """Return how many letters are too many, lacking, exchanged or wrong (optimal string alignment)."""
    before, last = [], list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, right in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (0 if letter == right else substitution)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == right:
                row[-1] = min(row[-1], before[j - 2] + 1)
        before, last = last, row
    return last[-1]


def _and(words: Iterable[str]) -> str:
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


def _verb(readers: Iterable[str]) -> str:
    return "reads" if len(list(readers)) == 1 else "read"
