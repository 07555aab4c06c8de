#!/usr/bin/env bash
# ArgumentSpecValidator in a filter plugin, which gets a dictionary of dictionaries from a playbook.
#
# Expected: a validator copies its parameters, which costs as much as a copy of such a dictionary costs.
# What happens: since ansible-core 2.19 a filter gets a lazy container. A copy of one copies the templating engine as
#   well, with all variables of the play in it, and once for each dictionary and list inside. So the time is containers
#   times variables: five small dictionaries take hundreds of times as long, and other variables of the play count, too.
#   ansible-core 2.18 hands out a plain dictionary.
# Versions: ansible-core 2.18.19 and 2.19.14.
# Date: 2026-11-29.
# Source: none known.
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
mkdir filter_plugins
cat > filter_plugins/costs.py <<'PYTHON'
import time

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator


def seconds(value):
    start = time.process_time()
    ArgumentSpecValidator({"app": {"type": "dict"}}).validate({"app": value})
    return time.process_time() - start


def cost(value):
    """Return how many times as long the value takes as the same in plain dictionaries."""
    plain = {str(key): {str(name): int(number) for name, number in inner.items()} for key, inner in value.items()}
    return f"{type(value).__name__} {max(1, round(seconds(value) / max(seconds(plain) for _ in range(3))))}"


class FilterModule:
    def filters(self):
        return {"cost": cost}
PYTHON
cat > plays.py <<'PYTHON'
import json

app = {f"part{number}": {"number": number} for number in range(5)}
for name, others in (("few", 0), ("many", 1000)):
    variables = {"app": app, "others": {f"name{number}": "text" for number in range(others)}}
    tasks = [{"ansible.builtin.debug": {"msg": "{{ app | cost }}"}}]
    with open(f"{name}.json", "w") as play:
        json.dump([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}], play)
PYTHON
python3 plays.py

for version in 2.18.19 2.19.14; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    for play in few many; do
        read -r kind times < <(timeout 60 "core-$version/bin/ansible-playbook" "$play.json" 2> /dev/null |
            sed -n 's/.*"msg": "\(.*\)"$/\1/p')
        echo "ansible-core $version, $play other variables: a $kind takes $times times as long as plain dictionaries"
        case $version-$play in
            2.18*) test "$kind" = dict && test "$times" -lt 20 ;;
            2.19*-few) test "$kind" != dict && test "$times" -gt 20 && few=$times ;;
            2.19*-many) test "$times" -gt $((2 * few)) ;;
        esac
    done
done
