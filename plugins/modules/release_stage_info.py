#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: gather what a host has and lacks of a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_stage_info
short_description: Gather what a host has and lacks of a release that is to be staged
description:
  - The action M(baremetal.web.release_stage) calls it, and nothing else should. Changes nothing.
options:
  app:
    description: One app as the filter P(baremetal.web.resolve_apps#filter) gives it.
    type: dict
    required: true
  root:
    description: Directory below which each app has its home.
    type: path
    default: /srv/wsgi
  release:
    description: Name of the release by its content.
    type: str
    required: true
  redeploy:
    description: Whether the same content is released once more, as a release of its own.
    type: bool
    default: false
  environment:
    description: Environment variables, as base64 of JSON.
    type: str
    required: true
  manifest:
    description: The facts to remember of the release.
    type: dict
    required: true
  wheels:
    description: SHA-256 of the wheels that may be needed, by name.
    type: dict
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Does the same; it also answers where a run has yet to bring what it needs.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask what the host has
  baremetal.web.release_stage_info:
    app: "{{ app }}"
    release: 1571b0ae6c8c
    environment: e30=
    manifest: "{{ manifest }}"
"""

RETURN = r"""
release:
  description: The release to build, or the one that is there with the same content.
  type: str
  returned: success
current:
  description: The live release, empty when there is none.
  type: str
  returned: success
current_version:
  description: The version of the live release.
  type: str
  returned: success
complete:
  description: Whether the release is built already.
  type: bool
  returned: success
converged:
  description: Whether the release is live and healthy already.
  type: bool
  returned: success
slots:
  description: How a web server has to reach each of the two slots (C(protocol), and C(port), 0 for a unix socket).
  type: dict
  returned: success
endpoint_changed:
  description: Whether the web server has to be configured for that before the release goes live.
  type: bool
  returned: success
environment_names:
  description: Names of the variables that the live release has not, or has with another value.
  type: list
  elements: str
  returned: success
lacking:
  description: Names of the wheels that the host lacks.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.baremetal.web.plugins.module_utils._host.work import carry_out
from ansible_collections.baremetal.web.plugins.module_utils._release.modules.release_stage_info import ARGUMENTS, work


def main() -> None:
    carry_out(ARGUMENTS, work)


if __name__ == "__main__":
    main()
