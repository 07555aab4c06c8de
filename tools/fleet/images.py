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
        """Everything but the files that decides what the image is."""
        raise NotImplementedError

    @cached_property
    def layer(sources: Mapping[str, Path]) -> bytes:
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
