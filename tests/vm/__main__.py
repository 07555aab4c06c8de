"""Command line: python -m tests.vm up|down."""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.fleet import machine, ssh
from tests.fleet.process import FleetError, hand_over, lock, run, say, state_directory, succeeds, write

from . import images
from .images import Disk, Identity

NAME = "vm"
PROGRAMS = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "mmdebstrap": "mmdebstrap",
    "e2fsprogs": "mke2fs",
    "openssh-client": "ssh",
}
# A machine without hardware virtualization computes every instruction: slow, and it works.
PATIENCE = {"kvm": 300, "tcg": 900}
READY = "cloud-init status --wait >/dev/null 2>&1; timeout 60 systemctl is-system-running --wait >/dev/null 2>&1; true"
SSH_CONFIG = """\
Host {name}
    HostName 127.0.0.1
    Port {port}
    User ops
    IdentityFile "{state}/id_ed25519"
    IdentitiesOnly yes
    UserKnownHostsFile "{state}/known_hosts"
    HostKeyAlias {name}
    StrictHostKeyChecking yes
    ConnectTimeout 10
    ServerAliveInterval 15
"""


def accelerator() -> str:
    """Return how the processor is run: /dev/kvm counts only on a processor that can do it."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and flags & {"vmx", "svm"} else "tcg"


def identity(state: Path) -> Identity:
    """Make the keys of the login and of the machine."""
    host_key = state / "host_key"
    if not host_key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", str(host_key)])
    write(state / "known_hosts", f"{NAME} {host_key.with_suffix('.pub').read_text()}")
    return Identity(NAME, ssh.key(state), host_key.read_text())


def arguments(state: Path, disk: Disk, port: int) -> list[str]:
    """Compose qemu's command line."""
    return [
        *("qemu-system-x86_64", "-name", NAME, "-machine", "q35", "-accel", accelerator(), "-cpu", "max"),
        *("-smp", "2", "-m", "2048", "-display", "none", "-serial", f"file:{state / 'console.log'}"),
        *("-drive", f"file={disk.path},if=virtio,format={disk.path.suffix[1:]},cache=unsafe"),
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=net"),
        *("-device", "virtio-rng-pci", *disk.options),
    ]


def process(state: Path) -> int:
    """Return the id of the machine's own qemu, 0 when it does not run."""
    pid = state / "pid"
    command = Path("/proc", pid.read_text().strip(), "cmdline") if pid.exists() else Path("/nonexistent")
    return int(command.parent.name) if command.exists() and str(state).encode() in command.read_bytes() else 0


def up(state: Path) -> None:
    """Start the machine and wait until one can work in it."""
    config = ["ssh", "-F", str(state / "ssh_config"), NAME]
    if process(state) and succeeds([*config, "true"]):
        say("vm: is up")
        return
    down(state)
    disk = images.provide(state, identity(state))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write(state / "ssh_config", SSH_CONFIG.format(name=NAME, port=port, state=state))
    with (state / "qemu.log").open("wb") as log:
        qemu = subprocess.Popen(
            arguments(state, disk, port), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    write(state / "pid", f"{qemu.pid}\n")
    how = accelerator()
    say(f"vm: boots ({disk.kind}, {how})")
    deadline = time.monotonic() + PATIENCE[how]
    while not succeeds([*config, READY]):
        if qemu.poll() is not None:
            raise FleetError(f"the virtual machine ended: {(state / 'qemu.log').read_text().strip()}")
        if time.monotonic() > deadline:
            raise FleetError(f"the virtual machine cannot be reached after {PATIENCE[how]} s; see {state}/console.log")
        time.sleep(1)
    say(f"vm: up; try: ssh -F {os.path.relpath(state)}/ssh_config {NAME}")


def down(state: Path) -> None:
    """End the machine and remove everything but its logs and images."""
    if pid := process(state):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while process(state) and time.monotonic() < deadline:
            time.sleep(0.1)
        if process(state):
            os.kill(pid, signal.SIGKILL)
        say("vm: removed")
    for path in state.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".log":
            path.unlink()


def main() -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm",
        description="A virtual machine with SELinux enforcing.",
        epilog="TEST_VM_IMAGE=<path or URL of a cloud image in qcow2>, TEST_VM_IMAGE_SHA256=<its checksum>",
    )
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    try:
        state = state_directory(NAME)
        with lock(NAME):
            if command == "up":
                missing = [
                    package for package, program in PROGRAMS.items() if not shutil.which(program, path=machine.SEARCH)
                ]
                if missing:
                    machine.install(missing)
                up(state)
            else:
                down(state)
    except FleetError as error:
        print(f"vm: {error}", file=sys.stderr)
        return 2
    finally:
        hand_over(state_directory(NAME))
    return 0


if __name__ == "__main__":
    sys.exit(main())
