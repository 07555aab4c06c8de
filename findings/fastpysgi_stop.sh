#!/bin/sh
# A request that FastPySGI is answering when it is asked to end.
#
# Expected: on SIGTERM, which supervisord, systemd and containers send, the server finishes it. SIGINT does the same.
# What happens: the server handles SIGINT alone. SIGTERM ends the process at once, and the client gets no answer.
#   After SIGINT a request that the app is working on is answered, but an answer that is being sent is cut off.
# Versions: fastpysgi 0.6.
# Date: 2026-11-29.
# Source: none found; hook_sigint in https://github.com/remittor/fastpysgi/blob/v0.6/fastpysgi.py
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastpysgi==0.6
cat > app.py <<'PYTHON'
import sys
import time

import fastpysgi

LONG = bytes(50_000_000)


def app(environ, start_response):
    body = LONG
    if environ["PATH_INFO"] == "/slow":
        time.sleep(2)
        body = b"done"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


fastpysgi.run(app, host="127.0.0.1", port=int(sys.argv[1]))
PYTHON
cat > ask.py <<'PYTHON'
import http.client
import signal
import socket
import subprocess
import sys
import time

name, path = sys.argv[1:]
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
server = subprocess.Popen(["venv/bin/python", "app.py", str(port)], stderr=subprocess.STDOUT, stdout=open("log", "w"))
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.1)
client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
client.request("GET", path)
time.sleep(1)
server.send_signal(signal.Signals[name])
time.sleep(2)
try:
    client.getresponse().read()
    print(name, path, "whole")
except http.client.IncompleteRead:
    print(name, path, "cut off")
except (OSError, http.client.HTTPException):
    print(name, path, "none")
server.wait(20)
PYTHON

for name in SIGTERM SIGINT; do
    for path in /slow /long; do
        python3 ask.py "$name" "$path"
    done
done | tee said
test "$(cat said)" = "SIGTERM /slow none
SIGTERM /long cut off
SIGINT /slow whole
SIGINT /long cut off"
