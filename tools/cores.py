"""Run the resolver's unit tests with other versions of ansible-core. ``python -m tools.cores [VERSION…]``.

Without a version: with the oldest and the newest that the Pythons of this machine can run.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS = REPOSITORY / "tests" / "ansible-core"
CACHE = REPOSITORY / ".cache" / "cores"
# Every supported version, with the first and the last Python 3 of its controller.
CORES = {"2.17": (10, 12), "2.18": (11, 13), "2.19": (11, 13), "2.20": (12, 14), "2.21": (12, 14)}
# The oldest Python of the controller that this collection supports.
LEAST_PYTHON = 11
TESTS = [f"tests/unit/test_{name}.py" for name in ("apps", "refusals", "survey", "tables", "wrapped_values")]


def _candidates(minor: int) -> Iterator[str]:
    """Return where a Python may be; a shim of pyenv does not run one that is not chosen there."""
    yield shutil.which(f"python3.{minor}") or ""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob(f"versions/3.{minor}.*/bin/python3.{minor}")))


def pythons() -> dict[int, str]:
    """Return the Pythons of this machine that run, by their minor version."""
    found = {sys.version_info.minor: sys.executable}
    for minor in range(LEAST_PYTHON, max(last for _first, last in CORES.values()) + 1):
        for candidate in _candidates(minor):
            command = [candidate, "-c", "import sys; print(sys.executable)"]
            if minor not in found and candidate:
                done = subprocess.run(command, check=False, capture_output=True, text=True)
                if done.returncode == 0:
                    found[minor] = done.stdout.strip()
    return found


def runnable(found: dict[int, str]) -> dict[str, int]:
    """Return the versions that these Pythons can run, each with the newest Python for it."""
    able = {core: [minor for minor in found if first <= minor <= last] for core, (first, last) in CORES.items()}
    return {core: max(minors) for core, minors in able.items() if minors}


def environment(core: str, python: str, minor: int) -> Path:
    """Make the locked environment of a version, once; return its directory."""
    lock = LOCKS / f"{core}.txt"
    place, digest = CACHE / f"{core}-python3.{minor}", hashlib.sha256(lock.read_bytes()).hexdigest()
    made = place / "made"
    if not made.exists() or made.read_text() != digest:
        shutil.rmtree(place, ignore_errors=True)
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "venv", "--quiet", "--no-python-downloads", "--python", python, place], check=True)
        pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--quiet", "--quiet"]
        locked = ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "--requirement", lock]
        subprocess.run([*pip, *locked], check=True)
        made.write_text(digest)
    return place


def main(wanted: list[str]) -> int:
    """Run the tests with these versions, or the oldest and the newest; return the exit status."""
    found = pythons()
    able = runnable(found)
    if unable := [core for core in wanted if core not in able]:
        has = ", ".join(f"3.{minor}" for minor in sorted(found))
        print(f"cores: no Python here runs ansible-core {', '.join(unable)}; there are {has}", file=sys.stderr)
        return 2
    chosen = wanted or list(dict.fromkeys((min(able, key=_order), max(able, key=_order))))
    if left := [core for core in CORES if core not in able]:
        print(f"cores: no Python here runs ansible-core {', '.join(left)}; CI runs every version", flush=True)
    status = 0
    for core in chosen:
        place = environment(core, found[able[core]], able[core])
        print(f"cores: ansible-core {core}, Python 3.{able[core]}", flush=True)
        tests = [place / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        path = f"{place / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        status |= subprocess.run(tests, cwd=REPOSITORY, env={**os.environ, "PATH": path}, check=False).returncode
    return status


def _order(core: str) -> list[int]:
    return [int(part) for part in core.split(".")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
