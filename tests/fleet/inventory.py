"""Reads a fleet from an Ansible YAML inventory and refuses what cannot work."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import yaml

from .process import FleetError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
TARGET = re.compile(r"[A-Za-z0-9._-]+:(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Host:
    """One host of the fleet as the inventory describes it."""

    name: str
    platform: str
    address: IPv4Address
    publish: dict[int, int] = field(default_factory=dict)
    tunnels: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fleet:
    """All hosts of an inventory and the network they share."""

    name: str
    subnet: IPv4Network
    hosts: tuple[Host, ...]
    inventory: Path

    @property
    def network(self) -> str:
        """Name of the podman network."""
        return f"baremetal-{self.name}"

    def container(self, host: Host) -> str:
        """Name of the host's container, unique on the machine."""
        return f"{self.network}-{host.name}"

    def host(self, name: str) -> Host:
        """Find a host by its inventory name."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise FleetError(f"{self.inventory} has no fleet host named {name}; it has: {known}")


def load(path: Path, platforms: Mapping[str, str]) -> Fleet:
    """Read and check the inventory; ``platforms`` are the known ones, each with the one that stands in its place."""
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise FleetError(f"cannot read the inventory {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FleetError(f"the inventory {path} is not valid YAML: {' '.join(str(error).split())}") from None
    return _Reader(path, platforms).fleet(tree)


class _Reader:
    """Turns the tree of an inventory into a fleet; every refusal names the file and the key."""

    def __init__(self, path: Path, platforms: Mapping[str, str]) -> None:
        self.path = path
        self.platforms = platforms

    def refuse(self, sentence: str) -> FleetError:
        return FleetError(f"{self.path}: {sentence}")

    def fleet(self, tree: Any) -> Fleet:
        root = self.mapping(tree, "the inventory")
        described = self.mapping(self.mapping(root.get("all"), "all").get("vars"), "all.vars").get("fleet")
        described = self.mapping(described, "all.vars.fleet")
        name = described.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise self.refuse(f"all.vars.fleet.name must be lower-case letters, digits and dashes, not {name!r}")
        try:
            subnet = IPv4Network(described.get("subnet"))
        except ValueError:
            raise self.refuse(
                f"all.vars.fleet.subnet must be a network such as 10.89.71.0/24, not {described.get('subnet')!r}"
            ) from None
        if subnet.num_addresses < 4:
            raise self.refuse(f"all.vars.fleet.subnet {subnet} has no room for hosts")

        merged: dict[str, dict[str, Any]] = {}
        for host, variables in self.walk(root, ""):
            merged.setdefault(host, {}).update(variables)
        hosts = tuple(self.host(host, values, subnet) for host, values in merged.items() if "fleet_host" in values)
        if not hosts:
            raise self.refuse("no host has the variable fleet_host")
        self.refuse_duplicates(hosts)
        return Fleet(name, subnet, hosts, self.path)

    def mapping(self, value: Any, key: str) -> dict[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refuse(f"{key} must be a mapping, not {value!r}")
        return value

    def walk(self, groups: dict[Any, Any], where: str) -> Iterator[tuple[str, dict[Any, Any]]]:
        for group, content in groups.items():
            key = f"{where}{group}"
            content = self.mapping(content, key)
            for host, variables in self.mapping(content.get("hosts"), f"{key}.hosts").items():
                yield str(host), self.mapping(variables, f"{key}.hosts.{host}")
            yield from self.walk(self.mapping(content.get("children"), f"{key}.children"), f"{key}.children.")

    def host(self, name: str, variables: dict[Any, Any], subnet: IPv4Network) -> Host:
        if not NAME.fullmatch(name):
            raise self.refuse(f"host name {name!r} must be lower-case letters, digits and dashes")
        described = self.mapping(variables["fleet_host"], f"fleet_host of {name}")
        known = ", ".join(self.platforms)
        platform = described.get("platform")
        if platform is None:
            raise self.refuse(f"fleet_host of {name} lacks `platform`, one of: {known}")
        if platform not in self.platforms:
            raise self.refuse(f"fleet_host of {name} has the unknown platform {platform!r}; known are: {known}")
        publish = {
            self.port(outer, f"publish of {name}"): self.port(inner, f"publish of {name}")
            for outer, inner in self.mapping(described.get("publish"), f"publish of {name}").items()
        }
        tunnels = {
            self.port(outer, f"tunnels of {name}"): self.target(inner, f"tunnels of {name}")
            for outer, inner in self.mapping(described.get("tunnels"), f"tunnels of {name}").items()
        }
        address = self.address(name, variables.get("ansible_host"), subnet)
        return Host(name, self.platforms[platform], address, publish, tunnels)

    def address(self, name: str, value: Any, subnet: IPv4Network) -> IPv4Address:
        try:
            address = IPv4Address(value)
        except ValueError:
            raise self.refuse(f"ansible_host of {name} must be an IPv4 address in {subnet}, not {value!r}") from None
        if address not in subnet:
            raise self.refuse(f"ansible_host of {name} is {address}, outside the fleet's subnet {subnet}")
        gateway = subnet.network_address + 1
        if address in (subnet.network_address, gateway, subnet.broadcast_address):
            raise self.refuse(
                f"ansible_host of {name} is {address}, which the network itself uses: take one from {gateway + 1} on"
            )
        return address

    def port(self, value: Any, where: str) -> int:
        number = int(value) if str(value).isdecimal() else 0
        if not 0 < number < 65536:
            raise self.refuse(f"{where}: {value!r} is not a port")
        return number

    def target(self, value: Any, where: str) -> str:
        match = TARGET.fullmatch(str(value))
        if not match:
            raise self.refuse(f'{where}: {value!r} is not an address and a port such as "127.0.0.1:9001"')
        self.port(match["port"], where)
        return str(value)

    def refuse_duplicates(self, hosts: tuple[Host, ...]) -> None:
        addresses: dict[IPv4Address, str] = {}
        ports: dict[int, str] = {}
        for host in hosts:
            if (other := addresses.setdefault(host.address, host.name)) != host.name:
                raise self.refuse(f"{other} and {host.name} have the same ansible_host {host.address}")
            for port in [*host.publish, *host.tunnels]:
                if port in ports:
                    raise self.refuse(f"port {port} of the machine is wanted twice, by {ports[port]} and {host.name}")
                ports[port] = host.name
