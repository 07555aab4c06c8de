# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: who can reach an address."""

from __future__ import annotations

DOCUMENTATION = r"""
name: address_scope
short_description: Tell who can reach an IP address
description:
  - V(loopback) is the host alone, V(private) its own networks, V(public) the internet.
  - V(everywhere) is a wildcard, all addresses of the host. A text that is no IP address is empty.
options:
  _input:
    description: The address, IPv4, or IPv6 without brackets.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Show who can reach 10.0.0.7
  ansible.builtin.debug:
    msg: "{{ '10.0.0.7' | baremetal.web.address_scope }}"
"""

RETURN = r"""
_value:
  description: V(loopback), V(private), V(public), V(everywhere), or nothing.
  type: str
"""

import ipaddress
from collections.abc import Callable


def address_scope(text: str) -> str:
    """Return who can reach an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if address.is_unspecified:
        return "everywhere"
    if address.is_loopback:
        return "loopback"
    return "public" if address.is_global or address.is_multicast else "private"


class FilterModule:
    """The filter C(address_scope)."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"address_scope": address_scope}
