"""How the tests of all scenarios look at the fleet."""

import base64
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[1]
SHARED_INVENTORY = PROJECT / "molecule" / "inventory"
# The scenario's own hosts, or those that the others share.
SCENARIO = Path(os.environ.get("MOLECULE_SCENARIO_DIRECTORY", SHARED_INVENTORY.parent))
INVENTORY = next(path for path in (SCENARIO / "inventory", SHARED_INVENTORY) if path.is_dir())
SUPERVISORCTL = "/opt/baremetal/bin/supervisorctl"
SENTENCE = "我要吃110个苹果"
# A program for a host; it prints what is there.
SNAPSHOT = (PROJECT / "molecule" / "snapshot.py").read_text()

# The hosts stay what they are while the tests run, so each run need not ask them anew. Each version has its own facts.
FACTS = tempfile.TemporaryDirectory(prefix="facts-")

T = TypeVar("T")

# Runs on a host of the fleet, which has Python and need not have curl.
CLIENT = """
import base64, http.client, json, sys, urllib.parse
asked = json.loads(sys.argv[1])
url = urllib.parse.urlsplit(asked["url"])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
answer = {"status": 0, "headers": {}, "body": "", "error": ""}
try:
    target = url.path + ("?" + url.query if url.query else "")
    connection.request(asked["method"], target, asked["body"].encode() or None, asked["headers"])
    response = connection.getresponse()
    answer["status"] = response.status
    answer["headers"] = {name.lower(): value for name, value in response.getheaders()}
    answer["body"] = base64.b64encode(response.read()).decode()
except OSError as error:
    answer["error"] = type(error).__name__
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Answer:
    """The answer over HTTP; status 0 and the error's name when there was none."""

    status: int
    headers: dict[str, str]
    body: bytes
    error: str

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass(frozen=True)
class App:
    """One of wsgi_apps in the inventory of the scenarios."""

    name: str
    port: int
    prefix: str

    def url(self, host: Host, path: str = "/hello") -> str:
        """Return the address of a path of the app on a host."""
        return f"http://{name(host)}:{self.port}{self.prefix}{path}"

    def release(self, host: Host) -> str:
        """Return the live release."""
        return Path(host.check_output("readlink %s", f"/srv/wsgi/{self.name}/current")).name

    def program(self, host: Host) -> str:
        """Return the name of the live release's program."""
        return f"{self.name}-{self.release(host)}"

    def master(self, host: Host) -> int:
        """Return the process id of the server's master."""
        return pid(host, self.program(host))

    def workers(self, host: Host) -> set[int]:
        """Return the process ids of the server's workers."""
        return {int(word) for word in host.run("pgrep -P %s", str(self.master(host))).stdout.split()}

    def answers(self, host: Host, client: Host) -> bool:
        """Tell whether the app answers its sentence to a client."""
        return fetch(client, self.url(host)).body == SENTENCE.encode()


def apps() -> list[dict[str, Any]]:
    """Return a copy of wsgi_apps as the shared inventory has it."""
    return yaml.safe_load((SHARED_INVENTORY / "group_vars" / "wsgi.yml").read_text())["wsgi_apps"]


APPS = [App(app["name"], app["site"]["listen"], app["site"].get("prefix", "")) for app in apps()]


def name(host: Host) -> str:
    """Return a host's name in the inventory."""
    return host.backend.get_hostname()


def nginx_user(host: Host) -> str:
    """Return the user that answers requests in nginx."""
    return host.check_output("ps -o user:32= -C nginx | sort -u | grep -v root").strip()


def fetch(client: Host, url: str, method: str = "GET", headers: dict[str, str] | None = None, body: str = "") -> Answer:
    """Send a request from a host of the fleet."""
    asked = json.dumps({"url": url, "method": method, "headers": headers or {}, "body": body})
    answer = json.loads(client.check_output("python3 -c %s %s", CLIENT, asked))
    return Answer(**{**answer, "body": base64.b64decode(answer["body"])})


def web_status(host: Host, credentials: str | None) -> int:
    """Return the status of the first page of supervisord's web interface, asked for on the host itself."""
    encoded = base64.b64encode((credentials or "").encode()).decode()
    headers = {} if credentials is None else {"Authorization": f"Basic {encoded}"}
    return fetch(host, "http://127.0.0.1:9001/", headers=headers).status


def limit(hosts: list[Host]) -> str:
    """Return the option that limits a run to the hosts."""
    return f"--limit={','.join(name(host) for host in hosts)}"


def assert_refused(answer: tuple[int, str], hosts: list[Host], says: str) -> None:
    """See that a run failed on each of the hosts, with the words."""
    code, output = answer
    assert code == 2
    # YAML doubles a quote within quotes.
    output, says = (text.replace("''", "'") for text in (output, says))
    begin = r"(?:failed|fatal): \["
    for host in hosts:
        assert re.search(rf"{begin}{name(host)}\](?:(?!{begin}).)*{re.escape(says)}", output), (name(host), says)


def snapshot(host: Host, *roots: str) -> dict[str, dict[str, Any]]:
    """Return the files, accounts and services of a host at this moment; of the files those below some directories."""
    return json.loads(host.check_output(f"python3 -c %s {' '.join(roots)}", SNAPSHOT))


def differences(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]], expected: dict[str, str]
) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Return what two snapshots do not share; ``expected`` has a pattern of keys for each kind that may differ."""
    return {
        (kind, key): (before[kind].get(key), after[kind].get(key))
        for kind in before
        for key in before[kind].keys() | after[kind].keys()
        if before[kind].get(key) != after[kind].get(key) and not re.fullmatch(expected.get(kind, "-"), key)
    }


def pid(host: Host, program: str) -> int:
    """Return the process id of a program of supervisord; 0 when it does not run."""
    printed = host.run(f"{SUPERVISORCTL} pid %s", program).stdout.strip()
    return int(printed) if printed.isdigit() else 0


def environment(host: Host, process: int) -> dict[str, str]:
    """Return the environment in which a process runs."""
    variables = host.file(f"/proc/{process}/environ").content_string.split("\0")
    return dict(variable.split("=", 1) for variable in variables if variable)


def eventually(question: Callable[[], T], seconds: float = 60) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.1)
    return answer


def play(
    playbook: str,
    *arguments: str,
    inventory: Path = INVENTORY,
    callback: str = "default",
    project: Path = PROJECT,
    fresh_facts: bool = False,
    **variables: Any,
) -> tuple[int, str]:
    """Run a playbook of this or another version on the fleet; return its exit status and its output, in one line."""
    told = {"ANSIBLE_CONFIG": str(project / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
    if not fresh_facts:
        told["ANSIBLE_CACHE_PLUGIN"] = "jsonfile"
        told["ANSIBLE_CACHE_PLUGIN_CONNECTION"] = str(Path(FACTS.name, project.name))
    done = subprocess.run(
        ["ansible-playbook", playbook, f"--inventory={inventory}", *arguments, f"--extra-vars={json.dumps(variables)}"],
        cwd=project,
        env={**os.environ, **told, "ANSIBLE_STDOUT_CALLBACK": callback},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    return done.returncode, " ".join(done.stdout.split())
