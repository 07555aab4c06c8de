"""Write a stand-in for a conda installer: ``python3 conda_stand_in.py FILE [NAME]``.

No real installer can be had where the tests run. This one takes the same options (-b, -u, -p PREFIX) and lays down a
small ``conda``. Its environments are real Pythons: copies of those that the host has in /usr, with their libraries.
"""

import base64
import sys
from pathlib import Path

CONDA = r"""#!/bin/bash
# A stand-in for conda: it knows --version, and create with --prefix PATH and python=VERSION.
set -eu
[ "$1" != --version ] || { echo "conda @NAME@"; exit; }
[ "$1" = create ] || { echo "conda: error: argument COMMAND: invalid choice: '$1'" >&2; exit 2; }
echo "$@" >> "$(dirname "$(dirname "$0")")/asked"
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) path=$2; shift ;;
    python=*) version=${1#python=} ;;
    esac
    shift
done
if [ ! -x "/usr/bin/python$version" ]; then
    echo "PackagesNotFoundError: The following packages are not available from current channels:" >&2
    printf '%s\n' "" "  - python=$version" "" "Current channels:" "" "  - https://conda.anaconda.org/conda-forge" "" \
        "To search for alternate channels that may provide the conda package you're" "looking for, navigate to" "" \
        "    https://anaconda.org" "" "and use the search bar at the top of the page." >&2
    exit 1
fi
mkdir -p "$path/bin" "$path/lib" "$path/conda-meta"
cp "/usr/bin/python$version" "$path/bin/"
ln -s "python$version" "$path/bin/python"
cp -r "/usr/lib/python$version" "$path/lib/"
"""

INSTALLER = r"""#!/bin/bash
# A stand-in for a conda installer.
set -eu
update=
while getopts bup: option; do
    case $option in
    u) update=1 ;;
    p) prefix=$OPTARG ;;
    *) ;;
    esac
done
if [ -e "$prefix" ] && [ -z "$update" ]; then
    echo "ERROR: File or directory already exists: '$prefix'" >&2
    exit 1
fi
mkdir -p "$prefix/bin" "$prefix/envs"
base64 -d > "$prefix/bin/conda" <<'END'
@CONDA@
END
chmod 755 "$prefix/bin/conda"
"""


def installer(name: str) -> str:
    """Return the text of an installer."""
    conda = base64.encodebytes(CONDA.replace("@NAME@", name).encode()).decode().strip()
    return INSTALLER.replace("@CONDA@", conda)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(installer(*(sys.argv[2:] or ["24.1.0"])))
