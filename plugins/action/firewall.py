# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: open ports, unless the survey of the host has found it so."""

from __future__ import annotations

from ansible_collections.baremetal.web.plugins.plugin_utils._controller.surveyed import SurveyedAction


class ActionModule(SurveyedAction):
    """Call the module of the same name."""

    TRANSFERS_FILES = False
