#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of the same name, which does all its work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sites
short_description: Render sites for a web server
description:
  - Renders the template of the role for each site, and returns what each needs of its host with the names of options
    of M(baremetal.web.service_config).
  - Runs on the controller, asks no host, and changes nothing.
options:
  server:
    description: The web server.
    type: str
    required: true
    choices: [nginx, apache]
  sites:
    description: The sites, as C(nginx_site) of the role C(nginx). Defaults may be left out.
    type: list
    elements: dict
    required: true
  owner:
    description: First part of the names of all files. Without it, they begin with the name of the site.
    type: str
    default: ""
  state:
    description: Whether the sites shall exist. Of a site that shall not, only the name counts.
    type: str
    choices: [present, absent]
    default: present
  layout:
    description: Where the web server of the host has its files.
    type: dict
    required: true
    suboptions:
      sites:
        description: Directory of the sites' files.
        type: path
        required: true
      pages:
        description: Directory of the error pages.
        type: path
        required: true
      configuration:
        description: Patterns of all files in which others may have sites.
        type: list
        elements: str
        required: true
attributes:
  check_mode:
    description: Renders in check mode as well.
    support: full
author: The baremetal.web authors (@baremetal-web)
"""

EXAMPLES = r"""
- name: Render a site
  baremetal.web.sites:
    server: nginx
    sites:
      - {name: shop, server_names: [shop.example.com]}
    layout:
      sites: /etc/nginx/conf.d
      pages: /usr/local/share/nginx
      configuration: [/etc/nginx/nginx.conf, /etc/nginx/conf.d/*.conf]
  register: rendered
"""

RETURN = r"""
sites:
  description:
    - For each site its C(name), and C(files), C(absent), C(ports), C(conflicts), C(check_expects) and C(check_forbids)
      for M(baremetal.web.service_config). C(open) has the ports for the firewall.
  type: list
  elements: dict
  returned: always
exclusive:
  description: Patterns of all files of the owner's sites. Without an owner, of the error pages of these sites.
  type: list
  elements: str
  returned: always
keeps:
  description: A regular expression of the lines that a change of one of the sites must not take away.
  type: str
  returned: always
listen:
  description: Ports on which the sites listen.
  type: list
  elements: int
  returned: always
connect:
  description: TCP ports of the servers behind the sites.
  type: list
  elements: int
  returned: always
"""
