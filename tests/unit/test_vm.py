"""The disk of the virtual machine: the right image or none, and who may log in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from tests.fleet.process import FleetError
from tests.vm import images

CONTENT = b"an image"
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(images, "CACHE", tmp_path / "cache")
    path = tmp_path / "image.qcow2"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("checksum", ["", CHECKSUM])
def test_an_image_may_be_a_path(image: Path, checksum: str) -> None:
    assert images.given(str(image), checksum) == image


def test_an_image_with_another_checksum_is_refused(image: Path) -> None:
    for reference in (str(image), image.as_uri()):
        with pytest.raises(FleetError, match="not TEST_VM_IMAGE_SHA256"):
            images.given(reference, "0" * 64)
    assert list(images.CACHE.iterdir()) == []


def test_an_address_needs_a_checksum(image: Path) -> None:
    with pytest.raises(FleetError, match="set TEST_VM_IMAGE_SHA256"):
        images.given(image.as_uri(), "")


def test_an_image_is_fetched_once(image: Path) -> None:
    fetched = images.given(image.as_uri(), CHECKSUM)
    assert fetched.read_bytes() == CONTENT
    image.unlink()
    assert images.given(image.as_uri(), CHECKSUM) == fetched


def test_the_seed_of_a_cloud_image_lets_the_key_in_and_gives_the_host_its_own(tmp_path: Path) -> None:
    seed = images.cloud_seed(tmp_path / "seed", images.Identity("vm", "ssh-ed25519 AAAA", "PRIVATE\n"))
    text = (seed / "user-data").read_text()
    data = yaml.safe_load(text)
    assert text.startswith("#cloud-config\n")
    assert data["users"][0]["ssh_authorized_keys"] == ["ssh-ed25519 AAAA"]
    assert data["ssh_keys"] == {"ed25519_private": "PRIVATE\n"}
    assert yaml.safe_load((seed / "meta-data").read_text())["local-hostname"] == "vm"
