# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two slots of an app, as both its releases and its web server know them: paths in its home, and ports."""

from __future__ import annotations

import os

SLOTS = ("a", "b")


def slots_directory(home: str) -> str:
    """Return the directory of what a web server looks at."""
    return os.path.join(home, "slots")


def slot_link(home: str, slot: str) -> str:
    """Return the link to the socket of the release in a slot."""
    return os.path.join(slots_directory(home), f"{slot}.sock")


def marker(home: str) -> str:
    """Return the file that is there while the second slot is live."""
    return os.path.join(slots_directory(home), SLOTS[1])


def live_socket(home: str) -> str:
    """Return the link to the socket of the live release."""
    return os.path.join(home, "current.sock")


def slot_port(first: int, slot: str) -> int:
    """Return the port of the release in a slot, of two consecutive ones."""
    return first + SLOTS.index(slot)
