#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a secret that a host keeps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret
short_description: Let a host make a secret once and keep it
description:
  - Makes a random secret in a file of mode 0600 when there is none, and returns its hash. The secret never leaves
    the host.
options:
  path:
    description: File that holds the secret.
    type: path
    required: true
  length:
    description: Number of characters (letters and digits).
    type: int
    default: 32
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Tells whether a secret would be made; the hash is then empty.
    support: full
"""

EXAMPLES = r"""
- name: Keep a password on the host
  baremetal.web.secret:
    path: /etc/example/password
  register: password
  no_log: true
"""

RETURN = r"""
sha1:
  description: SHA-1 of the secret in hexadecimal, the one form that supervisord takes besides plain text.
  type: str
  returned: always
"""

import hashlib
import os
import secrets
import string

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils.files import read_state, write_file
from ansible_collections.baremetal.web.plugins.module_utils.ledger import Ledger


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "length": {"type": "int", "default": 32}},
        supports_check_mode=True,
    )
    path, length = module.params["path"], module.params["length"]
    if length < 16:
        module.fail_json(msg=f"length is {length}; a secret of fewer than 16 characters can be guessed.")
    state = read_state(path)
    secret = (state.content or b"").decode().strip() if state else ""
    changed = not secret or state[1:4] != (0o600, 0, 0)
    if changed and not module.check_mode:
        secret = secret or "".join(map(secrets.choice, [string.ascii_letters + string.digits] * length))
        with Ledger() as notes:
            notes.note_directory(os.path.dirname(path))
            notes.note_file(path)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_file(path, f"{secret}\n".encode(), 0o600)
    module.exit_json(changed=changed, sha1=hashlib.sha1(secret.encode()).hexdigest() if secret else "")


if __name__ == "__main__":
    main()
