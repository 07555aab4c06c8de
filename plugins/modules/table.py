#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of the same name, which does all its work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: table
short_description: Show a table
description:
  - Prints a head and a line for each row, in columns with plain spaces between them, for people and for grep and awk.
  - With the callback P(baremetal.web.json#callback) nothing is printed; the rows are in its document.
  - Runs on the controller, asks no host, and changes nothing.
options:
  table:
    description: The result of a filter such as P(baremetal.web.status_table#filter).
    type: dict
    required: true
    suboptions:
      columns:
        description: Names of the columns, which are keys of the rows as well.
        type: list
        elements: str
        required: true
      rows:
        description: The rows, with all values that a script could want.
        type: list
        elements: dict
        required: true
      shown:
        description: The rows as people are shown them. Without it, they are O(table.rows).
        type: list
        elements: dict
attributes:
  check_mode:
    description: Shows the table in check mode as well.
    support: full
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show how the apps are
  baremetal.web.table:
    table: "{{ ansible_play_hosts_all | baremetal.web.status_table(hostvars) }}"
  run_once: true
"""

RETURN = r"""
rows:
  description: O(table.rows) as they were given.
  type: list
  elements: dict
  returned: always
"""
