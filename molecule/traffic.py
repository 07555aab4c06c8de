"""Load on the fleet while something happens to it; the generator is load.py, which runs on a host."""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from testinfra.host import Host

from probes import INVENTORY, PROJECT, SUPERVISORCTL, name

GENERATOR = PROJECT / "molecule" / "load.py"
STAMPED = PROJECT / "molecule" / "stamped"
PORT = 8085
# A busy machine takes several times as long as a quiet one.
BOUNDS = {"seconds": 3000, "most": 3_000_000}


def stamped(app: str, source: os.PathLike[str] = STAMPED, **values: Any) -> dict[str, Any]:
    """Describe the test app under a name; the values are those of its description."""
    described: dict[str, dict[str, Any]] = {
        "python": {"requirements": ""},
        "site": {"listen": PORT, "prefix": f"/{app}"},
        "health": {"path": "/healthz"},
    }
    merged = {key: {**described.get(key, {}), **value} if key in described else value for key, value in values.items()}
    return {"name": app, "source": {"path": str(source)}, "entrypoint": "stamped:app", **described, **merged}


@dataclass(frozen=True)
class Target:
    """An address of an app on a host; by default that of its site."""

    host: Host
    app: str
    port: int = PORT
    prefix: str | None = None

    @property
    def url(self) -> str:
        """Return the address of the app's first page."""
        prefix = f"/{self.app}" if self.prefix is None else self.prefix
        return f"http://{name(self.host)}:{self.port}{prefix}/"


@dataclass
class Judgement:
    """The findings of the generator; there once its block is over."""

    found: dict[str, Any] = field(default_factory=dict)

    def assert_flawless(self, in_order: bool = True) -> None:
        """See that each target got every kind of request, that none failed, and that the past answered none."""
        print(json.dumps(self.found))
        assert self.found["errors"] == []
        assert self.found["failed"] == 0
        if in_order:
            assert {url: target["back"] for url, target in self.found["targets"].items() if target["back"]} == {}
        assert all(len(target["kinds"]) == 4 for target in self.found["targets"].values())


@contextmanager
def load(client: Host, targets: list[Target], **spec: Any) -> Iterator[Judgement]:
    """Put load on targets from a host of the fleet while the block runs, for 50 minutes at most."""
    judgement, stop = Judgement(), f"/tmp/load-{uuid.uuid4().hex}"
    before = {target.url: len(lives(target.host, target.app)) for target in targets}
    asked = {"targets": {target.url: target.url for target in targets}, "stop": stop, **BOUNDS, **spec}
    command = client.backend.quote("python3 - %s", json.dumps(asked))
    with GENERATOR.open() as program:
        generator = subprocess.Popen(
            ["ssh", "-F", client.backend.ssh_config, name(client), command],
            stdin=program,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        yield judgement
    finally:
        # From the release that was live at the beginning to the one that is live now.
        live = {target.url: lives(target.host, target.app)[before[target.url] - 1 :] for target in targets}
        client.check_output("echo %s > %s.new && mv %s.new %s", json.dumps(live), stop, stop, stop)
        printed, _ = generator.communicate(timeout=300)
        client.check_output("rm -f %s", stop)
    assert generator.returncode == 0
    judgement.found = json.loads(printed)


def lives(host: Host, app: str) -> list[str]:
    """Return the releases that were live, one after the other, by the host's own log."""
    rows = map(json.loads, host.check_output("cat %s", f"/srv/wsgi/{app}/releases.log").splitlines())
    return [row["release"] for row in rows if row["result"] == "live"]


def state(host: Host, app: str) -> dict[str, Any]:
    """Describe all that a release that does not go live has to leave as it was."""
    home = f"/srv/wsgi/{app}"
    programs = [line.split() for line in host.run(f"{SUPERVISORCTL} status").stdout.splitlines()]
    units = f"systemctl list-units --all --no-legend --plain 'baremetal-web-*{app}*' | cut -d' ' -f1"
    return {
        "current": host.check_output("readlink %s/current %s/current.sock", home, home),
        "releases": host.check_output("ls %s/releases", home),
        "sockets": host.check_output("ls %s/run %s/sockets", home, home),
        "slots": host.check_output("ls -l --time-style=+ %s/slots", home),
        "lock": host.run("cat %s/lock.json", home).stdout,
        "programs": sorted((words[0], words[1], words[3]) for words in programs if words[0].startswith(f"{app}-")),
        "units": host.check_output(units),
    }


def ask(hosts: str, module: str, **arguments: Any) -> dict[str, dict[str, Any]]:
    """Call a module for releases on hosts; return what each of them answers."""
    done = subprocess.run(
        [
            *("ansible", hosts, f"--inventory={INVENTORY}", "--become", f"--module-name=baremetal.web.{module}"),
            f"--args={json.dumps(arguments)}",
        ],
        cwd=PROJECT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    found = re.findall(r"^(\S+) \| \S+ => (\{$.*?^\})", done.stdout, re.MULTILINE | re.DOTALL)
    return {host: json.loads(answer) for host, answer in found}
