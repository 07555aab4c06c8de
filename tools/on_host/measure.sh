# Put a stand-in for Python to $1. It notes in the directory $2 how long each module took that changed something.
set -eu
install -d -m 1777 "$2"
cat > "$1" <<END
#!/bin/sh
measured=$2
END
cat >> "$1" <<'END'
# Ansible hands a module over on the standard input; anything else is no module.
[ $# = 0 ] || exec /usr/bin/python3 "$@"
said=$(mktemp "$measured/said.XXXXXX")
began=$(date +%s%N)
/usr/bin/python3 > "$said"
status=$?
ended=$(date +%s%N)
cat "$said"
! grep -q '"changed": true' "$said" || echo $((ended - began)) > "$measured/$$.took"
rm "$said"
exit $status
END
chmod 755 "$1"
