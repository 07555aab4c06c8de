"""The demo: three hosts on this machine, provisioned over ssh. ``python -m tools.demo up|down``."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.fleet import hosts, images, inventory
from tests.fleet.inventory import Fleet, Host
from tests.fleet.process import FleetError, run, say, state_directory, write
from tests.fleet.tables import columns

REPOSITORY = Path(__file__).resolve().parent.parent
INVENTORY = Path("inventories/demo/hosts.yml")
APP = "/gunicorn/hello"
PASSWORD_FILE = "/etc/supervisord/web-password"
NO_ANSWER = "NO ANSWER"
APP_PORT = 8080
WEB_PORT = 9001


def up() -> None:
    """Make the hosts, provision them, and show where everything is."""
    fleet = load()
    hosts.up(fleet)
    say("ansible-playbook site.yml -i inventories/demo")
    state = state_directory(fleet.name)
    log = state / "site.log"
    if provision(log):
        raise FleetError(f"site.yml failed; its output is above and in {log}")
    logins = state / "logins"
    write(logins, "".join(f"{host.name} admin {password(state, host)}\n" for host in fleet.hosts))
    shown = table(fleet, logins)
    print(shown)
    if NO_ANSWER in shown:
        raise FleetError(
            f"not every app answers; `ansible-playbook baremetal.web.status -i {INVENTORY.parent}` says why"
        )


def provision(log: Path) -> int:
    """Run site.yml, its output on the screen and in a log; return its exit status."""
    command = ["ansible-playbook", "site.yml", "-i", str(INVENTORY.parent)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("w") as copy,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        for line in process.stdout or ():
            copy.write(line)
            print(line, end="", flush=True)
    return process.returncode


def down() -> None:
    """Remove everything that ``up`` made."""
    hosts.down(load(), remove_images=True, all_traces=True)


def load() -> Fleet:
    """Read the demo's inventory."""
    return inventory.load(REPOSITORY / INVENTORY, images.platforms())


def password(state: Path, host: Host) -> str:
    """Read the password that the host made for its web UI."""
    return run(["ssh", "-F", str(state / "ssh_config"), host.name, "sudo", "cat", PASSWORD_FILE]).strip()


def answer(url: str) -> str:
    """Ask the app; return what it says, or what went wrong."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()
    except (OSError, urllib.error.URLError) as error:
        return f"{NO_ANSWER}: {error}"


def table(fleet: Fleet, logins: Path) -> str:
    """Say where the apps and the web UIs are, and what the apps answer."""
    lines = [("host", "is", "app", "its answer", "supervisor web UI")]
    for host in fleet.hosts:
        published = {target: port for port, target in host.publish.items()}
        tunnelled = {int(target.rpartition(":")[2]): port for port, target in host.tunnels.items()}
        url = f"http://127.0.0.1:{published[APP_PORT]}{APP}"
        identity = f"{host.platform} ({images.choose(host.platform).kind})"
        lines.append((host.name, identity, url, answer(url), f"http://127.0.0.1:{tunnelled[WEB_PORT]}/"))
    # The app's answer is set in wide characters, so it goes last in its line.
    rows = columns((host, identity, web, url, said) for host, identity, url, said, web in lines)
    return "\n".join(
        [
            "",
            *rows,
            "",
            f"Login of the web UIs (host, user, password): {logins}",
            f"A shell on a host: ssh -F {logins.parent / 'ssh_config'} {fleet.hosts[0].name}",
            "Remove everything again: make demo-down",
        ]
    )


def main() -> int:
    """Run the command; return the exit status."""
    commands = {"up": up, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print("usage: python -m tools.demo up|down", file=sys.stderr)
        return 2
    try:
        commands[sys.argv[1]]()
    except FleetError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
