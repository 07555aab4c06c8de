#!/bin/sh
# Make every lock file anew: one for each .in file, valid on all supported Pythons, with hashes, naming no index.
set -eu
lock() {
  .venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-emit-index-url \
    --no-emit-find-links --custom-compile-command "make lock" --python-version "$1" "$2" --output-file "$3"
  echo "$3"
}
lock 3.11 requirements-dev.in requirements-dev.txt
for file in tests/ansible-core/*.in; do
  case $file in
    *2.1[0-9].in) lock 3.11 "$file" "${file%.in}.txt" ;;
    *) lock 3.12 "$file" "${file%.in}.txt" ;;
  esac
done
for file in molecule/third_party/inventory/apps/*/*.in; do
  lock 3.11 "$file" "${file%.in}.txt"
done
for file in roles/*/files/*.in roles/*/files/*/*.in files/hello_flask/requirements.in molecule/redis/jobs/requirements.in; do
  lock 3.10 "$file" "${file%.in}.txt"
done
