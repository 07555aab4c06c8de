"""The hosts of the deployment benchmark, and the runs of playbooks on them."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.fleet import hosts, images, inventory
from tests.fleet.process import FleetError, say, state_directory, write

from .deployment_figures import Run

REPOSITORY = Path(__file__).resolve().parent.parent
NAME = "deployments"
SUBNET = "10.89.94"
FIRST_ADDRESS = 11
GRACE = 10


def app_entry(server_name: str) -> dict[str, Any]:
    """Return the description of the app that every host has."""
    return {
        "name": "hello",
        "source": {"path": str(REPOSITORY / "files/hello_flask")},
        "entrypoint": "hello_flask:create_app()",
        "site": {"server_names": [server_name], "listen": 8080, "prefix": "/gunicorn"},
        "health": {"path": "/healthz"},
        "environment": {"NUMBER": "{{ number | default(0) }}"},
    }


def describe(
    addresses: Mapping[str, int], state: Path, server_name: str = "{{ inventory_hostname }}", **more: Any
) -> dict[str, Any]:
    """Return the inventory of these hosts, each with the last number of its address."""
    members = {
        name: {"ansible_host": f"{SUBNET}.{number}", "fleet_host": {"platform": "debian13"}}
        for name, number in addresses.items()
    }
    common = {
        "fleet": {"name": NAME, "subnet": f"{SUBNET}.0/24"},
        "ansible_user": "ops",
        "ansible_ssh_common_args": f"-F {state / 'ssh_config'}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "wsgi_apps": [app_entry(server_name)],
        **more,
    }
    return {"all": {"vars": common, "children": {"wsgi": {"hosts": members}}}}


def description(size: int, state: Path) -> dict[str, Any]:
    """Return the inventory of a fleet of so many hosts."""
    return describe({f"app{number:02}": FIRST_ADDRESS + number for number in range(size)}, state)


@dataclass(frozen=True)
class Play:
    """A playbook to run: on which hosts, with which words and settings, and of which tree of files."""

    playbook: str
    inventory: Path
    words: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    tree: Path = REPOSITORY
    of: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Hosts:
    """A fleet whose hosts are new, and the runs on it."""

    def __init__(self, place: Path, timeout: float):
        self.place = place
        self.timeout = timeout
        self.inventory = place / "hosts.yml"
        self.runs: list[Run] = []

    def described(self) -> dict[str, Any]:
        """Return the inventory of the whole fleet."""
        raise NotImplementedError

    def up(self) -> None:
        """Make the hosts that are described and not there, and remove those that are no longer described."""
        write(self.inventory, yaml.safe_dump(self.described()))
        self.fleet = inventory.load(self.inventory, images.platforms())
        hosts.up(self.fleet)

    def __enter__(self) -> Self:
        write(self.inventory, yaml.safe_dump(self.described()))
        self.fleet = inventory.load(self.inventory, images.platforms())
        hosts.down(self.fleet, remove_images=False, all_traces=False)
        try:
            self.up()
        except BaseException as problem:
            # Some hosts may be there, and a `with` that was not entered is not left either.
            self.__exit__(problem)
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        try:
            hosts.down(self.fleet, remove_images=False, all_traces=False)
        except FleetError as error:
            if not problem[0]:
                raise
            # What was wrong before says more, and is raised on.
            say(f"fleet {NAME}: not removed, the next benchmark does it: {error}")

    def run(self, case: str, number: int, size: int, play: Play) -> Run:
        """Run a playbook and keep what it took."""
        profile, log = self.place / "profile.json", self.log(case, number, size, play)
        profile.unlink(missing_ok=True)
        command = ["ansible-playbook", play.playbook, "-i", str(play.inventory), *play.words]
        own = {"TASK_PROFILE": str(profile), "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tools/callback")}
        environment = {**play.environment, **own, **play.settings}
        before, started = spent(), time.monotonic()
        status = finish(command, environment, log, self.timeout, play.tree)
        seconds, used = time.monotonic() - started, spent() - before
        shown = " ".join(word.replace(str(play.inventory), "INVENTORY") for word in command)
        settings = {key: value for key, value in play.settings.items() if str(self.place) not in value}
        run = Run(size, case, number, shown, settings, round(seconds, 2), round(used, 2), status, of=play.of)
        if profile.exists():
            read_profile(profile, run)
        self.runs.append(run)
        subject = f"{play.of}, " if play.of else ""
        say(f"{subject}{size} hosts, {case}: {seconds:.1f} s, CPU {used:.1f} s, {run.tasks_per_host:g} tasks, {status}")
        if status != "ok":
            sys.stderr.write("".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:]))
        return run

    def log(self, case: str, number: int, size: int, play: Play) -> Path:
        """Name the file with the output of a run."""
        return self.place / "-".join(filter(None, [play.of.replace(" ", "-"), case, str(size), f"{number}.log"]))


class Bench(Hosts):
    """The runs of several cases on one fleet."""

    def __init__(self, size: int, place: Path, timeout: float):
        super().__init__(place, timeout)
        self.size = size

    def described(self) -> dict[str, Any]:
        return description(self.size, state_directory(NAME))

    def play(self, case: str, number: int, playbook: str, *words: str, settings: dict[str, str] | None = None) -> Run:
        """Run a playbook on all hosts."""
        wanted = dict(settings or {})
        if "ANSIBLE_CACHE_PLUGIN" in wanted:
            wanted["ANSIBLE_CACHE_PLUGIN_CONNECTION"] = str(self.place / "facts")
        return self.run(case, number, self.size, Play(playbook, self.inventory, words, wanted))


def spent() -> float:
    """Return the CPU seconds of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def finish(
    command: list[str], environment: Mapping[str, str], log: Path, timeout: float, tree: Path = REPOSITORY
) -> str:
    """Run a command within its time; return ``ok`` or what went wrong."""
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, cwd=tree, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"not done after {timeout:g} s"
        finally:
            end(process)
    return f"exit status {code}" if code else "ok"


def end(process: subprocess.Popen[bytes]) -> None:
    """Let nothing of a command go on, whatever ended the wait for it: its hosts are removed next."""
    # The workers of ansible-playbook have sessions of their own. It hands SIGTERM on to them; SIGKILL it cannot.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def read_profile(path: Path, run: Run) -> None:
    """Note the tasks of a run, and how many of all hosts changed something and ran (or were left out)."""
    told = json.loads(path.read_text())
    summaries = told["hosts"].values()
    run.profile = told["tasks"]
    run.parent_cpu_seconds = round(told["parent_cpu_seconds"], 2)
    run.changed = sum(host["changed"] for host in summaries)
    run.tasks = sum(host[what] for host in summaries for what in ("ok", "skipped", "failures", "unreachable"))
    run.tasks_per_host = round(run.tasks / run.hosts, 1)
