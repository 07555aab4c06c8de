"""The state of a host as a drift may change it: files, accounts, units, programs, answers and open ports."""

import json
import re

from testinfra.host import Host

from probes import snapshot

RELEASE = r"[0-9a-f]{12}(?:\.[0-9]+)?"
LIVE = "LIVE"
# What belongs to packages stands in the list of packages.
ROOTS = ("/etc", "/opt", "/srv", "/usr/local")
# Runs on a host: what the snapshot of all scenarios does not have.
MORE = r"""
import glob, http.client, json, os, re, subprocess

def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout
    except OSError as error:
        return type(error).__name__

def answer(app):
    port, prefix = (8087, "") if app == "port" else (8086, f"/{app}")
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", f"{prefix}/", headers={"Host": f"{os.uname().nodename}:{port}"})
        found = connection.getresponse()
        return f"{found.status} {json.load(found)['release'] if found.status == 200 else ''}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(error).__name__

def secret(app, release):
    running = [words[3].rstrip(",") for words in status if words[:3] == [f"{app}-{release}", "RUNNING", "pid"]]
    if not running:
        return "no process"
    with open(f"/proc/{running[0]}/environ") as stream:
        return "".join(word for word in stream.read().split("\0") if word.startswith("SECRET="))

def texts(*patterns):
    found = {}
    for path in [path for pattern in patterns for path in glob.glob(pattern)]:
        with open(path, errors="replace") as stream:
            found[path] = stream.read()
    return found

def slot(home):
    link = f"{home}/slots/{'b' if os.path.exists(f'{home}/slots/b') else 'a'}.sock"
    return os.path.basename(os.readlink(link)) if os.path.islink(link) else "nothing"

CTL = "/opt/baremetal/bin/supervisorctl"
homes = {os.path.basename(path): path for path in glob.glob("/srv/wsgi/*")}
live = {app: os.path.basename(os.readlink(f"{home}/current")) for app, home in homes.items()}
status = [line.split() for line in said(CTL, "status").splitlines()]
firewall = said("ufw", "status", "verbose") + said("firewall-cmd", "--list-all")
# A service of firewalld is open by its name; a port may be open by a rule as well.
for name in re.findall(r"baremetal-web-\S+", "".join(re.findall(r"^  services:.*", firewall, re.MULTILINE))):
    firewall += said("firewall-cmd", f"--info-service={name}")
logs = os.stat("/var/log/supervisord")
print(json.dumps({
    "live": live,
    "kept": {app: os.listdir(f"{home}/releases") for app, home in homes.items()},
    "slots": {app: slot(home) for app, home in homes.items()},
    "links": {f"{app} {name}": os.readlink(f"{home}/{name}") if os.path.islink(f"{home}/{name}") else "none"
              for app, home in homes.items() for name in ("current", "current.sock")},
    "programs": {words[0]: words[1] for words in status if len(words) > 1},
    "texts": texts("/etc/supervisord/conf.d/*.conf", *(f"{home}/current/environment" for home in homes.values())),
    "secrets": {app: secret(app, release) for app, release in live.items()},
    "answers": {app: answer(app) for app in homes},
    "states": {unit: " ".join(said("systemctl", verb, unit).strip() for verb in ("is-enabled", "is-active"))
               for unit in ("nginx.service", "supervisord-baremetal.service")},
    "doors": dict.fromkeys(re.findall(r"\b808[67]\b", firewall), "open"),
    "logs": {"supervisord": f"{logs.st_mode:o} {logs.st_uid} {logs.st_gid}"},
    "record": {path: "" for text in texts("/var/lib/baremetal.web/changes.json").values()
               for kind in ("file", "app") for path in json.loads(text).get(kind, {})},
}))
"""
# What a run leaves behind that is no part of a healthy host, or is looked at in another way.
LEFT_OUT = re.compile(
    r"files /srv/wsgi/\w+/(slots/.*|current|current\.sock|releases\.log|\.guard|\.lock)"
    r"|files /srv/wsgi/\w+/(data|private)/.*|files /var/cache/.*|files /var/lib/baremetal\.web/.*"
    r"|files /root/(\.ansible|drift)(/.*)?|files /etc/(ufw|firewalld)/.*|files /home/ops/.*"
    r"|(units|running) (baremetal-web-retire-|session-|run-|wsgi-).*|ports 127\.0\.0\.1:700[12]"
)
KINDS = ("programs", "texts", "answers", "states", "doors", "secrets", "slots", "links", "logs", "record")


def look(host: Host) -> dict[str, str]:
    """Return the state of a host, in which the live release of each app has the same name."""
    more = json.loads(host.check_output("python3 -c %s", MORE))
    live, kept = more["live"], more["kept"]
    entries = [(kind, *entry) for kind, found in snapshot(host, *ROOTS).items() for entry in found.items()]
    entries += [(kind, *entry) for kind in KINDS for entry in more[kind].items()]
    found = {}
    for kind, key, value in entries:
        name = rename(f"{kind} {key}", live, kept)
        if name and not LEFT_OUT.fullmatch(f"{kind} {key}"):
            found[name] = comparable(name, rename_value(str(value), live))
    return found


def rename(key: str, live: dict[str, str], kept: dict[str, list[str]]) -> str:
    """Call the live release of an app by one name; return nothing for what is of another release that is kept."""
    for app, release in live.items():
        for place in (rf"/srv/wsgi/{app}/(?:releases|sockets)/", rf"[ /]{app}-"):
            found = re.search(rf"({place})({RELEASE})(?=/|\.sock|\.conf|\.[a-z]|$)", key)
            if found and found[2] == release:
                key = f"{key[: found.start(2)]}{LIVE}{key[found.end(2) :]}"
            elif found and found[2] in kept[app]:
                return ""
    return key


def rename_value(value: str, live: dict[str, str]) -> str:
    """Call every live release by one name in a value."""
    names = "|".join(re.escape(release) for release in sorted(live.values(), key=len, reverse=True))
    return re.sub(rf"\b({names})(?!\.[0-9])\b", LIVE, value)


def comparable(key: str, value: str) -> str:
    """Leave out what is another one with each release, and with each slot."""
    if re.search(r"/srv/wsgi/\w+/releases/LIVE/(release\.json|environment|venv/)|/etc/supervisord/conf\.d/", key):
        value = re.sub(r" [0-9a-f]{64}$", "", value)
    return re.sub(r"(127\.0\.0\.1:)700[12]", r"\1PORT", value)


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return what two states do not share."""
    keys = sorted(before.keys() | after.keys())
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
