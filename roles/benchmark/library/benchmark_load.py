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
    description: The URL that is requested.
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
  benchmark_load:
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

import http.client
import json
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# wrk's own summary knows no 95th percentile. Units: https://github.com/wg/wrk/blob/master/SCRIPTING
WRK_SUMMARY = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"microseconds": %d, "requests": %d, "bytes": %d, "p50": %d, "p95": %d, "p99": %d, "max": %d, ' ..
    '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\\n',
    summary.duration, summary.requests, summary.bytes, latency:percentile(50), latency:percentile(95),
    latency:percentile(99), latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end
"""

SIEGE_SETTINGS = "limit = {users}\ntimeout = 10\nverbose = false\nquiet = true\nlogging = false\n"

# Runs a command with more of its environment; returns status, output and what was said besides.
Runner = Callable[[list[str], dict[str, str]], "tuple[int, str, str]"]
NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}


class LoadError(Exception):
    """A tool did not do as asked."""


def send(load: dict[str, Any], run: Runner) -> dict[str, Any]:
    """Send the load; return its command and its figures: a figure that the tool does not give is None.

    ``load`` has C(tool), C(url), C(host), C(connections), and C(seconds), C(requests) or C(repetitions).
    """
    return {"wrk": wrk, "ab": ab, "siege": siege, "pool": pool}[load["tool"]](load, run)


def wrk(load: dict[str, Any], run: Runner) -> dict[str, Any]:
    """Keep the connections busy for some seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK_SUMMARY)
        script.flush()
        options = ["-t1", f"-c{load['connections']}", f"-d{load['seconds']}s", "--timeout", "2s"]
        command = ["wrk", *options, "-H", f"Host: {load['host']}", "-s", script.name, load["url"]]
        output = _output(command, run)
    command[command.index(script.name)] = "percentiles.lua"
    return {"command": _line(command), **read_wrk(output, load["connections"])}


def read_wrk(output: str, connections: int) -> dict[str, Any]:
    """Read what the script above printed."""
    try:
        found = json.loads(output.rstrip().rpartition("\n")[2])
    except ValueError:
        raise LoadError(f"wrk printed no report: {output[-400:]}") from None
    seconds = found["microseconds"] / 1e6
    if not any(found[name] for name in ("requests", *NO_ERRORS)):
        # wrk tells of a timeout when the answer comes, and here none came at all.
        found |= {"timeout": connections}
    return {
        "seconds": seconds,
        "requests": found["requests"],
        "rate": found["requests"] / seconds if seconds else 0.0,
        "bytes": found["bytes"],
        "latency_ms": {
            name: found[name] / 1000 if found["requests"] else None for name in ("p50", "p95", "p99", "max")
        },
        "errors": {name: found[name] for name in NO_ERRORS},
    }


def ab(load: dict[str, Any], run: Runner) -> dict[str, Any]:
    """Send a number of requests, each on a connection of its own, as the tutorial does."""
    options = ["-q", "-l", "-r", "-s", "10", "-n", str(load["requests"]), "-c", str(load["connections"])]
    command = ["ab", *options, "-H", f"Host: {load['host']}", load["url"]]
    return {"command": _line(command), **read_ab(_output(command, run))}


def read_ab(output: str) -> dict[str, Any]:
    """Read ab's report."""

    def number(label: str) -> float:
        found = re.search(rf"^{label}:?\s+([\d.]+)", output, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def percentile(percent: int) -> float | None:
        found = re.search(rf"^\s*{percent}%\s+(\d+)", output, re.MULTILINE)
        return float(found.group(1)) if found else None

    if "Complete requests:" not in output:
        raise LoadError(f"ab printed no report: {output[-400:]}")
    return {
        "seconds": number("Time taken for tests"),
        "requests": int(number("Complete requests")),
        "rate": number("Requests per second"),
        "bytes": int(number("Total transferred")),
        "latency_ms": {"p50": percentile(50), "p95": percentile(95), "p99": percentile(99), "max": percentile(100)},
        "errors": {
            **NO_ERRORS,
            "read": int(number("Failed requests")),
            "write": int(number("Write errors")),
            "status": int(number("Non-2xx responses")),
        },
    }


def siege(load: dict[str, Any], run: Runner) -> dict[str, Any]:
    """Let each of the users ask a number of times without a pause, as the tutorial does."""
    users, times = load["connections"], load["repetitions"]
    with tempfile.TemporaryDirectory() as home:
        configuration = os.path.join(home, "siege.conf")
        with open(configuration, "w", encoding="utf-8") as stream:
            stream.write(SIEGE_SETTINGS.format(users=users))
        options = ["-R", configuration, "-j", "-c", str(users), "-r", str(times), "-b"]
        command = ["siege", *options, "--header", f"Host: {load['host']}", load["url"]]
        output = _output(command, run, HOME=home)
    command[command.index(configuration)] = "siege.conf"
    return {"command": _line(command), **read_siege(output)}


def read_siege(output: str) -> dict[str, Any]:
    """Read siege's JSON."""
    found = re.search(r"\{.*\}", output, re.DOTALL)
    if not found:
        raise LoadError(f"siege printed no report: {output[-400:]}")
    said = json.loads(found.group(0))
    missing = {"p50": None, "p95": None, "p99": None}
    return {
        "seconds": said["elapsed_time"],
        "requests": said["transactions"],
        "rate": said["transaction_rate"],
        "bytes": int(said["data_transferred"] * 1e6),
        "latency_ms": {**missing, "max": said["longest_transaction"] * 1000},
        # It does not tell requests without an answer from answers of 400 and more.
        "errors": {**NO_ERRORS, "failed": said["failed_transactions"]},
    }


def pool(load: dict[str, Any], run: Runner) -> dict[str, Any]:
    """Send some requests at the same time from a pool of threads, as the tutorial's script does."""
    number = load["connections"]
    address, _slash, path = load["url"].removeprefix("http://").partition("/")

    def ask(dummy: int) -> tuple[float, int, str]:
        started = time.monotonic()
        try:
            with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
                connection.request("GET", f"/{path}", headers={"Host": load["host"]})
                answer = connection.getresponse()
                size = len(answer.read())
                return time.monotonic() - started, size, "" if answer.status < 300 else "status"
        except (OSError, http.client.HTTPException):
            return time.monotonic() - started, 0, "read"

    with ThreadPoolExecutor(number) as threads:
        started = time.monotonic()
        answers = list(threads.map(ask, range(number)))
        seconds = time.monotonic() - started
    longest = max(taken for taken, _size, _problem in answers)
    return {
        "command": f"{number} requests at the same time: {load['url']}",
        "seconds": seconds,
        "requests": number,
        "rate": sum(not problem for _taken, _size, problem in answers) / seconds,
        "bytes": sum(size for _taken, size, _problem in answers),
        "latency_ms": {"p50": None, "p95": None, "p99": None, "max": longest * 1000},
        "errors": {name: sum(problem == name for _taken, _size, problem in answers) for name in NO_ERRORS},
    }


def _output(command: list[str], run: Runner, **environment: str) -> str:
    status, output, said = run(command, environment)
    if status:
        raise LoadError(f"{_line(command)} ended with {status}: {(said or output).strip()[-400:]}")
    return output


def _line(command: list[str]) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in command)


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
