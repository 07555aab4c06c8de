"""Command line: python -m tests.fleet COMMAND."""

import argparse
import json
import sys
from pathlib import Path

from . import hosts, images, inventory, machine
from .process import RUN, STATE, FleetError, hand_over, say, state_directory


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tests.fleet",
        description="A fleet of systemd hosts in podman, from an Ansible inventory.",
        epilog="In the environment: TEST_IMAGE_<PLATFORM>=<image> makes a platform's hosts from that image; "
        "PLATFORMS=centos10,debian12 puts these in the place of the inventory's platforms of their families.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("prepare", help="install what is missing and make podman usable")
    fleet = argparse.ArgumentParser(add_help=False)
    fleet.add_argument("-i", "--inventory", type=Path, required=True, help="Ansible inventory in YAML")
    host = argparse.ArgumentParser(add_help=False)
    host.add_argument("host", metavar="HOST", help="a host of the inventory")

    commands.add_parser("images", parents=[fleet], help="build the images the hosts need, when missing")
    up = commands.add_parser("up", parents=[fleet], help="bring the fleet to what the inventory says")
    up.add_argument("--json", action="store_true", help="print a summary for programs")
    down = commands.add_parser("down", parents=[fleet], help="remove the fleet")
    down.add_argument("--images", action="store_true", help="remove its images too")
    down.add_argument("--all-traces", action="store_true", help="remove all images, the namespace and the storage too")
    commands.add_parser("status", parents=[fleet], help="show the hosts")
    run = commands.add_parser("exec", parents=[fleet, host], help="run a command in a host, as root")
    run.add_argument("words", metavar="-- CMD", nargs=argparse.REMAINDER, help="the command")
    commands.add_parser("restart", parents=[fleet, host], help="restart a host")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args(argv)
    try:
        return dispatch(options)
    except FleetError as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        hand_over(STATE, RUN / "ssh")


def dispatch(options: argparse.Namespace) -> int:
    """Call what the command asks for."""
    if options.command == "prepare":
        machine.prepare()
        say("machine: ready")
        return 0
    fleet = inventory.load(options.inventory, images.platforms())
    match options.command:
        case "images":
            podman = machine.prepare()
            chosen = [images.choose(platform) for platform in sorted({host.platform for host in fleet.hosts})]
            images.ensure(chosen, podman, state_directory(fleet.name))
            say("images: ready")
        case "up":
            summary = hosts.up(fleet)
            if options.json:
                print(json.dumps(summary, indent=2))
        case "down":
            hosts.down(fleet, remove_images=options.images, all_traces=options.all_traces)
        case "status":
            print(hosts.status(fleet))
        case "exec":
            words = options.words[1:] if options.words[:1] == ["--"] else options.words
            if not words:
                raise FleetError("exec needs a command after --")
            hosts.execute(fleet, fleet.host(options.host), words)
        case "restart":
            hosts.restart(fleet, fleet.host(options.host))
    return 0


if __name__ == "__main__":
    sys.exit(main())
