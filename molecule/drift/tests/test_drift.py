"""The drift matrix: what a run makes of each kind of drift, the long way and the short way.

Not in the table: SELinux types, because no test host has SELinux, and older packages, because a run leaves versions to
the operator.
"""

import functools
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from kinds import KINDS, PRELUDE, REFUSED, REPAIRED, UNSEEN, Kind
from probes import PROJECT, eventually, play
from state import differences, look

INVENTORY = Path(__file__).resolve().parents[1] / "inventory"
FAMILIES = {"drift-debian": "debian", "drift-centos": "centos"}
BATCHES = sorted({kind.batch for kind in KINDS})
# The option that lets a run ask no survey; before there is one, every run takes the long way.
LONG_WAY = "site_survey"
SITE = PROJECT / "playbooks" / "site.yml"
HAS_SURVEY = LONG_WAY in SITE.read_text()
# By default, of two hosts each takes another way, in turn, and each kind is asked for alone on one of them.
THOROUGH = os.environ.get("DRIFT_THOROUGH", "") not in ("", "0")
MATRIX = [
    pytest.param(host, kind, id=f"{host}-{kind.batch}-{kind.id}")
    for kind in KINDS
    for host, family in FAMILIES.items()
    if family in kind.families
]
SAVE = """
mkdir -p /root/drift
for path in {keeps}; do echo "$path"; done > /root/drift/{id}.paths
xargs ls -d < /root/drift/{id}.paths > /root/drift/{id}.found 2>/dev/null || true
tar --create --absolute-names --file=/root/drift/{id}.tar --files-from=/root/drift/{id}.found
echo "${{ID:-}}" > /root/drift/{id}.release
"""
PUT_BACK = """
xargs --no-run-if-empty rm -rf < /root/drift/{id}.paths
tar --extract --absolute-names --preserve-permissions --file=/root/drift/{id}.tar
"""


@dataclass(frozen=True)
class Batch:
    """One host before the drifts of a batch, with them, and after the run; and the run itself."""

    before: dict[str, str]
    drifted: dict[str, str]
    after: dict[str, str]
    status: int
    output: str


class Drifting:
    """A host that drifts."""

    def __init__(self, host: Host, name: str):
        self.host = host
        self.name = name

    def kinds(self, batch: int | None = None) -> list[Kind]:
        """Return the kinds of its family."""
        return [kind for kind in KINDS if FAMILIES[self.name] in kind.families and batch in (None, kind.batch)]

    def is_asked(self, kind: Kind) -> bool:
        """Tell whether the kind is made alone on this host."""
        families = list(kind.families)
        return THOROUGH or FAMILIES[self.name] == families[KINDS.index(kind) % len(families)]

    def make(self, kind: Kind) -> None:
        """Save what the drift changes, and make it."""
        self._run(kind, f"{SAVE.format(id=kind.id, keeps=kind.keeps)}\n{kind.make}")

    def undo(self, kind: Kind) -> None:
        """Make the host as it was before the drift, without a run."""
        release = f"ID=$(cat /root/drift/{kind.id}.release)"
        self._run(kind, f"{PUT_BACK.format(id=kind.id) if kind.keeps else ''}\n{kind.undo}", release)

    def _run(self, kind: Kind, script: str, before: str = "") -> None:
        variables = f"APP='{kind.app}' FAMILY={FAMILIES[self.name]} {before}"
        done = self.host.run("sh -c %s", f"{variables}\n{PRELUDE}\n{script}")
        assert done.rc == 0, f"{kind.id}: {done.stdout}{done.stderr}"

    def run(self, *, short: bool) -> tuple[int, str]:
        """Run site.yml on it, one way or the other."""
        way = {LONG_WAY: False} if HAS_SURVEY and not short else {}
        return play("site.yml", f"--limit={self.name}", inventory=INVENTORY, **way)

    def differs(self) -> bool:
        """Ask the host the one question of a run: whether it is not as wanted."""
        status, output = play(str(question()), f"--limit={self.name}", inventory=INVENTORY)
        assert status == 0
        return f"{self.name} is as wanted" not in output


@functools.cache
def question() -> Path:
    """Write a playbook of the question alone, as site.yml asks it."""
    for asking in yaml.safe_load(SITE.read_text()):
        if tasks := [task for task in asking.get("tasks", []) if "baremetal.web.survey" in task]:
            path = PROJECT / ".fleet" / "drift" / "question.yml"
            path.write_text(yaml.safe_dump([{**asking, "tasks": tasks}]))
            return path
    raise AssertionError(f"{SITE} asks no survey")


def drift(batch: int, host: Drifting, *, short: bool) -> Batch:
    """Make all drifts of a batch on a host, run once, and make it healthy again where the run has not."""
    before = look(host.host)
    made: list[Kind] = []
    try:
        for kind in host.kinds(batch):
            host.make(kind)
            made.append(kind)
        drifted = look(host.host)
        status, output = host.run(short=short)
        after = look(host.host)
        made = [kind for kind in made if kind.expected != REPAIRED or missed(kind, before, after)]
    finally:
        for kind in made:
            host.undo(kind)
    return Batch(before, drifted, after, status, output)


def own(kind: Kind, found: dict[str, tuple[str | None, str | None]]) -> dict[str, tuple[str | None, str | None]]:
    """Return those differences that are of a kind."""
    return {key: values for key, values in found.items() if re.fullmatch(kind.pattern, key)}


def missed(kind: Kind, before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return what a run has not repaired of a kind."""
    found = own(kind, differences(before, after))
    return {key: values for key, values in found.items() if not (kind.renewed and re.fullmatch(kind.renewed, key))}


@pytest.fixture(scope="module")
def drifting(connect: Callable[[str], Host]) -> dict[str, Drifting]:
    """The hosts."""
    return {name: Drifting(connect(name), name) for name in FAMILIES}


@pytest.fixture(scope="module")
def alone(drifting: dict[str, Drifting]) -> dict[str, dict[str, bool | str]]:
    """Make each drift alone and ask its host whether it differs; what was healthy is healthy again in the end."""

    def ask_all(host: Drifting) -> dict[str, bool | str]:
        before, answers = look(host.host), dict[str, bool | str]()
        for kind in filter(host.is_asked, host.kinds()):
            try:
                host.make(kind)
                answers[kind.id] = HAS_SURVEY and host.differs()
                host.undo(kind)
            except AssertionError as error:  # the others are asked for nevertheless
                answers[kind.id] = str(error)
        assert differences(before, look(host.host)) == {}
        return answers

    with ThreadPoolExecutor() as pool:
        return dict(zip(drifting, pool.map(ask_all, drifting.values()), strict=True))


@pytest.fixture(scope="module")
def batches(drifting: dict[str, Drifting]) -> dict[tuple[str, int, bool], Batch]:
    """Make all drifts, one batch after the other, on both hosts at a time."""
    found = {}

    def drift_all(name: str, offset: int) -> None:
        for batch in BATCHES:
            ways = [False, True] if THOROUGH and HAS_SURVEY else [HAS_SURVEY and (batch + offset) % 2 == 1]
            for short in ways:
                found[name, batch, short] = drift(batch, drifting[name], short=short)

    with ThreadPoolExecutor() as pool:
        list(pool.map(drift_all, drifting, range(len(drifting))))
    return found


@pytest.mark.skipif(not HAS_SURVEY, reason="site.yml asks no survey yet")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_survey_sees_the_drift_alone(alone: dict[str, dict[str, bool | str]], kind: Kind) -> None:
    answers = {name: found[kind.id] for name, found in alone.items() if kind.id in found}
    assert set(answers.values()) == {kind.expected != UNSEEN}


def test_each_drift_is_undone_without_a_run(alone: dict[str, dict[str, bool | str]]) -> None:
    assert {kind for answers in alone.values() for kind in answers} == {kind.id for kind in KINDS}


@pytest.mark.parametrize(("name", "kind"), MATRIX)
def test_a_run_does_as_the_table_says(batches: dict[tuple[str, int, bool], Batch], name: str, kind: Kind) -> None:
    outcomes = [batch for (host, number, _short), batch in batches.items() if (host, number) == (name, kind.batch)]
    assert outcomes
    for outcome in outcomes:
        assert own(kind, differences(outcome.before, outcome.drifted)) != {}
        if kind.expected == REPAIRED:
            assert missed(kind, outcome.before, outcome.after) == {}
        elif kind.expected == UNSEEN:
            assert own(kind, differences(outcome.drifted, outcome.after)) == {}
        else:
            assert kind.says in outcome.output


def test_a_run_fails_only_where_it_refuses(batches: dict[tuple[str, int, bool], Batch]) -> None:
    refused = {kind.batch for kind in KINDS if kind.expected == REFUSED}
    assert {key: batch.status for key, batch in batches.items()} == {
        key: 2 if key[1] in refused else 0 for key in batches
    }


def test_a_run_changes_nothing_but_the_drifts(batches: dict[tuple[str, int, bool], Batch]) -> None:
    kinds = {number: [kind for kind in KINDS if kind.batch == number] for number in BATCHES}
    left = {
        key: [
            (name, values)
            for name, values in differences(batch.before, batch.after).items()
            if not any(re.fullmatch(f"{kind.pattern}|{kind.renewed or '-'}", name) for kind in kinds[key[1]])
        ]
        for key, batch in batches.items()
    }
    assert {key: found for key, found in left.items() if found} == {}


def test_a_reboot_is_no_drift(drifting: dict[str, Drifting]) -> None:
    def boot(host: Host) -> str:
        try:
            return host.check_output("cat /proc/sys/kernel/random/boot_id")
        except (AssertionError, RuntimeError):  # ssh has no connection
            return ""

    def has_rebooted(host: Drifting) -> bool:
        before, first = look(host.host), boot(host.host)
        host.host.run("systemd-run --on-active=1 systemctl reboot")
        eventually(lambda: boot(host.host) not in ("", first), seconds=120)
        eventually(lambda: host.host.run("systemctl is-system-running --wait").stdout != "", seconds=120)
        eventually(lambda: not differences(before, look(host.host)), seconds=120)
        return not (HAS_SURVEY and host.differs())

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(has_rebooted, drifting.values())) == [True] * len(drifting)
