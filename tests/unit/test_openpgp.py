"""Key files: the fingerprints are those that gpg sees, and nothing but the promised keys passes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from ansible_collections.baremetal.web.plugins.plugin_utils._mechanisms.openpgp import (
    KeyFileError,
    armor,
    checked,
    dearmor,
    fingerprints,
)

pytestmark = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Run gpg with a keyring of its own."""
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)

    def _gpg(*arguments: str) -> bytes:
        command = ["gpg", "--batch", "--quiet", "--passphrase", "", *arguments]
        return subprocess.run(
            command, env={**os.environ, "GNUPGHOME": str(home)}, capture_output=True, check=True
        ).stdout

    return _gpg


@pytest.fixture(scope="module", params=["rsa2048", "ed25519"])
def key(request: pytest.FixtureRequest, gpg: Callable[..., bytes]) -> str:
    """Return the fingerprint of a key that gpg made, as gpg says it."""
    name = f"{request.param}@example.com"
    gpg("--quick-generate-key", name, request.param, "default", "never")
    lines = gpg("--with-colons", "--fingerprint", name).decode().splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr"))


@pytest.mark.parametrize("form", [("--export",), ("--armor", "--export")], ids=["binary", "armored"])
def test_a_fingerprint_is_what_gpg_says(gpg: Callable[..., bytes], key: str, form: tuple[str, ...]) -> None:
    content = gpg(*form, key)
    assert fingerprints(dearmor(content)) == [key]


def test_the_armor_is_what_gpg_writes_and_comes_back(gpg: Callable[..., bytes], key: str) -> None:
    binary = gpg("--export", key)
    assert armor(binary).split() == gpg("--armor", "--export", key).decode().split()
    assert dearmor(armor(binary).replace("\n", "\r\n").encode()) == binary


def test_a_promised_key_passes_however_its_fingerprint_is_written(gpg: Callable[..., bytes], key: str) -> None:
    written = " ".join(key[start : start + 4] for start in range(0, 40, 4)).lower()
    assert dearmor(checked(gpg("--export", key), [written]).encode()) == gpg("--export", key)


def test_a_key_that_was_not_promised_is_refused_by_name_even_beside_one_that_was(gpg: Callable[..., bytes]) -> None:
    for name in ("good", "evil"):
        gpg("--quick-generate-key", f"{name}@example.com", "ed25519", "default", "never")
    good, evil = (gpg("--export", f"{name}@example.com") for name in ("good", "evil"))
    promised = fingerprints(good)
    with pytest.raises(KeyFileError, match=fingerprints(evil)[0]):
        checked(good + evil, promised)
    with pytest.raises(KeyFileError, match=f"lacks the key {fingerprints(evil)[0]}"):
        checked(good, [*promised, *fingerprints(evil)])
    both = (armor(good) + armor(evil)).encode()
    assert fingerprints(dearmor(both)) == [*promised, *fingerprints(evil)]


def test_a_key_that_is_hidden_in_another_packet_is_refused(gpg: Callable[..., bytes]) -> None:
    for name in ("plain", "hidden"):
        gpg("--quick-generate-key", f"{name}@example.com", "ed25519", "default", "never")
    plain, hidden = (gpg("--export", f"{name}@example.com") for name in ("plain", "hidden"))
    inside = b"\x00" + hidden  # "compressed", by no method at all
    packet = bytes([0xC0 | 8, 0xFF]) + len(inside).to_bytes(4, "big") + inside
    with pytest.raises(KeyFileError, match="a packet of kind 8"):
        checked(plain + packet, fingerprints(plain))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no OpenPGP public key"),
        (b"<html>404</html>", "not in the format"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----\n", "damaged"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", "SIGNATURE"),
        (b"\x99\x01\x0d\x04abc", "cut off"),
        (b"\xc6", "cut off"),
        (b"\xc6\x01\x03", "version 3"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason):
        checked(content, ["0" * 40])


def test_a_secret_key_is_refused(gpg: Callable[..., bytes], key: str) -> None:
    with pytest.raises(KeyFileError, match="secret key"):
        fingerprints(gpg("--export-secret-keys", key))
