#!/bin/sh
# Which variables a lookup sees in a copy of a Templar that has variables of its own.
#
# Expected: Templar.copy_with_new_env(available_variables=…) gives an engine of its own, so that a lookup in one of its
#   templates sees the variables of the copy, as the template does.
# What happens: up to ansible-core 2.18 the function `lookup` of the copy is that of the first Templar that made a
#   template. The template sees the copy's variables, and the lookup those of the other one. Since 2.19 both see the
#   copy's.
# Versions: ansible-core 2.17.14, 2.18.6 and 2.20.0; needs Python 3.12.
# Date: 2026-11-29.
# Source: none found.
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cat > shown.py <<'PYTHON'
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template as trusted
except ImportError:
    def trusted(text):
        return text

init_plugin_loader()
template = trusted("{{ place }} {{ lookup('ansible.builtin.vars', 'place') }}")
first = Templar(loader=DataLoader(), variables={"place": "first"})
first.template(template)
copy = first.copy_with_new_env(available_variables={"place": "copy"})
print(copy.template(template))
PYTHON

for version in 2.17.14 2.18.6 2.20.0; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    "core-$version/bin/python" shown.py > "shown-$version" 2>/dev/null
    echo "ansible-core $version: a template and its lookup see: $(cat "shown-$version")"
done

test "$(cat shown-2.17.14)" = "copy first"
test "$(cat shown-2.18.6)" = "copy first"
test "$(cat shown-2.20.0)" = "copy copy"
