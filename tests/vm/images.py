"""Provides the disk that the virtual machine starts from: a given cloud image, or Debian bootstrapped as a stand-in."""

import hashlib
import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fleet import apt, machine
from tests.fleet.images import CA_CERTIFICATES
from tests.fleet.process import STATE, FleetError, run, run_logged, say, write

CACHE = STATE / "vm-images"
SIZE = "10G"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod", "python3", "python3-apt", "sudo"),
    *("openssh-server", "iproute2", "procps", "ca-certificates", "systemd-resolved"),
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd"),
    *("selinux-policy-default", "selinux-utils", "policycoreutils", "auditd", "ufw"),
)
KERNEL_ARGUMENTS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 security=selinux selinux=1 enforcing=1"
SETUP = """
sed -i 's/^SELINUX=.*/SELINUX=enforcing/' /etc/selinux/config
printf '[Match]\\nType=ether\\n[Network]\\nDHCP=yes\\n' >/etc/systemd/network/ether.network
echo '/dev/vda / ext4 defaults 0 1' >/etc/fstab
useradd --create-home --shell /bin/bash --password '*' ops
echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
systemctl enable systemd-networkd systemd-resolved
update-ca-certificates
rm -f /etc/ssh/ssh_host_*
"""


@dataclass(frozen=True)
class Identity:
    """The login that is allowed, and the proof that the machine is the one that was started."""

    name: str
    authorized_key: str
    host_key: str


@dataclass(frozen=True)
class Disk:
    """The start of the machine: a disk to write to, and how it boots when it cannot do so itself."""

    kind: str
    path: Path
    options: tuple[str, ...]


def provide(state: Path, identity: Identity, environment: Mapping[str, str] = os.environ) -> Disk:
    """Make a disk from the image that TEST_VM_IMAGE names, or from the stand-in where it names none."""
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reference := environment.get("TEST_VM_IMAGE"):
        image = given(reference, environment.get("TEST_VM_IMAGE_SHA256", ""))
        disk = state / "disk.qcow2"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(disk), SIZE])
        seed = f"driver=vvfat,dir={cloud_seed(state / 'seed', identity)},label=CIDATA,read-only=on,if=virtio"
        return Disk("real", disk, ("-drive", seed))
    return stand_in(state, identity)


def cloud_seed(directory: Path, identity: Identity) -> Path:
    """Write what cloud-init reads at the first boot."""
    user = {"name": "ops", "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL"}
    data = {
        "users": [{**user, "ssh_authorized_keys": [identity.authorized_key]}],
        "ssh_pwauth": False,
        "ssh_keys": {"ed25519_private": identity.host_key},
    }
    # Every JSON document is YAML.
    write(directory / "user-data", f"#cloud-config\n{json.dumps(data, indent=1)}\n")
    write(directory / "meta-data", json.dumps({"instance-id": identity.name, "local-hostname": identity.name}))
    return directory


def given(reference: str, checksum: str) -> Path:
    """Return the path of an image that was named by path or address; an address needs a checksum."""
    if "://" not in reference:
        path = Path(reference).absolute()
        if not path.is_file():
            raise FleetError(f"TEST_VM_IMAGE is {reference}, and there is no such file")
        if checksum and digest(path) != checksum:
            raise FleetError(f"TEST_VM_IMAGE {reference} has the SHA-256 {digest(path)}, not TEST_VM_IMAGE_SHA256")
        return path
    if not checksum:
        raise FleetError(f"TEST_VM_IMAGE is {reference}; set TEST_VM_IMAGE_SHA256 to the checksum it must have")
    path = CACHE / f"{checksum}.qcow2"
    if not path.exists():
        say(f"image: fetching {reference}")
        with tempfile.NamedTemporaryFile(dir=CACHE, suffix=".part") as part:
            with urllib.request.urlopen(reference, timeout=60) as answer:
                shutil.copyfileobj(answer, part)
            part.flush()
            if digest(Path(part.name)) != checksum:
                raise FleetError(f"{reference} has the SHA-256 {digest(Path(part.name))}, not TEST_VM_IMAGE_SHA256")
            os.link(part.name, path)
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stand_in(state: Path, identity: Identity) -> Disk:
    """Put Debian with SELinux's reference policy on a disk; its tree is bootstrapped once for each recipe."""
    mirror, security = apt.mirrors()
    known = ((mirror, "trixie"), (mirror, "trixie-updates"), (security, "trixie-security"))
    sources = [f"deb [signed-by={machine.KEYRING}] {uri} {suite} main" for uri, suite in known if uri]
    recipe = "\0".join((*PACKAGES, SETUP, *sources))
    tree = CACHE / f"stand-in-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not tree.exists():
        say("image: bootstrapping Debian with SELinux (stand-in)")
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            _bootstrap(Path(directory), sources, state / "image.log")
            Path(directory, "root").rename(tree)
    write(tree / "etc/hostname", f"{identity.name}\n", 0o644)
    write(tree / "etc/hosts", f"127.0.0.1 localhost {identity.name}\n", 0o644)
    write(tree / "etc/ssh/ssh_host_ed25519_key", identity.host_key)
    write(tree / "home/ops/.ssh/authorized_keys", f"{identity.authorized_key}\n")
    # Labelled before it first starts; the machine that does it need not run SELinux.
    labels = "chown -R ops: /home/ops && setfiles -F /etc/selinux/default/contexts/files/file_contexts /"
    run_logged("labelling the stand-in", ["chroot", str(tree), "sh", "-c", labels], state / "image.log")
    disk = state / "disk.raw"
    run_logged("making the disk", ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(disk), SIZE], state / "image.log")
    kernel = ("-kernel", str(tree / "vmlinuz"), "-initrd", str(tree / "initrd.img"), "-append", KERNEL_ARGUMENTS)
    return Disk("stand-in", disk, kernel)


def _bootstrap(directory: Path, sources: list[str], log: Path) -> None:
    (directory / "setup.sh").write_text(f"set -eu\n{SETUP}")
    argv = [
        *("mmdebstrap", "--variant=minbase", "--format=directory", f"--include={','.join(PACKAGES)}"),
        *('--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io", "--skip=cleanup/apt/lists"),
        f"--customize-hook=copy-in {CA_CERTIFICATES} /usr/local/share",
        f"--customize-hook=upload {directory / 'setup.sh'} /setup.sh",
        '--customize-hook=chroot "$1" sh /setup.sh; rm "$1/setup.sh" "$1/etc/resolv.conf"',
        *("trixie", str(directory / "root"), *sources),
    ]
    run_logged("the bootstrap of the stand-in", argv, log)
