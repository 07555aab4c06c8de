"""Starts, watches and removes the containers that are the hosts."""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import images, machine, ssh
from .images import Image
from .inventory import Fleet, Host
from .machine import Podman
from .process import STATE, FleetError, in_parallel, lock, say, state_directory
from .tables import columns

ENROL = images.SOURCE / "enrol.sh"


@dataclass(frozen=True)
class Container:
    """The facts that podman has about a host's container."""

    name: str
    host: str
    state: str
    has_started: bool
    spec: dict[str, str]

    @property
    def ports(self) -> set[int]:
        """Ports of the machine that the container holds while it runs."""
        published = json.loads(self.spec["publish"]) if self.state == "running" else {}
        return {int(port) for port in published}


@dataclass(frozen=True)
class Plan:
    """The steps that a host needs."""

    host: Host
    action: str
    reason: str = ""


def specification(host: Host, image: Image) -> dict[str, str]:
    """Return what makes a container the one the inventory describes."""
    return {"image": image.tag, "address": str(host.address), "publish": json.dumps(host.publish, sort_keys=True)}


def run_arguments(fleet: Fleet, host: Host, image: Image) -> list[str]:
    """Compose the podman arguments that create a host."""
    labels = {"fleet": fleet.name, "host": host.name, "kind": image.kind, **specification(host, image)}
    return [
        *("run", "--detach", "--quiet", "--pull=never"),
        *("--name", fleet.container(host)),
        *("--hostname", host.name),
        *("--network", fleet.network, "--network-alias", host.name, "--ip", str(host.address)),
        *("--systemd=always", "--restart=always", "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN"),
        *("--security-opt=label=disable", "--security-opt=apparmor=unconfined"),
        *(f"--publish=127.0.0.1:{outer}:{inner}" for outer, inner in host.publish.items()),
        *(f"--label=baremetal.{key}={value}" for key, value in labels.items()),
        image.tag,
    ]


def containers(fleet: Fleet, podman: Podman) -> dict[str, Container]:
    """Return the fleet's containers by inventory name."""
    rows = podman.rows("ps", "--all", "--filter", f"label=baremetal.fleet={fleet.name}")
    found = {}
    for row in rows:
        labels = {key.removeprefix("baremetal."): value for key, value in row["Labels"].items()}
        found[labels["host"]] = Container(
            row["Names"][0], labels["host"], row["State"].lower(), row["StartedAt"] > 0, labels
        )
    return found


def plan(host: Host, image: Image, container: Container | None) -> Plan:
    """Compare a host with its container."""
    if container is None:
        return Plan(host, "created")
    changed = [key for key, value in specification(host, image).items() if container.spec.get(key) != value]
    if changed:
        return Plan(host, "recreated", f"{' and '.join(changed)} changed")
    if not container.has_started:
        return Plan(host, "recreated", "it never started")
    return Plan(host, "unchanged" if container.state == "running" else "started")


def up(fleet: Fleet) -> dict:
    """Bring the whole fleet to what the inventory says and return a summary."""
    podman = machine.prepare()
    with lock(f"fleet-{fleet.name}"):
        state = state_directory(fleet.name)
        chosen = {platform: images.choose(platform) for platform in {host.platform for host in fleet.hosts}}
        present = containers(fleet, podman)
        plans = [plan(host, chosen[host.platform], present.get(host.name)) for host in fleet.hosts]
        _refuse_taken_ports(fleet, state, plans, present.values())
        images.ensure(chosen.values(), podman, state)

        others = set(podman.run("ps", "--format={{.Names}}").split()) - {item.name for item in present.values()}
        machine.warn_of_too_many(len(others) + len(plans))
        machine.remember_forwarding()
        plans = _network(fleet, podman, plans, present)
        wanted = {item.host.name for item in plans if item.action in ("unchanged", "started")}
        _remove(podman, [container for container in present.values() if container.host not in wanted])
        for name in present.keys() - {host.name for host in fleet.hosts}:
            say(f"host {name}: removed, it is no longer in the inventory")
        public_key = ssh.key(state)

        def apply(item: Plan) -> list[str]:
            if item.action == "started":
                podman.run("start", fleet.container(item.host))
            elif item.action != "unchanged":
                podman.run(*run_arguments(fleet, item.host, chosen[item.host.platform]))
            keys = enrol(fleet, item.host, podman, public_key)
            if item.action != "unchanged":
                say(f"host {item.host.name}: {item.action}" + (f", {item.reason}" if item.reason else ""))
            return keys

        keys = in_parallel(apply, plans)
        ssh.write_files(fleet, state, zip(fleet.hosts, keys, strict=True))
        tunnels = ssh.open_tunnels(fleet, state)
        config = os.path.relpath(state / "ssh_config")
        say(f"fleet {fleet.name}: {len(plans)} hosts up; try: ssh -F {config} {fleet.hosts[0].name}")
    return {
        "fleet": fleet.name,
        "network": fleet.network,
        "subnet": str(fleet.subnet),
        "state_directory": str(state),
        "ssh_config": str(state / "ssh_config"),
        "changed": bool(tunnels) or any(item.action != "unchanged" for item in plans),
        "hosts": {
            item.host.name: {
                "action": item.action,
                "address": str(item.host.address),
                "platform": item.host.platform,
                "kind": chosen[item.host.platform].kind,
                "container": fleet.container(item.host),
                "publish": item.host.publish,
                "tunnels": item.host.tunnels,
            }
            for item in plans
        },
    }


def enrol(fleet: Fleet, host: Host, podman: Podman, public_key: str) -> list[str]:
    """Let the fleet's key in, wait until the host is up and return its ssh keys."""
    script = ENROL.read_text()
    try:
        output = podman.run("exec", "--interactive", fleet.container(host), "sh", "-s", "--", public_key, stdin=script)
    except FleetError as error:
        raise FleetError(f"{host.name} does not come up: {error}") from None
    state, *keys = output.splitlines()
    if state == "degraded":
        say(f"host {host.name}: degraded, see `systemctl --failed` there")
    ssh.wait(host)
    return keys


def restart(fleet: Fleet, host: Host) -> None:
    """Restart one host and its tunnels."""
    podman = machine.connect()
    with lock(f"fleet-{fleet.name}"):
        state = state_directory(fleet.name)
        if host.name not in containers(fleet, podman):
            raise FleetError(f"{host.name} is not there: run `up` first")
        podman.run("restart", fleet.container(host))
        enrol(fleet, host, podman, ssh.key(state))
        say(f"host {host.name}: restarted")
        ssh.open_tunnels(fleet, state)


def execute(fleet: Fleet, host: Host, command: list[str]) -> None:
    """Become a command inside a host."""
    podman = machine.connect()
    terminal = ["--tty"] if os.isatty(0) and os.isatty(1) else []
    argv = podman.argv("exec", "--interactive", *terminal, fleet.container(host), *command)
    os.execvpe(argv[0], argv, podman.env)


def down(fleet: Fleet, *, remove_images: bool, all_traces: bool) -> None:
    """Remove everything that belongs to the fleet."""
    ssh.close(ssh.sockets(fleet).glob("*"))
    shutil.rmtree(ssh.sockets(fleet), ignore_errors=True)
    if machine.installed():
        podman = machine.connect()
        with lock(f"fleet-{fleet.name}"):
            present = containers(fleet, podman)
            _remove(podman, present.values())
            for name in present:
                say(f"host {name}: removed")
            if podman.succeeds("network", "exists", fleet.network):
                podman.run("network", "rm", fleet.network)
            machine.restore_forwarding(podman)
            if all_traces:
                images.remove(podman)
            elif remove_images:
                used = {container.spec["image"] for container in present.values()}
                images.remove(podman, used | images.tags(host.platform for host in fleet.hosts))
        if all_traces:
            machine.remove_traces(podman)
    shutil.rmtree(STATE / fleet.name, ignore_errors=True)
    with contextlib.suppress(OSError):
        STATE.rmdir()  # stays while other fleets have their state in it
    say(f"fleet {fleet.name}: down")


def status(fleet: Fleet) -> str:
    """Compose the table of the fleet's hosts."""
    present = containers(fleet, machine.connect())
    rows = [("HOST", "PLATFORM", "IMAGE", "STATE", "ADDRESS", "PORTS")]
    for host in fleet.hosts:
        container = present.get(host.name)
        kind = container.spec["kind"] if container else images.choose(host.platform).kind
        ports = " ".join(f"127.0.0.1:{outer}->{inner}" for outer, inner in host.publish.items())
        state = container.state if container else "absent"
        platform = Path(container.spec["image"]).name.partition(":")[0] if container else host.platform
        rows.append((host.name, platform, kind, state, str(host.address), ports or "-"))
    return "\n".join(columns(rows))


def _network(fleet: Fleet, podman: Podman, plans: list[Plan], present: dict[str, Container]) -> list[Plan]:
    """Create the network; another subnet means that all hosts have to be made again."""
    if podman.succeeds("network", "exists", fleet.network):
        network = json.loads(podman.run("network", "inspect", fleet.network))[0]
        if [subnet["subnet"] for subnet in network["subnets"]] == [str(fleet.subnet)]:
            return plans
        _remove(podman, present.values())
        podman.run("network", "rm", fleet.network)
        plans = [Plan(item.host, "recreated", "subnet changed") for item in plans]
    label = f"--label=baremetal.fleet={fleet.name}"
    podman.run("network", "create", f"--subnet={fleet.subnet}", label, fleet.network)
    return plans


def _remove(podman: Podman, unwanted: Iterable[Container]) -> None:
    if names := [container.name for container in unwanted]:
        command = ("rm", "--force", "--ignore", "--time=2", *names)
        # One that ends at this very moment is in no state to be removed; a second later it is.
        if not podman.succeeds(*command):
            time.sleep(1)
            podman.run(*command)


def _refuse_taken_ports(fleet: Fleet, state: Path, plans: list[Plan], present: Iterable[Container]) -> None:
    """Refuse to start when something else holds a port, before anything is started."""
    held = {port for container in present for port in container.ports}
    wanted = [(item.host, port, "publish") for item in plans for port in item.host.publish if port not in held]
    wanted += [(host, port, "tunnels") for host, port in ssh.sweep_tunnels(fleet, state)]
    for host, port, key in wanted:
        if not _is_free(port):
            raise FleetError(
                f"port {port} on 127.0.0.1 is taken by another program and {host.name} wants it: "
                f"free it, or change it in {fleet.inventory} under {host.name}: fleet_host: {key}"
            )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
