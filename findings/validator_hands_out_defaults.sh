#!/bin/sh
# A default of an argument spec, after a caller has changed what the validator returned.
#
# Expected: ArgumentSpecValidator returns parameters of the caller's own; its docs say that parameters are copied.
# What happens: the parameters are, the defaults are not. A default that is a list or a dictionary is handed out as the
#   very object in the spec, unless `elements` makes a new list of it. So a change to one validated result changes the
#   default of every later validation.
#   A module runs once and never sees this; a plugin on the controller that validates app after app does.
# Versions: ansible-core 2.18.6 and 2.19.3.
# Date: 2026-11-28.
# Source: none known.
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cat > twice.py <<'PYTHON'
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

validator = ArgumentSpecValidator({"names": {"type": "list", "default": []}, "options": {"type": "dict", "default": {}}})
first = validator.validate({}).validated_parameters
first["names"].append("of the first")
first["options"]["of"] = "the first"
print("the second gets:", validator.validate({}).validated_parameters)
PYTHON
for version in 2.18.6 2.19.3; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    said=$("core-$version/bin/python" twice.py)
    echo "ansible-core $version: $said"
    test "$said" = "the second gets: {'names': ['of the first'], 'options': {'of': 'the first'}}"
done
