# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: a rendered template."""

from __future__ import annotations

DOCUMENTATION = r"""
name: template
short_description: Render a template without a copy of all variables
description:
  - Gives what P(ansible.builtin.template#lookup) gives. That one copies every variable of the host in depth for each
    template, in case the template changes one. The names of all hosts of the fleet are among them.
  - The templates of this collection change none.
options:
  _terms:
    description: Names of files among the templates of the role.
    type: list
    elements: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show a rendered template
  ansible.builtin.debug:
    msg: "{{ lookup('baremetal.web.template', 'etc/nginx/nginx.conf.j2') }}"
"""

RETURN = r"""
_raw:
  description: The text of each file.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase


class Shared(dict):  # type: ignore[type-arg]
    """Variables of which a deep copy has the same values."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return dict(self)


class LookupModule(LookupBase):
    """Let Ansible's own lookup do it."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        return lookup.run(terms, variables=Shared(variables or {}), **kwargs)
