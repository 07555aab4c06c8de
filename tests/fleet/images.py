"""Builds the images of the hosts: bootstrapped Debian, a pulled image, or a stand-in made of another image."""

import hashlib
import io
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from . import apt
from .machine import KEYRING, Podman
from .process import FleetError, failure, in_parallel, lock, open_log, say

SOURCE = Path(__file__).parent / "image"
CA_CERTIFICATES = Path("/usr/local/share/ca-certificates")
REPOSITORY = "localhost/baremetal-fleet"
SUITES = {"debian12": "bookworm", "debian13": "trixie"}
SETUP = "/usr/local/sbin/fleet-setup"
EL = "/usr/local/lib/stand-in"


@dataclass(frozen=True)
class Disguise:
    """How another platform's image gets the identity of a platform."""

    base: str
    command: str
    files: str = "el"  # what is put into it before
    place: str = EL


def _ubuntu(base: str, files: str, python: str) -> Disguise:
    """Return an Ubuntu: its identity, and the name of its Python for the one that is there."""
    return Disguise(base, f'cp "$(readlink -f /usr/bin/python3)" /usr/bin/python{python}', files, "/")


def _clone(base: str, *identity: str) -> Disguise:
    """Return a rebuild of the RHEL family: the same packages under another name."""
    return Disguise(base, shlex.join(["sh", f"{EL}/identity.sh", *identity]) + f" && rm -r {EL}")


STAND_INS = {
    "ubuntu2204": _ubuntu("debian12", "ubuntu2204", "3.10"),
    "ubuntu2404": _ubuntu("debian13", "ubuntu2404", "3.12"),
    "ubuntu2604": _ubuntu("debian13", "ubuntu2604", "3.14"),
    "centos9": Disguise("debian13", f"sh {EL}/build.sh 9"),
    "centos10": Disguise("debian13", f"sh {EL}/build.sh 10"),
    "rocky9": _clone("centos9", "rocky", "Rocky Linux", "9.6", "Blue Onyx", "rhel centos fedora"),
    "rocky10": _clone("centos10", "rocky", "Rocky Linux", "10.0", "Red Quartz", "rhel centos fedora"),
    "alma9": _clone("centos9", "almalinux", "AlmaLinux", "9.6", "Sage Margay", "rhel centos fedora"),
    "alma10": _clone("centos10", "almalinux", "AlmaLinux", "10.0", "Purple Lion", "rhel centos fedora"),
    "rhel9": _clone("centos9", "rhel", "Red Hat Enterprise Linux", "9.6", "Plow", "fedora"),
    "rhel10": _clone("centos10", "rhel", "Red Hat Enterprise Linux", "10.0", "Coughlan", "fedora"),
}
PLATFORMS = sorted([*SUITES, *STAND_INS])
FAMILIES = {
    "RedHat": ("centos", "rocky", "alma", "rhel"),
    "Ubuntu": ("ubuntu",),
    "Debian": ("debian",),
}
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-apt",
    "openssh-server",
    "sudo",
    "iproute2",
    "ca-certificates",
    "procps",
)
EL_PACKAGES = (
    "systemd",
    "dbus",
    "python3",
    "python3-dnf",
    "openssh-server",
    "sudo",
    "iproute",
    "ca-certificates",
    "procps-ng",
)
BOOT = ('CMD ["/sbin/init"]', "STOPSIGNAL SIGRTMIN+3")


@dataclass(frozen=True)
class Image:
    """An image that can be built; its tag changes with everything that goes into it."""

    platform: str

    kind: ClassVar[str] = "real"

    @property
    def needs(self) -> "Image | None":
        """The image this one is made of, if it is one of ours."""
        return None

    @property
    def origin(self) -> str:
        """Where it comes from, in a word for reports."""
        raise NotImplementedError

    @property
    def recipe(self) -> tuple[str, ...]:
        """Everything but the layer that decides what the image is."""
        raise NotImplementedError

    @cached_property
    def layer(self) -> bytes:
        """The files that are added, as a tar archive."""
        return pack({"/": SOURCE / "rootfs", SETUP: SOURCE / "setup.sh", str(CA_CERTIFICATES): CA_CERTIFICATES})

    @cached_property
    def tag(self) -> str:
        """Name of the image with the digest of its recipe."""
        digest = hashlib.sha256(self.layer)
        for part in self.recipe:
            digest.update(b"\0" + part.encode())
        return f"{REPOSITORY}/{self.platform}:{digest.hexdigest()[:12]}"

    def build(self, podman: Podman, log: Path) -> None:
        """Build and tag the image."""
        raise NotImplementedError


@dataclass(frozen=True)
class Bootstrapped(Image):
    """Debian from its packages."""

    suite: str
    mirror: str | None
    security: str | None

    @property
    def origin(self) -> str:
        return "its packages"

    @property
    def recipe(self) -> tuple[str, ...]:
        return tuple(self.argv("layer.tar"))

    def argv(self, archive: str) -> list[str]:
        """Compose the command line that writes the whole file system to its standard output."""
        # Without any, mmdebstrap takes the mirrors that it knows itself.
        known = ((self.mirror, ""), (self.mirror, "-updates"), (self.security, "-security"))
        sources = [(mirror, self.suite + part) for mirror, part in known if mirror]
        return [
            "mmdebstrap",
            "--variant=minbase",
            "--format=tar",
            f"--include={','.join(PACKAGES)}",
            '--aptopt=Acquire::Languages "none"',
            "--dpkgopt=force-unsafe-io",
            f"--customize-hook=tar-in {archive} /",
            f'--customize-hook=chroot "$1" sh {SETUP}',
            '--customize-hook=rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
            "--skip=cleanup/apt/lists",
            self.suite,
            "-",
            *(f"deb [signed-by={KEYRING}] {mirror} {suite} main" for mirror, suite in sources),
        ]

    def build(self, podman: Podman, log: Path) -> None:
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            archive.write(self.layer)
            archive.flush()
            argv = self.argv(archive.name)
            with (
                open_log(log, argv) as out,
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out) as bootstrap,
            ):
                load = subprocess.run(
                    podman.argv("import", "--quiet", *(f"--change={line}" for line in BOOT), "-"),
                    stdin=bootstrap.stdout,
                    stdout=subprocess.PIPE,
                    stderr=out,
                    text=True,
                    env=podman.env,
                    cwd="/",
                    check=False,
                )
        if load.returncode or bootstrap.returncode:
            raise failure(f"the bootstrap of {self.platform}", log)
        podman.run("tag", load.stdout.split()[-1], self.tag)


class Layered(Image):
    """Another image with the layer on top."""

    @property
    def containerfile(self) -> tuple[str, ...]:
        """The lines podman builds by."""
        raise NotImplementedError

    @property
    def recipe(self) -> tuple[str, ...]:
        return self.containerfile

    def build(self, podman: Podman, log: Path) -> None:
        lines = "".join(f"{line}\n" for line in self.containerfile)
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "layer.tar").write_bytes(self.layer)
            options = ("--pull=missing", "--network=host", "--layers=false", f"--tag={self.tag}", "--file=-")
            podman.run_logged(f"the build of {self.platform}", "build", *options, directory, log=log, stdin=lines)


@dataclass(frozen=True)
class Pulled(Layered):
    """Any image of the platform, with what a fleet host needs added to it."""

    reference: str

    @property
    def origin(self) -> str:
        return self.reference

    @property
    def containerfile(self) -> tuple[str, ...]:
        packages = EL_PACKAGES if family(self.platform) == "RedHat" else PACKAGES
        setup = f"RUN sh {SETUP} {' '.join(packages)}"
        return (f"FROM {self.reference}", "USER root", "ADD layer.tar /", setup, "ENTRYPOINT []", *BOOT)


@dataclass(frozen=True)
class StandIn(Layered):
    """Another platform's image with the identity of this one."""

    base: Image

    kind: ClassVar[str] = "stand-in"

    @property
    def needs(self) -> Image:
        return self.base

    @property
    def origin(self) -> str:
        return self.base.platform

    @property
    def disguise(self) -> Disguise:
        """How the base becomes this platform."""
        return STAND_INS[self.platform]

    @cached_property
    def layer(self) -> bytes:
        return pack({self.disguise.place: SOURCE / self.disguise.files})

    @property
    def containerfile(self) -> tuple[str, ...]:
        return (f"FROM {self.base.tag}", "ADD layer.tar /", f"RUN {self.disguise.command}")


def family(platform: str) -> str:
    """Name the family of a platform."""
    return next(name for name, starts in FAMILIES.items() if platform.startswith(starts))


def platforms(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return all platforms, each with the one that takes its place: PLATFORMS may name one for a family."""
    chosen: dict[str, str] = {}
    for platform in filter(None, re.split(r"[\s,]+", environment.get("PLATFORMS", ""))):
        if platform not in PLATFORMS:
            raise FleetError(f"PLATFORMS has the unknown platform {platform!r}; known are: {', '.join(PLATFORMS)}")
        if (other := chosen.setdefault(family(platform), platform)) != platform:
            raise FleetError(f"PLATFORMS has {other} and {platform}, both of the family {family(platform)}: name one")
    return {platform: chosen.get(family(platform), platform) for platform in PLATFORMS}


def choose(platform: str, environment: Mapping[str, str] = os.environ) -> Image:
    """Decide which image a platform gets here."""
    if reference := environment.get(f"TEST_IMAGE_{platform.upper()}"):
        return Pulled(platform, reference)
    if platform in STAND_INS:
        return StandIn(platform, choose(STAND_INS[platform].base, environment))
    return Bootstrapped(platform, SUITES[platform], *apt.mirrors())


def lineage(image: Image) -> list[Image]:
    """Return the images that this one is made of, the first one first, and itself."""
    return [*(lineage(image.needs) if image.needs else ()), image]


def ensure(images: Iterable[Image], podman: Podman, log_directory: Path) -> None:
    """Build the images that are missing: families at once, a base before what is made of it."""
    families: dict[str, dict[str, Image]] = {}
    for image in images:
        line = lineage(image)
        families.setdefault(line[0].platform, {}).update({part.platform: part for part in line})

    def build(family: dict[str, Image]) -> None:
        for image in family.values():
            with lock(f"image-{image.platform}"):
                if not podman.succeeds("image", "exists", image.tag):
                    say(f"image {image.platform}: building ({image.kind})")
                    image.build(podman, log_directory / f"image-{image.platform}.log")
                    say(f"image {image.platform}: built")

    in_parallel(build, families.values())


def tags(platforms: Iterable[str]) -> set[str]:
    """Name the images that these platforms need now, with those they are made of."""
    chosen = [choose(platform) for platform in platforms]
    return {part.tag for image in chosen for part in lineage(image)}


def remove(podman: Podman, unwanted: Iterable[str] | None = None) -> None:
    """Remove these images, or all that the tool ever made here; those that hosts still use stay."""
    rows = podman.rows("images", "--filter", f"reference={REPOSITORY}/*")
    present = {name for row in rows for name in row.get("Names") or ()}
    for tag in sorted(present if unwanted is None else present.intersection(unwanted), reverse=True):
        gone = podman.succeeds("rmi", tag)
        say(f"image {tag.removeprefix(REPOSITORY + '/')}: {'removed' if gone else 'kept, another fleet uses it'}")


def pack(sources: Mapping[str, Path]) -> bytes:
    """Pack files and folders for places in the image, owned by root and always to the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for place, source in sorted(sources.items()):
            for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
                if path.is_file():
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(str(Path(place, path.relative_to(source))).strip("/"))
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
