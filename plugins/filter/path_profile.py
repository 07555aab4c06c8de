# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what puts directories on the PATH of login shells."""

from __future__ import annotations

DOCUMENTATION = r"""
name: path_profile
short_description: Write what puts directories on the PATH of login shells
description:
  - The text of a file in C(/etc/profile.d). The directories come last, so that no command of the system is hidden, and
    each once, however often the file is read.
options:
  _input:
    description: The directories; shell patterns are allowed.
    type: list
    elements: str
    required: true
  for_root:
    description: Whether root's own shells get the directories as well; false for what others than root may write.
    type: bool
    default: true
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Write a profile
  baremetal.web.service_config:
    files:
      - path: /etc/profile.d/tools.sh
        content: "{{ ['/opt/tools/bin'] | baremetal.web.path_profile }}"
"""

RETURN = r"""
_value:
  description: The text, in the language of every shell.
  type: str
"""

from typing import Any

# Who may write there is not root: its own login shell leaves these out.
NOT_ROOT = """\
if [ "$(id -u)" != 0 ]; then
{text}fi
"""

TEXT = """\
# Last in the PATH, so that no command of the system is hidden; each once, however often this is read.
for directory in {directories}; do
  case ":$PATH:" in
    *":$directory:"*) ;;
    *) [ -d "$directory" ] && PATH="$PATH:$directory" ;;
  esac
done
unset directory
export PATH
"""


def path_profile(directories: list[str], *, for_root: bool = True) -> str:
    """Return the text; ``for_root`` tells whether root's own shells get the directories as well."""
    text = TEXT.format(directories=" ".join(directories))
    return text if for_root else NOT_ROOT.format(text=text)


class FilterModule:
    """The filter C(path_profile)."""

    def filters(self) -> dict[str, Any]:
        return {"path_profile": path_profile}
