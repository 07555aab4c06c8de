#!/usr/bin/env bash
# A client that closes its connection to gunicorn after the answer, by HTTP and by the uwsgi protocol.
#
# Expected: a closed connection is no error with either protocol; gunicorn says nothing of it.
# What happens: with the uwsgi protocol gunicorn keeps the connection, takes its end for a broken request, and logs an
#   error with a traceback each time. A proxy that closes after each answer causes one error for each request.
#   The answers are right. Workers that keep no connections (sync) log nothing.
# Versions: gunicorn 27.0.1, worker class gthread.
# Date: 2026-11-29.
# Source: https://github.com/benoitc/gunicorn/issues/3553, open.
set -euo pipefail

place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "gunicorn==27.0.1"
cat > app.py <<'PYTHON'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
PYTHON
cat > ask.py <<'PYTHON'
import socket
import sys
import time

VARIABLES = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost"}


def request(protocol):
    if protocol == "http":
        return b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    words = (word.encode() for pair in VARIABLES.items() for word in pair)
    block = b"".join(len(word).to_bytes(2, "little") + word for word in words)
    return b"\0" + len(block).to_bytes(2, "little") + b"\0" + block


def connect():
    for _ in range(100):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect("socket")
        except OSError:
            time.sleep(0.1)
        else:
            connection.settimeout(10)
            return connection
    raise SystemExit("nothing listens")


answered = 0
for _ in range(5):
    with connect() as connection:
        connection.sendall(request(sys.argv[1]))
        answer = b""
        while not answer.endswith(b"hello"):
            answer += connection.recv(1000) or sys.exit("closed too early")
        answered += answer.startswith(b"HTTP/1.1 200 ")
print(answered)
PYTHON
for protocol in http uwsgi; do
    rm -f socket
    timeout 30 tools/bin/gunicorn --worker-class gthread --protocol "$protocol" --bind "unix:$place/socket" \
        --no-control-socket app > "log-$protocol" 2>&1 &
    answered=$(timeout 20 python3 ask.py "$protocol")
    sleep 1
    kill $!
    wait $! || true
    errors=$(grep -c "\[ERROR\]" "log-$protocol" || true)
    echo "gunicorn 27.0.1, $protocol: $answered right answers, errors in the log: $errors"
    case $protocol in
        http) test "$answered $errors" = "5 0" ;;
        uwsgi) test "$answered $errors" = "5 5" ;;
    esac
done
grep -m 1 "gunicorn.uwsgi.errors" log-uwsgi
