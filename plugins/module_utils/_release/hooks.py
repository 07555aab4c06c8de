# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of hooks, and the step that runs each: nothing else says so."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """When the hooks of a kind run: those for each host, or those for the whole fleet."""

    kind: str
    run_once: bool
    step: str


# In the order of a deploy. A host builds and activates by itself; the other two steps wait for all hosts of the run.
BUILD, BEFORE_SWITCH, ACTIVATE, AFTER_SWITCH = "build", "before_switch", "activate", "after_switch"
MOMENTS = (
    Moment("after_stage", False, BUILD),
    Moment("after_stage", True, BEFORE_SWITCH),
    Moment("migrate", True, BEFORE_SWITCH),
    Moment("migrate", False, BEFORE_SWITCH),
    Moment("before_activate", True, BEFORE_SWITCH),
    Moment("before_activate", False, ACTIVATE),
    Moment("after_activate", False, ACTIVATE),
    Moment("after_activate", True, AFTER_SWITCH),
)
KINDS = tuple(dict.fromkeys(moment.kind for moment in MOMENTS))
