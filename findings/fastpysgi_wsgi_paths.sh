#!/bin/sh
# The path that FastPySGI hands a WSGI application.
#
# Expected: PATH_INFO has the bytes of the decoded path as latin-1 characters, as PEP 3333 says. Frameworks decode it
#   from there, so that a Flask app gets /%E8%8B%B9 as /苹.
# What happens: PATH_INFO has the characters that the bytes mean in UTF-8. With a character above U+00FF, Flask (by
#   Werkzeug) cannot encode it as latin-1, so the answer is 500. Below that, the app gets U+FFFD in the place of "é".
#   The environment has no undecoded path from which a middleware could mend it.
# Versions: fastpysgi 0.6, Flask 3.1.2, Werkzeug 3.1.3; as a comparison waitress 3.0.2.
# Date: 2026-11-29.
# Source: none found for FastPySGI; https://peps.python.org/pep-3333/#unicode-issues
set -eu

place=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server"; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastpysgi==0.6 flask==3.1.2 werkzeug==3.1.3 waitress==3.0.2
cat > app.py <<'PYTHON'
import sys

from flask import Flask

app = Flask(__name__)


@app.get("/<path:path>")
def show(path):
    return ascii(path)


def fastpysgi(port):
    import fastpysgi

    fastpysgi.run(app, host="127.0.0.1", port=port)


def waitress(port):
    import waitress

    waitress.serve(app, host="127.0.0.1", port=port)


globals()[sys.argv[1]](int(sys.argv[2]))
PYTHON

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
for name in waitress fastpysgi; do
    venv/bin/python app.py "$name" "$port" > "$name.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        curl --silent --output answer "http://127.0.0.1:$port/" && break
        sleep 0.2
    done
    for path in plain %C3%A9 %E8%8B%B9; do
        status=$(curl --silent --output answer --write-out '%{http_code}' "http://127.0.0.1:$port/$path")
        echo "$name: /$path: $status $(test "$status" = 500 || cat answer)"
    done > "$name.said"
    cat "$name.said"
    { kill "$server" && wait "$server"; } 2>/dev/null || true
    server=
    port=$((port + 1))
done

test "$(cat waitress.said)" = "waitress: /plain: 200 'plain'
waitress: /%C3%A9: 200 '\\xe9'
waitress: /%E8%8B%B9: 200 '\\u82f9'"
test "$(cat fastpysgi.said)" = "fastpysgi: /plain: 200 'plain'
fastpysgi: /%C3%A9: 200 '\\ufffd'
fastpysgi: /%E8%8B%B9: 500 "
