#!/bin/sh
# Runs inside a host that has started: lets the fleet's public key ($1) in, waits for systemd,
# prints systemd's state and then the host's ssh keys.
set -eu

for user in root ops; do
    ssh_dir=$(getent passwd "$user" | cut -d: -f6)/.ssh
    grep -qxF -- "$1" "$ssh_dir/authorized_keys" 2>/dev/null && continue
    install -d -m 0700 -o "$user" -g "$user" "$ssh_dir"
    printf '%s\n' "$1" >>"$ssh_dir/authorized_keys"
    chown "$user:$user" "$ssh_dir/authorized_keys"
    chmod 0600 "$ssh_dir/authorized_keys"
done

tries=900
until state=$(systemctl is-system-running 2>/dev/null) || [ "$state" = degraded ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "systemd is still '$state' after 90 s" >&2; exit 1; }
    sleep 0.1
done

echo "$state"
cat /etc/ssh/ssh_host_*_key.pub
