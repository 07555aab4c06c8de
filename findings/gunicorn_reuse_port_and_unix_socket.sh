#!/usr/bin/env bash
# gunicorn with reuse_port, on a port and on a unix socket.
#
# Expected: reuse_port lets each worker listen on the port by itself; it has no meaning for the unix socket, which
#   works as before.
# What happens: on a kernel that allows SO_REUSEPORT for internet sockets only, the workers cannot open the unix socket.
#   They end with status 1, and gunicorn starts others for ever. It says "Listening at:" and stays, but nothing answers,
#   on the port neither. A supervisor that watches the process sees it run.
# Versions: gunicorn 27.0.1, Linux 6.18.
# Date: 2026-11-29.
# Source: https://github.com/benoitc/gunicorn/pull/3346. Older kernels allow the option; this script ends with 2 there.
set -euo pipefail

place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "gunicorn==27.0.1"

python3 - <<'PYTHON' || exit 2
import errno
import socket

try:
    socket.socket(socket.AF_UNIX).setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
except OSError as error:
    print("This kernel refuses SO_REUSEPORT for a unix socket:", errno.errorcode[error.errno])
else:
    raise SystemExit("This kernel allows SO_REUSEPORT for a unix socket: nothing to see here.")
PYTHON

cat > app.py <<'PYTHON'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
PYTHON
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

# Ask both for at most 8 s; say what came.
ask() {
    local told
    for _ in $(seq 16); do
        told="port: $(curl -s -m 1 "http://127.0.0.1:$port/" || true)"
        told="$told; socket: $(curl -s -m 1 --unix-socket "$place/socket" http://localhost/ || true)"
        test "$told" != "port: hello; socket: hello" || break
        sleep 0.5
    done
    echo "$told"
}

for option in "" --reuse-port; do
    timeout 30 tools/bin/gunicorn $option --workers 2 --bind "127.0.0.1:$port" --bind "unix:$place/socket" \
        --graceful-timeout 1 --no-control-socket app > log 2>&1 &
    said=$(ask)
    running=no
    ! kill -0 $! || running=yes
    kill $!
    wait $! || true
    echo "gunicorn 27.0.1 ${option:-without the option}: running: $running; $said"
    if test -z "$option"; then
        test "$said" = "port: hello; socket: hello"
    else
        grep -m 1 "not supported" log
        grep -m 1 "exited with code 1" log
        test "$running; $said" = "yes; port: ; socket: "
    fi
done
