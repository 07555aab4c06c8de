#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: gather the ports in the configuration of Apache httpd that is not ours."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apache_ports_info
short_description: Gather the ports in other configuration of Apache httpd
description:
  - A second C(Listen) for the same port keeps httpd from starting, so the role asks for those that are there.
options:
  configuration:
    description: Patterns of the files of httpd.
    type: list
    elements: str
    required: true
  owner:
    description: Files whose names begin with this owner, or with C(000-) before it, are left out.
    type: str
    required: true
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask for the ports of other configuration
  baremetal.web.apache_ports_info:
    configuration: [/etc/apache2/*.conf, /etc/apache2/sites-enabled/*.conf]
    owner: wsgi
"""

RETURN = r"""
listen:
  description: The lines that begin with C(Listen), without what is before and behind them.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.modules.apache_ports_info import ARGUMENTS, work
from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
