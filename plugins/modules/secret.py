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
  group:
    description: Group that may read the file, whose mode is then 0640.
    type: str
    default: root
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
sha256:
  description: SHA-256 of the secret in hexadecimal.
  type: str
  returned: always
"""

import hashlib
import os
import secrets
import string

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils.files import group_id, read_state, write_file
from ansible_collections.baremetal.web.plugins.module_utils.ledger import Ledger


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "length": {"type": "int", "default": 32},
            "group": {"type": "str", "default": "root"},
        },
        supports_check_mode=True,
    )
    path, length, group = (module.params[name] for name in ("path", "length", "group"))
    if length < 16:
        module.fail_json(msg=f"length is {length}; a secret of fewer than 16 characters can be guessed.")
    state = read_state(path)
    secret = (state.content or b"").decode().strip() if state else ""
    mode, gid = (0o600 if group == "root" else 0o640), group_id(group)
    changed = not secret or state[1:4] != (mode, 0, gid)
    if changed and not module.check_mode:
        if gid is None:
            module.fail_json(msg=f"There is no group {group}, which is to read {path}. Make it first.")
        secret = secret or "".join(map(secrets.choice, [string.ascii_letters + string.digits] * length))
        with Ledger() as notes:
            notes.note_directory(os.path.dirname(path))
            notes.note_file(path)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        write_file(path, f"{secret}\n".encode(), mode, gid=gid)
    hashes = {name: hashlib.new(name, secret.encode()).hexdigest() if secret else "" for name in ("sha1", "sha256")}
    module.exit_json(changed=changed, **hashes)


if __name__ == "__main__":
    main()
