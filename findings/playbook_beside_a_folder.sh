#!/bin/sh
# A playbook of a collection, beside a folder of the same name.
#
# Expected: `ansible-playbook example.shop.open` runs playbooks/open.yml, whatever else stands in playbooks/.
# What happens: with a folder playbooks/open/ beside it, Ansible takes the folder for the playbook, and stops because
#   it cannot read a folder as a file. By its path the same playbook runs.
# Versions: ansible-core 2.18.6 and 2.21.3; needs Python 3.12 or 3.13.
# Date: 2026-11-29.
# Source: none found.
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
collection=ansible_collections/example/shop
mkdir -p "$collection/playbooks" "$collection/meta"
echo "requires_ansible: '>=2.17'" > "$collection/meta/runtime.yml"
cat > "$collection/playbooks/open.yml" <<'YAML'
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: the shop is open}
YAML
export ANSIBLE_COLLECTIONS_PATH="$place"

for version in 2.18.6 2.21.3; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    play="core-$version/bin/ansible-playbook"
    "$play" example.shop.open 2>&1 | grep -q 'the shop is open'
    mkdir "$collection/playbooks/open"
    "$play" example.shop.open > said 2>&1 && exit 1
    "$play" "$collection/playbooks/open.yml" 2>&1 | grep -q 'the shop is open'
    rmdir "$collection/playbooks/open"
    echo "ansible-core $version, with the folder:"
    grep -o 'Is a directory' said | head -n 1
    grep -q 'Is a directory' said
done
