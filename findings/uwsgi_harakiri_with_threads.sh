#!/usr/bin/env bash
# A slow request in a uWSGI worker with threads, under harakiri.
#
# Expected: uWSGI ends a worker as soon as one of its requests takes longer than `harakiri` seconds.
# What happens: a worker has one such clock for all its threads, and each request that ends stops it. One quick request
#   beside the slow one is enough: the slow one goes on for as long as it likes.
#   Without such company the worker is ended, and so is all else that its threads do at that moment.
# Versions: uWSGI 2.0.30 (pyuwsgi 2.0.30.post1).
# Date: 2026-11-29.
# Source: none known.
set -euo pipefail

place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "pyuwsgi==2.0.30.post1"
cat > app.py <<'PYTHON'
import time


def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(7)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
PYTHON
timeout 60 tools/bin/uwsgi --master --die-on-term --http-socket "$place/socket" --wsgi-file app.py \
    --processes 1 --threads 4 --harakiri 2 > log 2>&1 &

ask() {
    curl -s -m 15 --unix-socket "$place/socket" "http://localhost$1" || echo "no answer"
}

ready() {
    for _ in $(seq 50); do
        test "$(ask /)" != hello || return 0
        sleep 0.2
    done
    return 1
}

ready
alone=$(ask /slow)
ready
ask /slow > slow &
sleep 0.5
quick=$(ask /)
wait $!
echo "uWSGI 2.0.30, harakiri 2 s, a request of 7 s alone: $alone"
echo "uWSGI 2.0.30, harakiri 2 s, a request of 7 s beside a quick one ($quick): $(cat slow)"
echo "uWSGI 2.0.30 ended a worker so many times: $(grep -c "HARAKIRI ON WORKER" log)"
test "$alone, $quick, $(cat slow), $(grep -c "HARAKIRI ON WORKER" log)" = "no answer, hello, hello, 1"
