"""The fleet's key, its ssh configuration and the tunnels."""

import hashlib
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from .inventory import Fleet, Host
from .process import RUN, FleetError, in_parallel, run, say, succeeds, write

USER = "ops"
PATIENCE = 30


def key(state: Path) -> str:
    """Make the fleet's key once and return its public half."""
    private = state / "id_ed25519"
    if not private.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "baremetal-fleet", "-f", str(private)])
    return private.with_suffix(".pub").read_text().strip()


def sockets(fleet: Fleet) -> Path:
    """Return the directory of the control sockets, short because the paths of sockets have to be."""
    return RUN / "ssh" / fleet.name


def config(fleet: Fleet, state: Path) -> str:
    """Compose the ssh configuration, with entries by inventory name and by address."""
    return "".join(
        f"Host {host.name} {host.address}\n"
        f"    HostName {host.address}\n"
        f"    User {USER}\n"
        f"    IdentityFile {_quoted(state / 'id_ed25519')}\n"
        f"    IdentitiesOnly yes\n"
        f"    UserKnownHostsFile {_quoted(state / 'known_hosts')}\n"
        f"    StrictHostKeyChecking yes\n"
        f"    UpdateHostKeys no\n"
        f"    ServerAliveInterval 5\n"
        f"    ControlMaster auto\n"
        f"    ControlPersist 60\n"
        f"    ControlPath {_quoted(sockets(fleet), '/%C')}\n"
        for host in fleet.hosts
    )


def known_hosts(keys: Iterable[tuple[Host, list[str]]]) -> str:
    """Compose the list of host keys."""
    return "".join(f"{host.name},{host.address} {key}\n" for host, lines in keys for key in lines)


def write_files(fleet: Fleet, state: Path, keys: Iterable[tuple[Host, list[str]]]) -> None:
    """Write what ssh needs to reach the fleet."""
    write(state / "ssh_config", config(fleet, state))
    write(state / "known_hosts", known_hosts(keys))
    sockets(fleet).mkdir(mode=0o700, parents=True, exist_ok=True)


def wait(host: Host) -> None:
    """Wait until the host's sshd greets."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((str(host.address), 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise FleetError(f"{host.name}: no sshd answers at {host.address}:22")
        time.sleep(0.1)


def tunnel_argv(fleet: Fleet, state: Path, host: Host, port: int) -> list[str]:
    """Compose the command line of a tunnel that stays in the background."""
    return [
        *_control(fleet, state, host, port),
        "-fNM",
        *("-o", "ControlPersist=no"),
        *("-o", "ExitOnForwardFailure=yes"),
        *("-L", f"127.0.0.1:{port}:{host.tunnels[port]}"),
        host.name,
    ]


def sweep_tunnels(fleet: Fleet, state: Path) -> list[tuple[Host, int]]:
    """Close the tunnels that are dead or no longer wanted and return those that are missing now."""
    wanted = [(host, port) for host in fleet.hosts for port in host.tunnels]
    alive = in_parallel(lambda tunnel: _is_alive(fleet, state, *tunnel), wanted)
    missing = [tunnel for tunnel, lives in zip(wanted, alive, strict=True) if not lives]
    kept = {_socket(fleet, *tunnel) for tunnel in wanted if tunnel not in missing}
    close(path for path in sockets(fleet).glob("tunnel-*") if path not in kept)
    return missing


def open_tunnels(fleet: Fleet, state: Path) -> list[int]:
    """Open the tunnels that are missing and return their ports."""
    missing = sweep_tunnels(fleet, state)
    for host, port in missing:
        run(tunnel_argv(fleet, state, host, port))
        say(f"tunnel 127.0.0.1:{port} -> {host.name} {host.tunnels[port]}: open")
    return [port for _, port in missing]


def close(paths: Iterable[Path]) -> None:
    """End the ssh processes behind control sockets and wait until they have let go of their ports."""
    for path in list(paths):
        succeeds(["ssh", "-F", "none", "-S", str(path), "-O", "exit", "fleet"])
        deadline = time.monotonic() + 2
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        path.unlink(missing_ok=True)


def _socket(fleet: Fleet, host: Host, port: int) -> Path:
    meaning = hashlib.sha256(f"{host.address} {host.tunnels[port]}".encode()).hexdigest()
    return sockets(fleet) / f"tunnel-{port}-{meaning[:8]}"


def _control(fleet: Fleet, state: Path, host: Host, port: int) -> list[str]:
    return ["ssh", "-F", str(state / "ssh_config"), "-S", str(_socket(fleet, host, port))]


def _is_alive(fleet: Fleet, state: Path, host: Host, port: int) -> bool:
    """Go through the tunnel's own connection; without it there is no other way."""
    refuse = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "ConnectTimeout=5")
    return succeeds([*_control(fleet, state, host, port), *refuse, host.name, "true"])


def _quoted(path: Path, suffix: str = "") -> str:
    escaped = str(path).replace("%", "%%")
    return f'"{escaped}{suffix}"'
