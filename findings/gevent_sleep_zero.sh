#!/usr/bin/env bash
# gevent.sleep(0) in a loop, beside a greenlet that waits for a socket.
#
# Expected: gevent.sleep(0) gives each other greenlet that can go on its turn, as a switch of threads does.
# What happens: it does so for greenlets that wait for nothing. gevent looks at sockets only every 5 ms (its switch
#   interval), so a greenlet whose data has come waits for thousands of turns of the other.
#   After gevent.sleep(1e-9) gevent looks each time, and two turns are enough.
# Versions: gevent 26.9.0.
# Date: 2026-11-29.
# Source: the docstring of gevent.sleep names both; most examples of a greenlet that gives way use sleep(0).
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "gevent==26.9.0"
cat > turns.py <<'PYTHON'
import gevent
from gevent import socket

EXCHANGES = 50


def turns(pause):
    """Return how many turns a busy greenlet has in the time of one question and answer of two others."""
    ours, theirs = socket.socketpair()
    busy = {"turns": 0, "goes on": True}

    def work():
        while busy["goes on"]:
            busy["turns"] += 1
            gevent.sleep(pause)

    def answer():
        while question := theirs.recv(1):
            theirs.send(question)

    greenlets = [gevent.spawn(work), gevent.spawn(answer)]
    for _ in range(EXCHANGES):
        ours.send(b"?")
        ours.recv(1)
    busy["goes on"] = False
    ours.close()
    gevent.joinall(greenlets)
    return busy["turns"] // EXCHANGES


after_zero, after_more = turns(0), turns(1e-9)
print(f"gevent {gevent.__version__}: turns of the busy one for each answer: "
      f"{after_zero} with sleep(0), {after_more} with sleep(1e-9)")
raise SystemExit(not (after_zero > 10 * after_more and after_more < 10))
PYTHON
timeout 20 tools/bin/python turns.py
