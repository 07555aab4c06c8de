#!/usr/bin/env bash
# A WSGI application on Twisted's web server, behind a unix socket.
#
# Expected: `twist web --wsgi` answers on each endpoint that --listen takes, a unix socket among them.
# What happens: it listens on both, and answers on the port. On the unix socket each request ends with 500 before the
#   application is asked: WSGIResource wants the host of the peer, and the peer of a unix socket has none.
# Versions: Twisted 26.10.0.
# Date: 2026-11-29.
# Source: https://github.com/twisted/twisted/issues/5406, open.
set -euo pipefail

place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "twisted==26.10.0"
cat > app.py <<'PYTHON'
def application(environ, start_response):
    print("asked", file=environ["wsgi.errors"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
PYTHON
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
timeout 30 tools/bin/python -m twisted --log-format text web --wsgi app.application \
    --listen "tcp:$port:interface=127.0.0.1" --listen "unix:$place/socket" > log 2>&1 &

on_port=
for _ in $(seq 50); do
    on_port=$(curl -s -m 2 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/") && break
    sleep 0.2
done
on_socket=$(curl -s -m 2 -o /dev/null -w '%{http_code}' --unix-socket "$place/socket" http://localhost/)
asked=$(grep -c "asked" log)
echo "Twisted 26.10.0: on the port $on_port, on the unix socket $on_socket; the application was asked $asked time(s)"
grep "AttributeError" log
test "$on_port $on_socket $asked" = "200 500 1"
