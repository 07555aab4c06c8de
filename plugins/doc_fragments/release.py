# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common documentation of the modules for releases."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that work on the releases of one app."""

    DOCUMENTATION = r"""
options:
  name:
    description: Name of the app.
    type: str
    required: true
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
"""

    RUN = r"""
options:
  by:
    description: The person who does it, and the controller (the action gives it).
    type: str
    default: ""
  run:
    description: The run of Ansible that does it (the action gives it).
    type: str
    default: ""
"""

    LOCK = r"""
options:
  reason:
    description: Why; it stands in the lock and in the audit log.
    type: str
    default: ""
  lock_wait:
    description: Seconds to wait for a lock that another run holds.
    type: float
    default: 0
  lock_seconds:
    description: Seconds after which the lock of a run that was cut off expires.
    type: float
    default: 900
"""
