#!/bin/sh
# What the end of a loop tells a callback about the items that failed.
#
# Expected: v2_runner_on_failed gets the results of all items, and those that failed have `failed: true`, as a
#   registered variable has it.
# What happens: up to ansible-core 2.20 they have it. Since 2.21 no item has `failed` or `skipped`; those that failed
#   have an `exception`, whose text says that there is no traceback. A callback that looks for `failed` finds no item,
#   and is left with "One or more items failed". v2_runner_item_on_failed tells each one in all versions.
# Versions: ansible-core 2.18.6, 2.20.0 and 2.21.3; needs Python 3.12 or 3.13.
# Date: 2026-11-29.
# Source: none found.
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
mkdir callback_plugins
cat > callback_plugins/shown.py <<'PYTHON'
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: shown\ntype: stdout\nshort_description: Show what a callback gets\n"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "shown"

    def v2_runner_item_on_failed(self, result):
        print("item that failed:", result._result["msg"])

    def v2_runner_on_failed(self, result, ignore_errors=False):
        for item in result._result["results"]:
            print("result at the end:", ", ".join(sorted({"failed", "skipped", "exception"} & set(item))) or "nothing")
PYTHON
cat > play.yml <<'YAML'
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.fail: {msg: "the {{ item }} is full"}
      loop: [basket, nothing, till]
      when: item != "nothing"
YAML

for version in 2.18.6 2.20.0 2.21.3; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    ANSIBLE_STDOUT_CALLBACK=shown "core-$version/bin/ansible-playbook" play.yml > "shown-$version" 2>/dev/null || true
    echo "ansible-core $version:"
    sed 's/^/  /' "shown-$version"
done

for version in 2.18.6 2.20.0; do
    test "$(grep -c 'result at the end: .*failed' "shown-$version")" = 2
done
test "$(grep -c 'result at the end: exception$' shown-2.21.3)" = 2
for told in shown-*; do
    test "$(grep -c 'item that failed: the .* is full' "$told")" = 2
done
