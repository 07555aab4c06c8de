"""Makes the machine able to run systemd containers, without touching what belongs to the machine."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .process import RUN, STATE, FleetError, lock, run, run_logged, say, succeeds, write

CONF = RUN / "containers.conf"
PIN = RUN / "namespace" / "mnt"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
FORMER_FORWARDING = RUN / "former_ip_forward"
STORAGE = Path("/var/lib/containers")
STORAGE_MARK = STORAGE / ".made-by-baremetal-fleet"
HELPERS = ("/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman")
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", *HELPERS])
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "# Made by tests/fleet while it installs packages; `make prepare` removes one that was left behind."
SYSTEMD = Path("/run/systemd/system")
UNITS = Path("/lib/systemd/system")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_PER_HOST = 6
CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class Podman:
    """How podman is called on this machine."""

    prefix: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """The environment that points podman to the fleet's own configuration."""
        return {**os.environ, "CONTAINERS_CONF": str(CONF)}

    def argv(self, *arguments: str) -> list[str]:
        """Compose a command line."""
        return [*self.prefix, "podman", *arguments]

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a short podman command and return what it printed."""
        return run(self.argv(*arguments), stdin=stdin, env=self.env)

    def run_logged(self, what: str, *arguments: str, log: Path, stdin: str = "") -> None:
        """Run a long podman command with its output in a log file."""
        run_logged(what, self.argv(*arguments), log, stdin=stdin, env=self.env)

    def succeeds(self, *arguments: str) -> bool:
        """Tell whether a podman command succeeds."""
        return succeeds(self.argv(*arguments), env=self.env)

    def rows(self, *arguments: str) -> list[dict]:
        """Run a listing command and return its rows."""
        return json.loads(self.run(*arguments, "--format", "json") or "[]") or []


def prepare() -> Podman:
    """Install what is missing, then connect."""
    _require_root()
    if missing := missing_packages():
        install(missing)
    else:
        _remove_leftover_policy()
    return connect()


def connect() -> Podman:
    """Make podman usable: its configuration and, on old cgroups, the private mount namespace."""
    _require_root()
    if not installed():
        raise FleetError("podman is not installed: run `python -m tests.fleet prepare` first")
    with lock("machine"):
        if not STORAGE.exists():
            STORAGE.mkdir(mode=0o700)
            STORAGE_MARK.touch()
        write(CONF, containers_conf(old_cgroups=_old_cgroups(), hard_limits=_unraisable_limits()), 0o644)
        return Podman(_namespace() if _old_cgroups() else ())


def installed() -> bool:
    """Tell whether podman is there."""
    return shutil.which("podman", path=SEARCH) is not None


def missing_packages() -> list[str]:
    """Name the packages whose programs are not on this machine."""
    wanted = {
        "podman": "podman",
        "runc": "runc",
        "netavark": "netavark",
        "aardvark-dns": "aardvark-dns",
        "iptables": "iptables",
        "mmdebstrap": "mmdebstrap",
        "openssh-client": "ssh",
    }
    if not _needs_runc() and shutil.which("crun", path=SEARCH):
        del wanted["runc"]
    missing = [package for package, program in wanted.items() if not shutil.which(program, path=SEARCH)]
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    return missing


def containers_conf(*, old_cgroups: bool, hard_limits: dict[str, int]) -> str:
    """Compose podman's configuration; only a machine with old cgroups or fixed limits needs more than podman's own."""
    containers = ["pids_limit = 0", 'base_hosts_file = "none"']
    engine = ['events_logger = "file"']
    if hard_limits:
        ulimits = ", ".join(f'"{name}={value}:{value}"' for name, value in hard_limits.items())
        containers.append(f"default_ulimits = [{ulimits}]")
    if old_cgroups:
        engine.append('cgroup_manager = "cgroupfs"')
    if old_cgroups or hard_limits:
        engine.append('runtime = "runc"')
    sections = {"containers": containers, "engine": engine, "network": ['network_backend = "netavark"']}
    return "\n".join(line for name, lines in sections.items() for line in (f"[{name}]", *lines)) + "\n"


def warn_of_too_many(hosts: int) -> None:
    """Say beforehand what would otherwise show as hosts that do not boot."""
    allowed = int(INOTIFY.read_text())
    if hosts * INOTIFY_PER_HOST > allowed:
        say(
            f"machine: {hosts} hosts are more than fs.inotify.max_user_instances={allowed} carries: if one does not"
            f" boot, try `sysctl fs.inotify.max_user_instances={allowed * 8}`"
        )


def remember_forwarding() -> None:
    """Note that the machine does not forward packets yet, because podman will make it do so."""
    if FORWARDING.read_text().strip() == "0":
        write(FORMER_FORWARDING, "0\n")


def restore_forwarding(podman: Podman) -> None:
    """Stop forwarding if a fleet started it and no container needs it any more."""
    if FORMER_FORWARDING.exists() and not podman.run("ps", "--quiet").strip():
        FORWARDING.write_text(FORMER_FORWARDING.read_text())
        FORMER_FORWARDING.unlink()
        say("machine: net.ipv4.ip_forward restored")


def remove_traces(podman: Podman) -> None:
    """Remove the namespace, the configuration and the storage, unless containers or images of others need them."""
    if podman.run("ps", "--all", "--quiet").strip():
        say("machine: podman keeps its namespace and storage, other containers are there")
        return
    leftovers = podman.run("images", "--all", "--quiet").strip() + podman.run("volume", "ls", "--quiet").strip()
    if leftovers:
        say("machine: podman's storage is kept, other images or volumes are there")
    elif STORAGE_MARK.exists():
        podman.run("system", "reset", "--force")
        shutil.rmtree(STORAGE)
        say("machine: podman's storage removed")
    if podman.prefix:
        for mount in (PIN, PIN.parent):
            run(["umount", str(mount)])
    shutil.rmtree(RUN)
    say("machine: the fleet's namespace and configuration removed")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise FleetError("the fleet needs root, because its hosts have addresses of their own: run this with sudo")


def install(packages: Sequence[str]) -> None:
    """Install system packages where apt can, and start no service of theirs: tests bring their own."""
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise FleetError(f"this machine lacks {names} and has no apt-get: install them with its own package manager")
    say(f"machine: installing {names}")
    STATE.mkdir(mode=0o700, exist_ok=True)
    log = STATE / "prepare.log"
    # Under plain `su` the PATH lacks what dpkg calls.
    env = {**os.environ, "PATH": SEARCH, "DEBIAN_FRONTEND": "noninteractive"}
    with lock("machine"), _services_held_back(packages):
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            run_logged(f"apt-get {arguments[0]}", ["apt-get", *arguments], log, env=env)
    say("machine: packages installed")


@contextmanager
def _services_held_back(packages: Sequence[str]) -> Iterator[None]:
    """Let no package start its service, now or when the machine boots; what was there before goes on as it was."""
    # https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
    new = [package for package in packages if not _has_package(package)]
    ours = not POLICY.exists() or _policy_is_ours()
    if ours:
        write(POLICY, f"#!/bin/sh\n{POLICY_MARK}\nexit 101\n", 0o755)
    try:
        yield
    finally:
        try:
            for package in new if SYSTEMD.is_dir() else ():
                if (UNITS / f"{package}.service").exists():
                    run(["systemctl", "disable", package])
        finally:
            if ours:
                POLICY.unlink(missing_ok=True)


def _has_package(name: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\n", name]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return "installed" in answer.stdout.split()


def _policy_is_ours() -> bool:
    """Tell whether there is a policy of ours; to whoever has the lock, it is what a killed run left."""
    return POLICY.exists() and POLICY_MARK in POLICY.read_text(errors="replace").splitlines()


def _remove_leftover_policy() -> None:
    """Let packages start their services again, which a killed run would have held back for ever."""
    if _policy_is_ours():
        with lock("machine"):
            if _policy_is_ours():
                POLICY.unlink()
                say(f"machine: {POLICY} removed, which an installation that was killed had left")


def _filesystem(path: Path) -> str:
    result = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _old_cgroups() -> bool:
    return _filesystem(Path("/sys/fs/cgroup")) != "cgroup2fs"


def _unraisable_limits() -> dict[str, int]:
    """Return the limits that containers have to live with where even root may not raise them."""
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    if effective >> CAP_SYS_RESOURCE & 1:
        return {}
    processes = int(Path("/proc/sys/kernel/pid_max").read_text())  # podman lowers its own limit to this
    return {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "nproc": min(processes, resource.getrlimit(resource.RLIMIT_NPROC)[1] % 2**64),
    }


def _needs_runc() -> bool:
    """Tell whether crun, which sets up cgroups and limits in its own way, cannot run here."""
    return _old_cgroups() or bool(_unraisable_limits())


def _namespace() -> tuple[str, ...]:
    """Pin a mount namespace whose /sys/fs/cgroup is a plain cgroup2 tree and return the way into it."""
    if _filesystem(PIN) != "nsfs":
        PIN.parent.mkdir(parents=True, exist_ok=True)
        if not succeeds(["mountpoint", "--quiet", str(PIN.parent)]):
            run(["mount", "--bind", str(PIN.parent), str(PIN.parent)])
        run(["mount", "--make-private", str(PIN.parent)])
        PIN.touch()
        script = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        try:
            run(["unshare", f"--mount={PIN}", "--propagation", "private", "sh", "-c", script])
        except FleetError:
            succeeds(["umount", str(PIN)])  # unshare pins the namespace before it runs the script
            raise
        say(f"machine: private cgroup2 namespace pinned at {PIN}")
    return ("nsenter", f"--mount={PIN}")
