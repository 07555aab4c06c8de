#!/bin/sh
# The exit status of a program that ended too quickly, asked of supervisord by XML-RPC.
#
# Expected: getProcessInfo tells the status in `exitstatus`, which its docs call the exit status of the process.
# What happens: it is 0 for a program that ends within startsecs, whatever its status was; only the text
#   "Exited too quickly" in `spawnerr` says that something is wrong. The status stands in supervisord's log alone.
#   A program that ends later has its status there.
# Versions: supervisor 4.3.0.
# Date: 2026-11-29.
# Source: none known.
set -eu

place=$(mktemp -d)
trap 'test ! -s "$place/pid" || kill "$(cat "$place/pid")"; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install --quiet --disable-pip-version-check "supervisor==4.3.0" "setuptools<81"
cat > supervisord.conf <<CONF
[supervisord]
nodaemon = false
logfile = $place/log
pidfile = $place/pid
childlogdir = $place
[unix_http_server]
file = $place/socket
[supervisorctl]
serverurl = unix://$place/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:quick]
command = sh -c "exit 3"
startretries = 0
[program:later]
command = sh -c "sleep 2; exit 3"
autorestart = false
CONF
tools/bin/supervisord -c supervisord.conf
sleep 5
cat > ask.py <<'PYTHON'
import sys
import xmlrpc.client

from supervisor.xmlrpc import SupervisorTransport

server = xmlrpc.client.ServerProxy("http://localhost", SupervisorTransport(serverurl=f"unix://{sys.argv[1]}/socket"))
for name in ("quick", "later"):
    process = server.supervisor.getProcessInfo(name)
    print(name, process["statename"], process["exitstatus"])
PYTHON
said=$(tools/bin/python ask.py "$place")
echo "supervisor 4.3.0: $said"
grep "exited: quick" log
test "$said" = "quick FATAL 0
later EXITED 3"
grep -q "exited: quick (exit status 3" log
