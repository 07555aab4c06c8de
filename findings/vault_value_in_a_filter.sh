#!/bin/sh
# An inline !vault value, as a filter plugin gets it.
#
# Expected: a filter gets an inline !vault value as text, as `{{ value }}` in a template shows it.
# What happens: a filter that is given the dictionary around it gets an object that is no str up to ansible-core 2.18,
#   so isinstance(value, str) refuses it, while ArgumentSpecValidator's type str takes it. Since ansible-core 2.19 the
#   same playbook hands out a str. A collection that supports both has to unwrap values itself.
# Versions: ansible-core 2.18.6 and 2.19.3, Python 3.11 to 3.13.
# Date: 2026-11-28.
# Source: the porting guide of ansible-core 2.19 speaks of data tagging in general, not of this.
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
mkdir filter_plugins
cat > filter_plugins/kinds.py <<'PYTHON'
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator


def kind(value):
    result = ArgumentSpecValidator({"secret": {"type": "str"}}).validate({"secret": value["secret"]})
    return f"is str: {isinstance(value['secret'], str)}; the validator says: {result.error_messages or 'fine'}"


class FilterModule:
    def filters(self):
        return {"kind": kind}
PYTHON
echo "correct horse" > password

for version in 2.18.6 2.19.3; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    PATH="$place/core-$version/bin:$PATH"
    {
        printf -- '- hosts: localhost\n  gather_facts: false\n  vars:\n    app:\n'
        printf '      %s\n' "$(ansible-vault encrypt_string --vault-password-file password --name secret hunter2 2>/dev/null |
            sed '2,$s/^ */        /')"
        printf '  tasks:\n    - ansible.builtin.debug:\n        msg: "{{ app | kind }}"\n'
    } > play.yml
    ansible-playbook --vault-password-file password play.yml 2>/dev/null | sed -n 's/.*"msg": "\(.*\)"$/\1/p' > "said-$version" || true
    echo "ansible-core $version: $(cat "said-$version")"
done

grep -q 'is str: False; the validator says: fine' said-2.18.6
grep -q 'is str: True; the validator says: fine' said-2.19.3
