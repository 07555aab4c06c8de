# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: where in a variable of a host a value is that cannot be worked out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unresolved
short_description: Find the values of a variable that cannot be worked out
description:
  - Gives the path, the template and the reason of each value in a variable of this host whose template fails.
options:
  _terms:
    description: The variable's name.
    type: list
    elements: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ query('baremetal.web.unresolved', 'wsgi_apps') }}"
"""

RETURN = r"""
_raw:
  description: One text for each value; none when all can be worked out.
  type: list
  elements: str
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

_TEMPLATE = re.compile(r"{{.*?}}|{%.*?%}", re.DOTALL)


def _reason(message: str) -> str:
    """Return why, without the value: up to ansible-core 2.18 it stands before the reason, or behind it."""
    return re.split(r"[\])}'\"]: ", message)[-1].partition("String: ")[0].partition("\n")[0].strip()


class LookupModule(LookupBase):
    """Work out each value by itself."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        known = variables or {}
        raw = known["hostvars"].raw_get(known["inventory_hostname"])
        return [found for name in terms if name in raw for found in self._failures(raw[name], name)]

    def _failures(self, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from self._failures(item, f"{place}.{key}")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                name = item.get("name", index) if isinstance(item, Mapping) else index
                yield from self._failures(item, f"{place}[{name}]")
        elif isinstance(value, str):
            try:
                self._templar.template(value)
            except AnsibleError as error:
                reason = _reason(str(getattr(error, "message", "") or error))
                # What stands around the templates may be secret.
                shown = " ".join(_TEMPLATE.findall(str.__str__(value))) or "a template"
                yield f"{place} has {shown} ({reason})"
