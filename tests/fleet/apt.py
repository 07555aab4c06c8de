"""Finds the Debian mirrors that the machine's own apt configuration uses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .process import FleetError

SUITES = {"bookworm", "trixie", "forky", "bullseye", "sid", "stable", "oldstable", "testing", "unstable"}
LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]*)")


@dataclass(frozen=True)
class Source:
    """One mirror of one suite."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str

    def serves_debian(self) -> bool:
        """Tell Debian's own archive from the many others that use its suites' names."""
        return (
            self.uri.startswith(("http://", "https://"))
            and "main" in self.components
            and self.suite.partition("-")[0].partition("/")[0] in SUITES
            and (not self.signed_by or "debian-archive" in self.signed_by)
        )

    def is_security(self) -> bool:
        """Tell whether the suite is the one of security updates."""
        return self.suite.endswith(("-security", "/updates"))


def mirrors(root: Path = Path("/")) -> tuple[str | None, str | None]:
    """Return the package mirror and the security mirror; none on a machine that is no Debian and has none."""
    found = [source for source in _sources(root) if source.serves_debian()]
    main = next((source.uri for source in found if source.suite in SUITES), None)
    security = next((source.uri for source in found if source.is_security()), None)
    if main:
        return main, security
    if _is_debian(root):
        raise FleetError(f"no Debian mirror is configured in {root / 'etc/apt'}: add the one this machine may use")
    return None, None


def _is_debian(root: Path) -> bool:
    release = root / "etc/os-release"
    return release.exists() and re.search(r'^ID="?debian"?$', release.read_text(), re.MULTILINE) is not None


def _sources(root: Path) -> Iterator[Source]:
    """Read all sources in the order in which apt reads them."""
    etc = root / "etc/apt"
    parts = sorted(path for path in etc.glob("sources.list.d/*") if path.suffix in (".list", ".sources"))
    for path in [etc / "sources.list", *parts]:
        if path.is_file():
            text = path.read_text(errors="replace")
            for source in _deb822(text) if path.suffix == ".sources" else _one_line(text):
                yield from _follow_mirror_list(source, root)


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        if match := LINE.match(line.strip()):
            options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
            components = tuple(match["components"].split())
            yield Source(match["uri"].rstrip("/"), match["suite"], components, options.get("signed-by", ""))


def _deb822(text: str) -> Iterator[Source]:
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {key.strip().lower(): value.strip() for key, _, value in map(_partition, unfolded.splitlines())}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                yield Source(uri.rstrip("/"), suite, components, fields.get("signed-by", ""))


def _partition(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _follow_mirror_list(source: Source, root: Path) -> Iterator[Source]:
    """Replace a `mirror+file:` address, usual on cloud machines, by the mirrors that the file lists."""
    if not source.uri.startswith("mirror+file:"):
        yield source
        return
    listed = root / source.uri.removeprefix("mirror+file:").lstrip("/")
    for line in listed.read_text().splitlines() if listed.is_file() else ():
        if line.strip() and not line.startswith("#"):
            yield Source(line.split()[0].rstrip("/"), source.suite, source.components, source.signed_by)
