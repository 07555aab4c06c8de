# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read OpenPGP public keys as far as their fingerprints need it, for gpg is not on every controller."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

PRIMARY_KEY = 6
SECRET_KEYS = (5, 7)
# Signature, primary key, user id, subkey, user attribute.
KEY_PARTS = (2, PRIMARY_KEY, 13, 14, 17)
_BLOCK = re.compile(rb"-----BEGIN PGP ([A-Z ]+)-----\s*\n(?:[\w-]+: .*\n)*\s*\n(.*?)-----END PGP \1-----", re.DOTALL)


class KeyFileError(ValueError):
    """A file is no list of public keys, or not the one that was promised; the text says why."""


def dearmor(content: bytes) -> bytes:
    """Return the binary form of a key file, whichever form it has."""
    if b"-----BEGIN PGP" not in content:
        return content
    parts = []
    for kind, body in _BLOCK.findall(content.replace(b"\r\n", b"\n")):
        if kind != b"PUBLIC KEY BLOCK":
            raise KeyFileError(f"it holds a {kind.decode()}; give public keys alone")
        lines = [line for line in body.split() if not line.startswith(b"=")]  # the last one is a checksum
        try:
            parts.append(base64.b64decode(b"".join(lines), validate=True))
        except binascii.Error:
            raise KeyFileError("its armor is damaged") from None
    if not parts:
        raise KeyFileError("its armor is damaged")
    return b"".join(parts)


def armor(binary: bytes) -> str:
    """Return the text form of keys, which apt and rpm take alike."""
    text = base64.b64encode(binary).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    checksum = base64.b64encode(_crc24(binary).to_bytes(3, "big")).decode()
    body = "\n".join([*lines, f"={checksum}"])
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n"


def fingerprints(binary: bytes) -> list[str]:
    """Return the fingerprint of each primary key."""
    found = []
    for tag, body in _packets(binary):
        if tag in SECRET_KEYS:
            raise KeyFileError("it holds a secret key; give public keys alone")
        if tag not in KEY_PARTS:  # whatever else it holds, another program may find a key in
            raise KeyFileError(f"it holds a packet of kind {tag}, which is no part of a key")
        if tag == PRIMARY_KEY:
            if body[:1] != b"\x04":
                raise KeyFileError(f"it holds a key of version {body[0] if body else '?'}; known is version 4")
            found.append(hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper())
    if not found:
        raise KeyFileError("it holds no OpenPGP public key")
    return found


def checked(content: bytes, expected: list[str]) -> str:
    """Return a key file as text when its primary keys are those expected, each and no other."""
    binary = dearmor(content)
    actual = fingerprints(binary)
    wanted = ["".join(fingerprint.split()).upper() for fingerprint in expected]
    if foreign := [fingerprint for fingerprint in actual if fingerprint not in wanted]:
        raise KeyFileError(f"it holds the key {', '.join(foreign)}, which is not among {', '.join(wanted)}")
    if missing := [fingerprint for fingerprint in wanted if fingerprint not in actual]:
        raise KeyFileError(f"it lacks the key {', '.join(missing)}")
    return armor(binary)


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the body of each packet (RFC 4880, section 4.2)."""
    position = 0
    try:
        while position < len(data):
            header = data[position]
            if not header & 0x80:
                raise KeyFileError("it is not in the format of OpenPGP")
            position += 1
            if header & 0x40:
                tag, (length, size) = header & 0x3F, _new_length(data, position)
            else:
                tag, size = (header >> 2) & 0x0F, (1, 2, 4, 0)[header & 0x03]
                length = int.from_bytes(data[position : position + size], "big") if size else len(data) - position
            position += size
            if position + length > len(data):
                raise KeyFileError("it is cut off")
            yield tag, data[position : position + length]
            position += length
    except IndexError:
        raise KeyFileError("it is cut off") from None


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    """Return a length of the new format and the number of bytes that it takes."""
    first = data[position]
    if first < 192:
        return first, 1
    if first < 224:
        return ((first - 192) << 8) + data[position + 1] + 192, 2
    if first == 255:
        return int.from_bytes(data[position + 1 : position + 5], "big"), 5
    raise KeyFileError("it has a packet of unknown length, which no key has")


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _bit in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc
