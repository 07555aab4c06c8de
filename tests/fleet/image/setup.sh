#!/bin/sh
# Runs once inside a new image: makes a fleet host of it. Arguments: packages still to be installed, if any.
set -eu

if [ $# -gt 0 ]; then
    if command -v dnf >/dev/null; then
        dnf --assumeyes --setopt=install_weak_deps=False install "$@"
        dnf clean all
    else
        rm -f /usr/sbin/policy-rc.d # base images forbid services to start
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
    fi
fi

if command -v update-ca-trust >/dev/null; then
    mkdir -p /usr/local/share/ca-certificates
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp -t /etc/pki/ca-trust/source/anchors {} +
    update-ca-trust
    systemctl enable sshd.service
else
    update-ca-certificates
fi
id ops >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password '*' ops
chmod 0440 /etc/sudoers.d/ops
systemctl enable ssh-hostkeys.service boot-id.service

# each host makes its own
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id
rm -f -- "$0"
