# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: what the command line says."""

from __future__ import annotations

DOCUMENTATION = r"""
name: command_line
short_description: Read variables from the command line alone
description:
  - Gives the value of a variable that C(-e) sets, in whatever form, and the default for any other. A variable of the
    inventory that has the same name by chance steers nothing; a warning says so.
options:
  _terms:
    description: Names of variables.
    type: list
    elements: str
    required: true
  default:
    description: The value of a variable that the command line does not set.
    type: raw
    default: ""
  elements:
    description: Whether the value is a list, which the command line may give as C(one,two).
    type: bool
    default: false
  empty:
    description: Whether an empty value is a value. It is refused otherwise.
    type: bool
    default: false
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show which app is meant
  ansible.builtin.debug:
    msg: "{{ lookup('baremetal.web.command_line', 'app') }}"
"""

RETURN = r"""
_raw:
  description: The value of each variable.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars


class LookupModule(LookupBase):
    """Ask Ansible what it was called with."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        said = load_extra_vars(self._loader)
        return [self._value(name, said, variables or {}) for name in terms]

    def _value(self, name: str, said: dict[str, Any], variables: dict[str, Any]) -> Any:
        if name not in said:
            if name in variables:
                Display().warning(
                    f"The inventory has a variable {name}, which has no effect here: the playbooks of baremetal.web "
                    f"take {name} from the command line alone (-e {name}=…)."
                )
            return self.get_option("default")
        value = self._templar.template(said[name])
        if value in ("", None, []) and not self.get_option("empty"):
            raise AnsibleLookupError(f"-e {name} has no value. Give it one, or leave it out.")
        if not self.get_option("elements"):
            return value
        parts = value if isinstance(value, list) else [part.strip() for part in str(value).split(",")]
        if not all(isinstance(part, str) and part for part in parts):
            raise AnsibleLookupError(
                f"-e {name} is {value!r}, which has a part that is no name. Write -e {name}=one,two."
            )
        return list(dict.fromkeys(parts))
