"""Builds the images of the hosts: bootstrapped Debian, a pulled image, or a stand-in made of another image."""

import hashlib
import io
import os
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
from .process import failure, in_parallel, lock, open_log, say

SOURCE = Path(__file__).parent / "image"
CA_CERTIFICATES = Path("/usr/local/share/ca-certificates")
REPOSITORY = "localhost/baremetal-fleet"
SUITES = {"debian12": "bookworm", "debian13": "trixie"}
STAND_INS = {"ubuntu2404": "debian13"}
PLATFORMS = sorted([*SUITES, *STAND_INS])
SETUP = "/usr/local/sbin/fleet-setup"
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
    def containerfile(self) -> tuple[str, ...]:
        setup = f"RUN sh {SETUP} {' '.join(PACKAGES)}"
        return (f"FROM {self.reference}", "USER root", "ADD layer.tar /", setup, "ENTRYPOINT []", *BOOT)


@dataclass(frozen=True)
class StandIn(Layered):
    """Another platform's image with the identity of this one."""

    base: Image

    kind: ClassVar[str] = "stand-in"

    @property
    def needs(self) -> Image:
        return self.base

    @cached_property
    def layer(self) -> bytes:
        return pack({"/": SOURCE / self.platform})

    @property
    def containerfile(self) -> tuple[str, ...]:
        return (f"FROM {self.base.tag}", "ADD layer.tar /")


def choose(platform: str, environment: Mapping[str, str] = os.environ) -> Image:
    """Decide which image a platform gets here."""
    if reference := environment.get(f"TEST_IMAGE_{platform.upper()}"):
        return Pulled(platform, reference)
    if platform in STAND_INS:
        return StandIn(platform, choose(STAND_INS[platform], environment))
    return Bootstrapped(platform, SUITES[platform], *apt.mirrors())


def ensure(images: Iterable[Image], podman: Podman, log_directory: Path) -> None:
    """Build the images that are missing: families at once, a base before what is made of it."""
    families: dict[str, dict[str, Image]] = {}
    for image in images:
        root = image.needs or image
        families.setdefault(root.platform, {root.platform: root})[image.platform] = image

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
    return {part.tag for image in chosen for part in (image, image.needs) if part}


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
