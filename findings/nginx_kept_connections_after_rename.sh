#!/usr/bin/env bash
# nginx before a unix socket whose path is given to another server by a rename.
#
# Expected: once another socket has the path, nginx sends requests to it, as each new client of the path does.
# What happens: nginx goes on with the connections that it keeps (`keepalive` of the upstream), and those lead to the
#   former server for as long as they are used. A reload closes them.
# Versions: nginx 1.22.1 of Debian 12; the script takes the nginx of the host and says its version.
# Date: 2026-11-29.
# Source: none known.
set -euo pipefail

command -v nginx > /dev/null || PATH=$PATH:/usr/sbin
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT
cd "$place"
cat > server.py <<'PYTHON'
import http.server
import socketserver
import sys

path, name = sys.argv[1], sys.argv[2].encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(name)))
        self.end_headers()
        self.wfile.write(name)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


Server(path, Handler).serve_forever()
PYTHON
cat > nginx.conf <<CONF
daemon off;
user $(id -un) $(id -gn);
pid $place/pid;
error_log $place/log;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path $place/t1;
    proxy_temp_path $place/t2;
    fastcgi_temp_path $place/t3;
    uwsgi_temp_path $place/t4;
    scgi_temp_path $place/t5;
    upstream app {
        server unix:$place/app;
        keepalive 4;
    }
    server {
        listen unix:$place/front;
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
CONF
timeout 60 python3 server.py app former &
timeout 60 python3 server.py other next &
timeout 60 nginx -p "$place" -e log -c "$place/nginx.conf" &

# Ask until an answer comes, for at most 10 s.
ask() {
    for _ in $(seq 50); do
        curl -sf -m 2 --unix-socket "$1" http://localhost/ && return 0
        sleep 0.2
    done
    return 1
}

first=$(ask other; ask app; ask front)
mv other app
direct=$(ask app)
kept=$(for _ in 1 2 3 4 5; do ask front; echo; done | sort | uniq -c | xargs)
nginx -p "$place" -e log -c "$place/nginx.conf" -s reload
reloaded=
for _ in $(seq 50); do
    reloaded=$(ask front)
    test "$reloaded" != next || break
    sleep 0.2
done
echo "$(nginx -v 2>&1); before: $first; a client of the path: $direct; nginx: $kept; after a reload: $reloaded"
test "$first; $direct; $kept; $reloaded" = "nextformerformer; next; 5 former; next"
