# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of the same name, which does all its work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Write the report of a benchmark beside its data
description:
  - Reads C(benchmark.json) of a directory of the controller and writes there C(index.html), one page with its charts,
    C(runs.csv) and C(summary.md). No host is asked.
  - The same data give the same bytes, so a report can be made again at any time.
  - Its charts need the Python package C(pygal) on the controller.
options:
  path:
    description: The directory of the benchmark.
    type: path
    required: true
  phase:
    description:
      - V(check) only tells whether the charts can be drawn; to ask before anything is measured.
      - V(report) writes the report.
    type: str
    choices: [check, report]
    default: report
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Writes nothing, and tells whether a file would change.
    support: full
"""

EXAMPLES = r"""
- name: Make sure that a report can be made
  benchmark_report:
    path: benchmark/first
    phase: check

- name: Write the report
  benchmark_report:
    path: benchmark/first
"""

RETURN = r"""
paths:
  description: The files of the report.
  type: list
  elements: str
  returned: O(phase=report)
answer:
  description: Three sentences on what to choose, how that compares with the tutorials, how far the limit is.
  type: list
  elements: str
  returned: O(phase=report)
problems:
  description: A sentence for each thing that the data lacks; none when the benchmark is complete.
  type: list
  elements: str
  returned: O(phase=report)
"""
