# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common documentation of several filters."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of the filters that read wsgi_apps."""

    DOCUMENTATION = r"""
options:
  _input:
    description: The list C(wsgi_apps).
    type: list
    elements: dict
    required: true
"""

    NAMES = r"""
options:
  names:
    description: Names of the host, for sites that name none.
    type: list
    elements: str
    required: true
"""

    SEARCH = r"""
options:
  inventory_directory:
    description: Where relative paths are looked up after the working directory; the variable C(inventory_dir).
    type: path
"""

    HOSTS = r"""
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
"""
