#!/bin/sh
# How much of Ansible goes to a host with a module that uses one collector of facts.
#
# Expected: a module that imports the collector of the package manager (63 lines) takes this collector along.
# What happens: the package ansible.module_utils.facts imports every collector in its __init__, for a function that
#   was kept for old modules. So the archive of the module has about a hundred files more, which the controller parses
#   for each run, and Python loads on the host.
# Versions: ansible-core 2.18.6 and 2.19.4; needs Python 3.11 or 3.12.
# Date: 2026-11-29.
# Source: none found.
set -eu

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
mkdir library
cat > library/plain.py <<'PYTHON'
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

AnsibleModule(argument_spec={}).exit_json()
PYTHON
cat > library/collector.py <<'PYTHON'
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts.system.pkg_mgr import PkgMgrFactCollector

AnsibleModule(argument_spec={}).exit_json(name=PkgMgrFactCollector.name)
PYTHON
# Ansible keeps what it sends, and unpacks it when it is told to.
cat > count.py <<'PYTHON'
import base64, glob, io, re, sys, zipfile
[sent] = glob.glob(f"kept/ansible-tmp-*/AnsiballZ_{sys.argv[1]}.py")
packed = max(re.findall(r"[A-Za-z0-9+/=]{1000,}", open(sent).read()), key=len)
print(len(zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))).namelist()))
PYTHON

for version in 2.18.6 2.19.4; do
    python3 -m venv "core-$version"
    "core-$version/bin/pip" install --quiet --disable-pip-version-check "ansible-core==$version"
    for module in plain collector; do
        rm -rf kept
        ANSIBLE_KEEP_REMOTE_FILES=1 ANSIBLE_REMOTE_TMP="$place/kept" ANSIBLE_LIBRARY="$place/library" \
            "core-$version/bin/ansible" localhost -m "$module" > /dev/null 2>&1
        "core-$version/bin/python" count.py "$module" > "files-$module-$version"
    done
    echo "ansible-core $version: $(cat "files-plain-$version") files with a module that does nothing," \
        "$(cat "files-collector-$version") with one collector"
done

for version in 2.18.6 2.19.4; do
    test "$(cat "files-collector-$version")" -gt "$(($(cat "files-plain-$version") + 60))"
done
