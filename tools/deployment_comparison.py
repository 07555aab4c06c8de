"""Compare deployments of this tree with those of a commit: sibling hosts, runs in turn, ratios.

Both trees run with the same Python and ansible-core, on hosts of the same image on the same machine, without any
ANSIBLE_* of the environment. In odd rounds this tree is first, in even rounds the commit is. Each figure is the
median of the rounds. Each run opens its connections anew, and tries a lost one again.

* CPU seconds are the controller's: ansible-playbook, the processes that it waits for, and the connections of ssh.
* Each further host: the CPU seconds of the largest fleet less those of one host, divided by the further hosts.
* Tasks: those that ran or were skipped, on one host.
* Round trips: the lines "SSH: EXEC" of a run with -vvv, which is not timed. There is one for each module, and for each
  upload.
* One changed key: a new value in the environment of the app, which makes a release. The figure is the run's seconds
  less the host's own. The host's own are those of the module processes that report a change: the build, the start,
  the health checks with health.stable, the switch. A stand-in for the host's Python measures them on the host.
* Fresh host: the seconds of site.yml on a new host, one in each round.
* 1,000 hosts: calculated. All CPU seconds are divided by the cores. The run's own process makes all others, and has
  one core. A round trip waits for (seconds - CPU seconds) / round trips of one host, and as many hosts wait at a time
  as there are forks. A run takes at least the longest of the three.
* --simulated N checks it: a run on N names of one host, each with a connection of its own.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.fleet import ssh
from tests.fleet.process import FleetError, run, say, state_directory, write

from .deployment_figures import Run
from .deployment_fleet import FIRST_ADDRESS, NAME, REPOSITORY, Hosts, Play, describe

SERVER_NAME = "hello.example"
LAST_ADDRESS = 250
NEEDED = ("ansible.cfg", "site.yml", "playbooks/deploy.yml", ".collections/ansible_collections/baremetal/web")
FORKS = 50
# A busy machine may lose a connection, and with it the comparison.
RETRIES = "2"
# For each simulated host, on top of the time that any run may take.
PATIENCE = 15
INTERPRETER = "/usr/local/bin/measured-python3"
MEASURED = "/run/measured"
COLLECT = f"cat {MEASURED}/*.took 2>/dev/null; rm -f {MEASURED}/*.took"
SCRIPTS = Path(__file__).parent / "on_host"


@dataclass(frozen=True)
class Tree:
    """Files that are run: this tree, or a commit."""

    key: str
    title: str
    path: Path
    commit: str


@dataclass(frozen=True)
class Plan:
    """The trees, fleets and rounds of a comparison."""

    sizes: tuple[int, ...]
    rounds: int
    simulated: int
    ours: Tree
    theirs: Tree

    def turns(self, number: int) -> tuple[Tree, Tree]:
        """Return the trees in the order of a round."""
        return (self.ours, self.theirs) if number % 2 else (self.theirs, self.ours)

    def addresses(self, tree: Tree, fresh: int = 0) -> dict[str, int]:
        """Return the hosts of a tree with their addresses, or the one that is new in a round."""
        side, most = int(tree == self.theirs), max(self.sizes)
        if fresh:
            return {f"{tree.key}-new{fresh}": FIRST_ADDRESS + 2 * most + 2 * (fresh - 1) + side}
        return {f"{tree.key}{number:02}": FIRST_ADDRESS + side * most + number for number in range(most)}

    def count(self) -> int:
        """Return how many runs there will be."""
        return 2 * (1 + self.rounds * (len(self.sizes) + 3) + 1 + bool(self.simulated))


def size_problem(sizes: list[int], rounds: int) -> str:
    """Tell why such fleets cannot be compared; empty where they can."""
    if 1 not in sizes:
        return "--against needs a fleet of 1 host: name 1 in --hosts, such as --hosts 1,4"
    if len(sizes) != len({*sizes}):
        return "--hosts names a size twice"
    if FIRST_ADDRESS + 2 * max(sizes) + 2 * rounds > LAST_ADDRESS:
        return "so many hosts and rounds have no room in one network: lower --hosts or --rounds"
    return ""


def git(*words: str) -> str:
    """Run git on this repository."""
    return run(["git", "-C", str(REPOSITORY), *words]).strip()


def resolve(commit: str) -> Tree:
    """Find a commit and refuse one that cannot be measured, before there is any host."""
    try:
        found = git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    except FleetError:
        raise FleetError(
            f"--against names {commit!r}, which is no commit of this repository. Name one, or fetch it."
        ) from None
    for path in NEEDED:
        try:
            git("cat-file", "-e", f"{found}:{path}")
        except FleetError:
            raise FleetError(f"--against names {commit!r}, which has no {path}. Name a later commit.") from None
    return Tree("that", git("rev-parse", "--short", found), REPOSITORY, found)


def this_tree() -> Tree:
    """Return the tree that this program is of."""
    changed = "with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return Tree("this", "this tree", REPOSITORY, f"{git('rev-parse', 'HEAD')} {changed}".strip())


@contextlib.contextmanager
def checked_out(tree: Tree, place: Path) -> Iterator[Tree]:
    """Check a commit out beside this tree, and remove it at the end."""
    path = place / "tree"
    try:
        git("worktree", "add", "--quiet", "--detach", str(path), tree.commit)
        yield replace(tree, path=path)
    finally:
        if path.exists():
            git("worktree", "remove", "--force", str(path))


class Comparison(Hosts):
    """The runs of two trees, each on hosts of its own."""

    def __init__(self, plan: Plan, place: Path, timeout: float):
        super().__init__(place, timeout)
        self.plan = plan
        self.state = state_directory(NAME)
        self.fresh = 0
        self.numbers = {plan.ours.key: 0, plan.theirs.key: 0}
        # Python's bytecode is kept, as it is for an operator.
        unwanted = ("ANSIBLE_", "PYTHONDONTWRITEBYTECODE")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}

    def described(self) -> dict[str, Any]:
        addresses: dict[str, int] = {}
        for tree in (self.plan.ours, self.plan.theirs):
            addresses |= self.plan.addresses(tree) | (self.plan.addresses(tree, self.fresh) if self.fresh else {})
        return describe(addresses, self.state)

    def hosts_file(self, name: str, addresses: dict[str, int], **more: Any) -> Path:
        """Write the inventory of some of the hosts."""
        path = self.place / f"{name}.yml"
        write(path, yaml.safe_dump(describe(addresses, self.state, SERVER_NAME, **more)))
        return path

    def members(self, tree: Tree, size: int, **more: Any) -> Path:
        """Write the inventory of a tree's first hosts."""
        addresses = dict(list(self.plan.addresses(tree).items())[:size])
        return self.hosts_file(f"{tree.key}-{size}{'-' if more else ''}{'-'.join(more)}", addresses, **more)

    def compare(
        self, case: str, number: int, size: int, tree: Tree, hosts: Path, playbook: str = "site.yml", *words: str
    ) -> Run:
        """Run a playbook of a tree, with connections of its own and their CPU seconds."""
        say(f"run {len(self.runs) + 1} of {self.plan.count()}: {tree.title}, {case}")
        sockets = ssh.sockets(self.fleet)
        ssh.close(sockets.glob("*"))
        done = self.run(
            case,
            number,
            size,
            Play(
                playbook,
                hosts,
                ("-e", f"number={self.numbers[tree.key]}", *words),
                {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets), "ANSIBLE_SSH_RETRIES": RETRIES},
                tree.path,
                tree.key,
                self.environment,
            ),
        )
        done.cpu_seconds = round(done.cpu_seconds + connections_spent(sockets), 2)
        ssh.close(sockets.glob("*"))
        if case in ("noop", "counted", "simulated") and done.status == "ok" and done.changed:
            done.status = f"{done.changed} changes, where nothing was to do"
            say(f"{tree.title}, {case}: {done.status}")
        return done

    def on_host(self, name: str, script: str, *words: str) -> str:
        """Run a script on a host, as root."""
        command = ["ssh", "-F", str(self.state / "ssh_config"), name, "sudo", "sh", "-s", "--", *words]
        return run(command, stdin=script)

    def measure(self) -> None:
        """Run everything; stop where a tree does not provision its hosts."""
        plan, most = self.plan, max(self.plan.sizes)
        for tree in plan.turns(1):
            if self.compare("provision", 1, most, tree, self.members(tree, most)).status != "ok":
                return
        for number in range(1, plan.rounds + 1):
            self.fresh = number
            self.up()
            for tree in plan.turns(number):
                new = self.hosts_file(f"{tree.key}-new", plan.addresses(tree, number))
                self.compare("fresh", number, 1, tree, new)
            for size in plan.sizes:
                for tree in plan.turns(number):
                    self.compare("noop", number, size, tree, self.members(tree, size))
        for tree in plan.turns(1):
            self.count(tree)
        if plan.simulated:
            for tree in plan.turns(1):
                self.simulate(tree, plan.simulated)
        for tree in plan.turns(1):
            self.on_host(f"{tree.key}00", (SCRIPTS / "measure.sh").read_text(), INTERPRETER, MEASURED)
        for number in range(1, plan.rounds + 1):
            for case, playbook, *words in (("site", "site.yml"), ("deploy", "baremetal.web.deploy", "-e", "app=hello")):
                for tree in plan.turns(number):
                    self.release(case, number, tree, playbook, *words)

    def count(self, tree: Tree) -> None:
        """Count the round trips of a run that is not timed."""
        hosts = self.members(tree, 1)
        done = self.compare("counted", 1, 1, tree, hosts, "site.yml", "-vvv")
        output = self.log("counted", 1, 1, Play("site.yml", hosts, of=tree.key))
        done.round_trips = round_trips(output.read_text(errors="replace"))

    def release(self, case: str, number: int, tree: Tree, playbook: str, *words: str) -> None:
        """Change a key of the app, and ask the host what it took itself."""
        self.numbers[tree.key] += 1
        hosts = self.members(tree, 1, ansible_python_interpreter=INTERPRETER)
        self.on_host(f"{tree.key}00", COLLECT)
        done = self.compare(case, number, 1, tree, hosts, playbook, *words)
        done.host_seconds = host_seconds(self.on_host(f"{tree.key}00", COLLECT))
        if done.status == "ok" and not done.host_seconds:
            done.status = "the host has not released anything"

    def simulate(self, tree: Tree, size: int) -> None:
        """Run a fleet whose hosts are names of one host, each with a connection of its own."""
        names = [f"sim{number:04}" for number in range(size)]
        self.on_host(f"{tree.key}00", (SCRIPTS / "simulate.sh").read_text(), *names)
        (address,) = list(self.plan.addresses(tree).values())[:1]
        hosts = self.hosts_file(
            f"{tree.key}-simulated",
            dict.fromkeys(names, address),
            ansible_become_exe="/usr/local/bin/simulated {{ inventory_hostname }}",
            ansible_control_path="%(directory)s/{{ inventory_hostname }}",
        )
        usual = self.timeout
        self.timeout = usual + PATIENCE * size
        try:
            self.compare("simulated", 1, size, tree, hosts, "site.yml", "--forks", str(FORKS))
        finally:
            self.timeout = usual


def round_trips(output: str) -> int:
    """Count the commands that a run with -vvv had ssh execute."""
    return sum(" SSH: EXEC " in line for line in output.splitlines())


def host_seconds(took: str) -> float:
    """Add up what module processes took, in nanoseconds, one on each line."""
    return round(sum(int(line) for line in took.split()) / 1e9, 2)


def connections_spent(sockets: Path) -> float:
    """Return the CPU seconds of the connections that ssh has open: nobody waits for these processes."""
    total = 0.0
    for path in sockets.glob("*"):
        command = ["ssh", "-F", "none", "-S", str(path), "-O", "check", "fleet"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        number = said.rpartition("pid=")[2].partition(")")[0]
        if number.isdecimal():
            total += cpu_seconds(int(number))
    return total


def cpu_seconds(process: int) -> float:
    """Return what a process has spent until now; nothing where it has just ended."""
    # In /proc/PID/stat, a process that never works for long has spent nothing.
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
    return 0.0
