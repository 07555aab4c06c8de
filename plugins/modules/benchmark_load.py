#!/usr/bin/python
# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: send load to an address, and say what came of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_load
short_description: Send load to an address
description:
  - Runs one tool within bounds of time and number, and reads its report. Errors and answers other than 2xx are counted
    beside the rate.
options:
  tool:
    description: V(wrk), V(ab), V(siege), or V(pool) for requests that a pool of threads sends at the same time.
    type: str
    choices: [wrk, ab, siege, pool]
    required: true
  url:
    description: What is asked for.
    type: str
    required: true
  host:
    description: The host name that is asked for, which need not be that of the address.
    type: str
    required: true
  connections:
    description: How many at the same time.
    type: int
    required: true
  seconds:
    description: How long V(wrk) runs.
    type: int
    default: 3
  requests:
    description: How many requests V(ab) sends.
    type: int
    default: 10000
  repetitions:
    description: How often each user of V(siege) asks.
    type: int
    default: 100
  time_limit:
    description: Seconds after which the tool is ended, and the task fails.
    type: int
    default: 120
author: The baremetal.web authors (@baremetal-web)
attributes:
  check_mode:
    description: Sends nothing.
    support: full
"""

EXAMPLES = r"""
- name: Keep 64 connections busy for three seconds
  baremetal.web.benchmark_load:
    tool: wrk
    url: http://127.0.0.1:8080/hello
    host: shop.example.com
    connections: 64
"""

RETURN = r"""
figures:
  description: >-
    C(command), C(seconds), C(requests), C(rate) (requests per second), C(bytes), C(latency_ms) and C(errors), by kind;
    C(client_cpu), how many processors the tool kept busy. A figure that the tool does not give is null.
  type: dict
  returned: success, not in check mode
"""

import resource
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.web.plugins.module_utils._benchmark.load_tools import LoadError, send


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tool": {"type": "str", "required": True, "choices": ["wrk", "ab", "siege", "pool"]},
            "url": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "connections": {"type": "int", "required": True},
            "seconds": {"type": "int", "default": 3},
            "requests": {"type": "int", "default": 10000},
            "repetitions": {"type": "int", "default": 100},
            "time_limit": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)

    def run(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        bounded = ["timeout", "--kill-after=5", str(module.params["time_limit"]), *command]
        status, output, said = module.run_command(bounded, environ_update={"LC_ALL": "C.UTF-8", **environment})
        if status == 124:
            raise LoadError(f"{command[0]} was not done after {module.params['time_limit']} s")
        return status, output, said

    load: dict[str, Any] = module.params
    try:
        figures = send(load, run)
    except LoadError as error:
        module.fail_json(msg=f"{load['url']} ({load['host']}): {error}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = (
        (used.ru_utime + used.ru_stime) / figures["seconds"] if figures["seconds"] and load["tool"] != "pool" else None
    )
    module.exit_json(changed=False, figures={**figures, "client_cpu": busy})


if __name__ == "__main__":
    main()
