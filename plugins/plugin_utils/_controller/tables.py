# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of text in columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable


def table(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table, its head first; of a text with several lines the first one is shown."""
    cells = [columns]
    cells += [tuple(readable(str(row.get(column, ""))).partition("\n")[0] for column in columns) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
