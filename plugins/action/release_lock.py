# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: lock the releases of an app by hand, or take a lock away."""

from __future__ import annotations

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.release_actions import APP, RunAction


class ActionModule(RunAction):
    """Tell the host who does it, and in which run."""

    _VALID_ARGS = frozenset((*APP, "state", "reason"))
