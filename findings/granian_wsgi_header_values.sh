#!/usr/bin/env bash
# The value of a request's header that is not ASCII, as granian hands it to a WSGI application.
#
# Expected: PEP 3333 wants each byte of the value as the character of that number (latin-1), as other servers do it.
#   An ASGI application on granian gets the bytes.
# What happens: a WSGI application on granian gets an empty value, as if the client had sent the header without one.
#   The log says nothing.
# Versions: granian 2.8.7 and 2.8.9.
# Date: 2026-11-29.
# Source: https://github.com/emmett-framework/granian/issues/335, which the maintainer closed as not to be changed.
set -euo pipefail

place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cd "$place"
cat > wsgi.py <<'PYTHON'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ascii(environ.get("HTTP_X_NAME")).encode()]
PYTHON
cat > asgi.py <<'PYTHON'
async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": ascii(dict(scope["headers"])[b"x-name"]).encode()})
PYTHON

for version in 2.8.7 2.8.9; do
    python3 -m venv "granian-$version"
    "granian-$version/bin/pip" install --quiet --disable-pip-version-check "granian==$version"
    for interface in wsgi asgi; do
        timeout 30 "granian-$version/bin/granian" --interface "$interface" --uds "$place/$interface" \
            "$interface:application" > "log-$interface" 2>&1 &
        said=
        for name in Andre $'Andr\xc3\xa9'; do
            for _ in $(seq 50); do
                told=$(curl -s -m 2 --unix-socket "$place/$interface" -H "X-Name: $name" http://localhost/) && break
                sleep 0.2
            done
            said="$said $told"
        done
        kill $!
        wait $! || true
        echo "granian $version, $interface:$said"
        case $interface in
            wsgi) test "$said" = " 'Andre' ''" ;;
            asgi) test "$said" = " b'Andre' b'Andr\\xc3\\xa9'" ;;
        esac
    done
done
