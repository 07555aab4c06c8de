#!/bin/sh
# Make the locked virtual environment in $1 with $PYTHON, or with the newest Python of at least 3.11 that is found.
set -eu
venv=$1
least='import sys; sys.exit(sys.version_info < (3, 11))'

python=
for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
  if "$candidate" -c "$least" >/dev/null 2>&1; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "No Python 3.11 or newer was found (looked for ${PYTHON:-python3.14 … python3.11, python3})." >&2
  echo "Install one (apt-get install python3), or name it: make PYTHON=/path/to/python3 …" >&2
  exit 2
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "$python cannot make virtual environments. Install the package $package, then run this again." >&2
    exit 2
  fi
  echo "Installing $package with apt-get: $python cannot make virtual environments without it."
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"; } >/dev/null
fi

echo "Making $venv with $("$python" --version) and the locked packages of requirements-dev.txt (once, about half a minute)"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.txt
touch "$venv/installed"
