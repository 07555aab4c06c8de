#!/usr/bin/env bash
# Connections that wait for a gunicorn worker with gevent, when the worker is ready.
#
# Expected: a worker accepts what waits, up to worker_connections, and then serves all of it side by side.
# What happens: so it does with one worker. With two or more, each worker accepts a single connection, and the next one
#   after a turn of all greenlets that can go on. Under load a turn is long, and the last of many new connections waits
#   for as many turns as there are connections before it.
# Versions: gunicorn 27.0.1, gevent 26.9.0.
# Date: 2026-11-29.
# Source: none known; the docs of worker_connections and of the worker class do not say it.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "gunicorn==27.0.1" "gevent==26.9.0" "packaging==26.3"
cat > app.py <<'PYTHON'
import os

accepted = []


def connections(port):
    """Return how many connections to the port this process has."""
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{int(port):04X}") and row[3] == "01"}
    held = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            held.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            pass
    return len(inodes & held)


def application(environ, start_response):
    """Answer with how many connections this worker had when it was asked first."""
    if not accepted:
        accepted.append(connections(environ["SERVER_PORT"]))
    body = str(accepted[0]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
PYTHON
cat > ask.py <<'PYTHON'
import socket
import subprocess
import sys

workers = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
port = listener.getsockname()[1]
clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(30)]
for client in clients:
    client.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
options = ["--worker-class", "gevent", "--workers", workers, "--graceful-timeout", "1"]
options += ["--no-control-socket", "--bind", f"fd://{listener.fileno()}"]
with open("log", "w") as log:
    gunicorn = subprocess.Popen(["tools/bin/gunicorn", *options, "app"], pass_fds=[listener.fileno()], stderr=log)
try:
    bodies = []
    for client in clients:
        with client, client.makefile("rb") as answer:
            bodies.append(answer.read().partition(b"\r\n\r\n")[2].decode())
finally:
    gunicorn.terminate()
    gunicorn.wait(15)
print(*sorted(set(bodies)))
PYTHON
for workers in 1 2; do
    first=$(timeout 40 python3 ask.py "$workers" || cat log)
    echo "gunicorn 27.0.1, $workers worker(s), 30 connections wait; a worker has at its first request: $first"
    case $workers in
        1) test "$first" = 30 ;;
        2) test "$first" = 1 ;;
    esac
done
