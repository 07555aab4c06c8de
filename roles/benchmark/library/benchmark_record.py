# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of the same name, which does all its work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_record
short_description: Keep what a benchmark measures
description:
  - Adds to C(runs.jsonl) in a directory of the controller, so that an interrupted benchmark keeps what it has.
  - At the end it makes C(benchmark.json) of it, which C(benchmark_report) reads.
options:
  path:
    description: The directory; made when missing.
    type: path
    required: true
  run:
    description: One measurement.
    type: dict
  missing:
    description: A subject that could not be measured, as C(subject) and C(why).
    type: dict
  document:
    description: All that the document has besides the measurements.
    type: dict
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Keep a measurement
  benchmark_record:
    path: benchmark/staging
    run: {subject: default, rate: 4200.5}
"""

RETURN = r"""
path:
  description: The document.
  type: str
  returned: when it was written
"""
