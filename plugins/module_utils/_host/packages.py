# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories and packages of a host through its own commands, whichever Python runs this."""

from __future__ import annotations

import configparser
import glob
import os
import re
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ansible_collections.baremetal.web.plugins.module_utils._host.files import Entry
from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable

HEADER = "# Written by Ansible (baremetal.web).\n"
LOCK_SECONDS = 300
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "COLUMNS": "200",
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
}


class PackagesError(Exception):
    """The packages cannot be had; the text says why."""


class Answer(NamedTuple):
    """The answer of a command."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"{self.out}\n{self.err}"


class Changes(NamedTuple):
    """The changes of packages, made or planned: name → version, and name → (previous, new)."""

    installed: dict[str, str]
    removed: dict[str, str]
    upgraded: dict[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return any(self)

    def result(self) -> dict[str, Any]:
        return {**self._asdict(), "upgraded": {name: list(pair) for name, pair in self.upgraded.items()}}

    def diff(self) -> dict[str, str]:
        """Return Ansible's diff."""
        before = {**self.removed, **{name: old for name, (old, _new) in self.upgraded.items()}}
        after = {**self.installed, **{name: new for name, (_old, new) in self.upgraded.items()}}
        return {
            "before_header": "packages",
            "after_header": "packages",
            **{
                side: "".join(f"{name} {version}\n" for name, version in sorted(versions.items()))
                for side, versions in (("before", before), ("after", after))
            },
        }


def difference(before: dict[str, str], after: dict[str, str]) -> Changes:
    """Compare what was installed with what is."""
    return Changes(
        {name: version for name, version in after.items() if name not in before},
        {name: version for name, version in before.items() if name not in after},
        {name: (before[name], after[name]) for name in before if after.get(name, before[name]) != before[name]},
    )


def run(command: list[str], feed: str = "") -> Answer:
    """Run a command in an environment that asks nothing and speaks English."""
    # run_command belongs to a module, and this runs without one, too.
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        command, input=feed, capture_output=True, text=True, errors="replace", env=ENVIRONMENT, cwd="/", check=False
    )
    return Answer(done.returncode, done.stdout, readable(done.stderr))


def choose_manager(path: str = "/etc/os-release") -> str:
    """Return which package manager the host's distribution goes by."""
    with open(path, encoding="utf-8") as stream:
        words = set(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', stream.read(), re.MULTILINE))
    families = {word for line in words for word in line.split()}
    if families & {"debian", "ubuntu"}:
        return "apt"
    if families & {"rhel", "fedora", "centos"}:
        return "dnf"
    raise PackagesError(f"{path} names {', '.join(sorted(families))}; known are the families of Debian and RHEL.")


def addresses(repositories: list[dict[str, Any]]) -> str:
    """Name repositories for a sentence."""
    return ", ".join(f"{repository['name']} ({repository['url']})" for repository in repositories)


class Manager:
    """The common part of apt and dnf; a repository has name, url, suites, components, key, signature, login."""

    def __init__(self, repositories: list[dict[str, Any]], exclusive: bool = False, cache_seconds: int = 86400):
        self.repositories = repositories
        self.exclusive = exclusive
        self.cache_seconds = cache_seconds
        self.warnings: list[str] = []

    @property
    def asked(self) -> str:
        """Say which repositories are asked."""
        own = addresses(self.repositories)
        if self.exclusive:
            return own
        return "those of the host" + (f", and {own}" if own else "")

    def files(self) -> list[Entry]:
        """Return the files that describe the repositories."""
        return [entry for repository in self.repositories for entry in self._files(repository)]

    def _files(self, repository: dict[str, Any]) -> Iterator[Entry]:
        raise NotImplementedError

    def installed(self) -> dict[str, str]:
        """Return all installed packages with their versions."""
        raise NotImplementedError

    def with_parts(self, names: list[str], ours: set[str]) -> list[str]:
        """Return packages with those of ours that they are made of, which an upgrade has to name."""
        return names

    def refresh(self, forced: bool) -> None:
        """Bring the index of packages up to date, when it is older than allowed or when forced."""
        raise NotImplementedError

    def install(self, names: list[str], latest: bool, simulate: bool) -> Changes | None:
        """Install packages, or say what that would change; None where it happened and the caller has to look."""
        raise NotImplementedError

    def remove(self, names: list[str], simulate: bool) -> set[str]:
        """Remove packages and nothing else, or say what would be removed."""
        raise NotImplementedError

    def removable(self, names: list[str]) -> list[str]:
        """Return those packages that no other package needs."""
        wanted = set(names)
        while wanted and not self.remove(sorted(wanted), simulate=True) <= wanted:
            needed = {name for name in wanted if not self.remove([name], simulate=True) <= wanted}
            if not needed:  # needed together, by something else
                return []
            wanted -= needed
        return sorted(wanted)

    def enable_streams(self, streams: list[str], simulate: bool) -> list[str]:
        """Enable module streams; return those that were not enabled."""
        if streams:
            raise PackagesError(f"streams are {', '.join(streams)}; only dnf has module streams.")
        return []

    def reset_streams(self, names: list[str]) -> None:
        """Let modules have no stream again."""


class Apt(Manager):
    """Debian and Ubuntu."""

    SOURCES = "/etc/apt/sources.list.d"
    KEYS = "/etc/apt/keyrings"
    LOGINS = "/etc/apt/auth.conf.d"
    PREFERENCES = "/etc/apt/preferences.d"
    LISTS = "/var/lib/apt/lists"
    STAMP = "/var/lib/apt/periodic/update-success-stamp"

    def _path(self, repository: dict[str, Any]) -> str:
        return f"{self.SOURCES}/baremetal-web-{repository['name']}.sources"

    def _files(self, repository: dict[str, Any]) -> Iterator[Entry]:
        name = f"baremetal-web-{repository['name']}"
        fields = {
            "Types": "deb",
            "URIs": repository["url"],
            "Suites": " ".join(repository["suites"]),
            "Components": " ".join(repository["components"]),
            "Signed-By": f"{self.KEYS}/{name}.asc" if repository["key"] else "",
        }
        if repository["key"]:
            yield Entry(fields["Signed-By"], repository["key"].encode(), 0o644, "root", "root")
        if repository["username"]:
            url = urllib.parse.urlsplit(repository["url"])
            machine = f"{url.scheme}://{url.netloc}{url.path}"
            login = f"machine {machine}\nlogin {repository['username']}\npassword {repository['password'] or ''}\n"
            yield Entry(f"{self.LOGINS}/{name}.conf", (HEADER + login).encode(), 0o600, "root", "root", secret=True)
        if repository["preferred"]:
            # By a component of its own, for a mirror may have the distribution on the same host. Below 1000, so that
            # nothing is downgraded.
            pins = [f"release c={one}" for one in repository["components"] if one != "main"]
            pins = pins or [f'origin "{urllib.parse.urlsplit(repository["url"]).hostname or ""}"']
            pin = "\n".join(f"Package: *\nPin: {one}\nPin-Priority: 900\n" for one in pins)
            yield Entry(f"{self.PREFERENCES}/{name}.pref", (HEADER + pin).encode(), 0o644, "root", "root")
        text = HEADER + "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        yield Entry(self._path(repository), text.encode(), 0o644, "root", "root")

    def installed(self) -> dict[str, str]:
        listing = run(["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${db:Status-Status}\n"])
        rows = (line.split("\t") for line in listing.out.splitlines())
        return {name: version for name, version, status in rows if status == "installed"}

    def with_parts(self, names: list[str], ours: set[str]) -> list[str]:
        # python3-venv, say, stays as it is when there is a newer python3.13-venv.
        listing = run(["dpkg-query", "--show", "--showformat=${Package}\t${Pre-Depends}, ${Depends}\n"]).out
        needs = dict(line.split("\t", 1) for line in listing.splitlines())
        found: set[str] = set()
        waiting = set(names)
        while waiting:
            found |= waiting
            waiting = {
                need
                for name in waiting
                for need in re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9.+-]*)", needs.get(name, ""))
            }
            waiting = (waiting & ours & set(needs)) - found
        return sorted(found)

    @contextmanager
    def _options(self) -> Iterator[list[str]]:
        """Provide the options that keep apt to the wanted repositories, and leave its other indexes where they are."""
        if not self.exclusive:
            yield []
            return
        with tempfile.TemporaryDirectory(prefix="baremetal-web-") as directory:
            os.chmod(directory, 0o755)  # apt reads as another user
            for path in map(self._path, self.repositories):
                os.symlink(path, os.path.join(directory, os.path.basename(path)))
            options = (
                "Dir::Etc::sourcelist=/dev/null",
                f"Dir::Etc::sourceparts={directory}",
                "Dir::Cache::pkgcache=",
                "Dir::Cache::srcpkgcache=",
                "APT::Get::List-Cleanup=false",
            )
            yield [word for option in options for word in ("-o", option)]

    def _apt_get(self, *arguments: str) -> Answer:
        """Run apt-get; wait for others who hold one of its locks."""
        deadline = time.monotonic() + LOCK_SECONDS
        with self._options() as options:
            command = ["apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", "-o", "Acquire::Retries=1"]
            while True:
                answer = run([*command, *options, *arguments])
                if not (answer.code and "Could not get lock" in answer.err) or time.monotonic() > deadline:
                    return answer
                time.sleep(3)

    def refresh(self, forced: bool) -> None:
        times = [0.0]
        for path in (self.LISTS, self.STAMP):
            with suppress(FileNotFoundError):
                times.append(os.stat(path).st_mtime)
        # The time of the index is that of all repositories, so where only some count it says nothing.
        if not forced and not self.exclusive and time.time() - max(times) < self.cache_seconds:
            return
        answer = self._apt_get("update", "-o", "APT::Update::Error-Mode=any")
        if answer.code:
            complaint = complaints(answer.err)
            if self.exclusive or any(host(repository["url"]) in complaint for repository in self.repositories):
                raise PackagesError(
                    f"The index of packages cannot be had from {self.asked}. Check its address, and whether this host "
                    f"can reach it. apt-get says:\n{complaint}"
                )
            self.warnings.append(f"Not every repository of this host gave its index of packages:\n{complaint}")

    def install(self, names: list[str], latest: bool, simulate: bool) -> Changes | None:
        kept = (
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confdef",
            "-o",
            "Dpkg::Options::=--force-confold",
        )
        answer = self._apt_get("install", *kept, *(["--simulate"] if simulate else []), *names)
        if answer.code:
            if missing := re.findall(
                r"^E: (?:Unable to locate package|Package '?)\s*([^\s']+)", answer.err, re.MULTILINE
            ):
                raise Missing(missing, self.asked)
            raise PackagesError(f"apt-get cannot install {', '.join(names)}:\n{complaints(answer.text)}")
        return self._planned(answer.out) if simulate else None

    def _planned(self, output: str) -> Changes:
        changes = Changes({}, {}, {})
        for verb, name, old, new in re.findall(
            r"^(Inst|Remv|Purg) (\S+)(?: \[([^]]*)\])?(?: \((\S+) .*)?", output, re.MULTILINE
        ):
            if verb != "Inst":
                changes.removed[name] = old
            elif old:
                changes.upgraded[name] = (old, new)
            else:
                changes.installed[name] = new
        return changes

    def remove(self, names: list[str], simulate: bool) -> set[str]:
        answer = self._apt_get("purge", "--no-auto-remove", *(["--simulate"] if simulate else []), *names)
        if answer.code:
            raise PackagesError(f"apt-get cannot remove {', '.join(names)}:\n{complaints(answer.text)}")
        return set(self._planned(answer.out).removed)


class Dnf(Manager):
    """The RHEL family."""

    SOURCES = "/etc/yum.repos.d"
    KEYS = "/etc/pki/rpm-gpg"
    STREAMS = "/etc/dnf/modules.d"
    KEY = "gpg-pubkey"

    def _files(self, repository: dict[str, Any]) -> Iterator[Entry]:
        name = f"baremetal-web-{repository['name']}"
        key = f"{self.KEYS}/RPM-GPG-KEY-{name}"
        if repository["key"]:
            yield Entry(key, repository["key"].encode(), 0o644, "root", "root")
        # A mirror of the distribution is signed with the distribution's own keys.
        keys = [key] if repository["key"] else self._own_keys()
        index = repository["signature"] == "index"
        fields = {
            "name": f"{repository['name']} (baremetal.web)",
            "baseurl": repository["url"],
            "enabled": 1,
            "gpgcheck": int(not index),
            "repo_gpgcheck": int(index),
            "gpgkey": " ".join(f"file://{path}" for path in keys),
            "metadata_expire": self.cache_seconds,
            "skip_if_unavailable": 0,
            "priority": 50 if repository["preferred"] else None,
            "module_hotfixes": 1 if repository["preferred"] else None,
            "username": repository["username"],
            "password": repository["password"],
        }
        text = (
            HEADER
            + f"[{name}]\n"
            + "".join(f"{key}={value}\n" for key, value in fields.items() if value not in ("", None))
        )
        secret = bool(repository["username"])
        mode = 0o600 if secret else 0o644
        yield Entry(f"{self.SOURCES}/{name}.repo", text.encode(), mode, "root", "root", secret=secret)

    def _own_keys(self) -> list[str]:
        paths = glob.glob(f"{self.KEYS}/RPM-GPG-KEY-*")
        return sorted(path for path in paths if "-baremetal-web-" not in path)

    def installed(self) -> dict[str, str]:
        listing = run(["rpm", "--query", "--all", "--queryformat", "%{NAME}\t%{EVR}\n"]).out
        rows = (line.partition("\t") for line in listing.splitlines())
        # Keys are packages of one name; told apart by their versions.
        return {f"{name}-{version}" if name == self.KEY else name: version for name, _tab, version in rows}

    def _dnf(self, *arguments: str) -> Answer:
        """Run dnf; it waits by itself for others who hold its lock."""
        options = ["--setopt=install_weak_deps=False", "--setopt=clean_requirements_on_remove=False"]
        if self.exclusive:
            names = ",".join(f"baremetal-web-{repository['name']}" for repository in self.repositories)
            options += ["--disablerepo=*", f"--enablerepo={names}"]
        return run(["dnf", *options, *arguments])

    def refresh(self, forced: bool) -> None:
        """Leave it to dnf, which knows each repository's own age, but when forced."""
        if forced:
            answer = self._dnf("-y", "makecache", "--refresh")
            if answer.code:
                self._refuse(answer, f"The index of packages cannot be had from {self.asked}")

    def _refuse(self, answer: Answer, what: str) -> None:
        if missing := re.findall(r"(?:Unable to find a match: |No match for argument: )(.*)", answer.text):
            raise Missing(sorted({name for line in missing for name in line.split()}), self.asked)
        raise PackagesError(
            f"{what}. Check its address and key, and whether this host can reach it. "
            f"dnf says:\n{complaints(answer.text)}"
        )

    def install(self, names: list[str], latest: bool, simulate: bool) -> Changes | None:
        planned = Changes({}, {}, {})
        present = self.installed()
        for verb, wanted in (
            ("install", [name for name in names if name not in present]),
            ("upgrade", [name for name in names if name in present and latest]),
        ):
            if not wanted:
                continue
            if simulate:  # which it ends with 1
                answer = self._dnf("--assumeno", verb, *wanted)
                if answer.code and "Operation aborted" not in answer.text:
                    self._refuse(answer, f"dnf cannot {verb} {', '.join(wanted)} from {self.asked}")
                for mine, new in zip(planned, self._planned(answer.out, present)):
                    mine.update(new)
            else:
                answer = self._dnf("-y", verb, *wanted)
                if answer.code:
                    self._refuse(answer, f"dnf cannot {verb} {', '.join(wanted)} from {self.asked}")
        return planned if simulate else None

    def _planned(self, output: str, present: dict[str, str]) -> Changes:
        """Read the table of a transaction, in which a long name stands on a line of its own."""
        changes = Changes({}, {}, {})
        part, held = "", ""
        for line in output.partition("Transaction Summary")[0].splitlines():
            if re.match(r"[A-Z][A-Za-z ]+:$", line):
                part = line
                continue
            words = (held + line).split()
            held = ""
            if not part or not line.startswith(" ") or not words:
                continue
            if len(words) == 1:
                held = line + " "
                continue
            name, version = words[0], words[2] if len(words) > 2 else ""
            if part.startswith("Remov"):
                changes.removed[name] = version
            elif part.startswith(("Upgrad", "Downgrad")):
                changes.upgraded[name] = (present.get(name, ""), version)
            elif part.startswith("Install"):
                changes.installed[name] = version
        return changes

    def remove(self, names: list[str], simulate: bool) -> set[str]:
        keys = [name for name in names if name.startswith(f"{self.KEY}-")]
        packages = [name for name in names if name not in keys]
        removed = set(keys)
        dnf = ["dnf", "--disablerepo=*", "--assumeno" if simulate else "-y", "remove", "--noautoremove"]
        for what, command in ((keys, ["rpm", "--erase", *(["--test"] if simulate else [])]), (packages, dnf)):
            answer = run([*command, *what]) if what else Answer(0, "", "")
            if answer.code and "Operation aborted" not in answer.text:
                raise PackagesError(f"{command[0]} cannot remove {', '.join(what)}:\n{complaints(answer.text)}")
            removed |= set(self._planned(answer.out, {}).removed)
        return removed

    def _enabled_streams(self) -> dict[str, str]:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(glob.glob(f"{self.STREAMS}/*.module"), encoding="utf-8")
        modules = [parser[name] for name in parser.sections()]
        return {module.name: module.get("stream", "") for module in modules if module.get("state") == "enabled"}

    def enable_streams(self, streams: list[str], simulate: bool) -> list[str]:
        enabled = self._enabled_streams()
        lacking = []
        for wanted in streams:
            name, _colon, stream = wanted.partition(":")
            if name in enabled and enabled[name] != stream:
                raise PackagesError(
                    f"The stream {name}:{enabled[name]} is enabled on this host and {wanted} is wanted. Programs of "
                    f"others may need it: run `dnf module reset {name}` on the host if not, or want that stream."
                )
            if name not in enabled:
                lacking.append(wanted)
        if lacking and not simulate:
            answer = self._dnf("-y", "module", "enable", *lacking)
            if answer.code:
                self._refuse(answer, f"dnf cannot enable {', '.join(lacking)} from {self.asked}")
        return lacking

    def reset_streams(self, names: list[str]) -> None:
        answer = self._dnf("-y", "module", "reset", *names)
        if answer.code:
            raise PackagesError(f"dnf cannot reset {', '.join(names)}:\n{complaints(answer.text)}")
        for name in names:  # dnf leaves a file that says nothing
            with suppress(FileNotFoundError):
                os.unlink(f"{self.STREAMS}/{name}.module")


class Missing(PackagesError):
    """Packages that no repository has."""

    def __init__(self, names: list[str], asked: str):
        super().__init__(
            f"There is no package {', '.join(names)} in the repositories that were asked: {asked}. Check the name, or "
            "add a repository that has it (packages_repositories)."
        )


def host(url: str) -> str:
    """Return the host of a URL, or its path where it has none."""
    parts = urllib.parse.urlsplit(url)
    return parts.hostname or parts.path


def complaints(output: str) -> str:
    """Return the lines in which a package manager complains, without passwords; the last lines where none does so."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = [
        line
        for line in lines
        if re.match(r"((E|W|Err|Error|Errors|Curl error|Problem|Status code)\b.*:|missing groups or modules)", line)
    ]
    return re.sub(r"//[^/@\s]+@", "//", "\n".join(dict.fromkeys(found or lines[-8:])))
