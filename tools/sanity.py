"""Run ``ansible-test sanity`` on what the collection ships. ``python -m tools.sanity [OPTION…]``.

It wants the collection at a path of its own, a home to keep its environments in, and its own way to get pip. All that
is provided here, so that nothing but the package index is asked and nothing outside of ``.cache`` stays.
"""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
HOME = REPOSITORY / ".cache" / "sanity"
PROGRAMS = Path(sys.executable).parent
# ansible-test would download a script that brings pip into each of its environments; this one's pip can do that.
GET_PIP = """
import subprocess, sys
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([{python!r}, "-m", "pip", "--python", sys.executable, "install", *wanted]))
"""


def unpack(tree: Path) -> Path:
    """Build the collection and unpack it below the directory, with the settings of its tests."""
    build = [PROGRAMS / "ansible-galaxy", "collection", "build", "--output-path", tree]
    subprocess.run(build, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    collection = tree / "ansible_collections" / "baremetal" / "web"
    collection.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", *tree.glob("*.tar.gz"), "-C", collection], check=True)
    shutil.copytree(REPOSITORY / "tests", collection / "tests", ignore=shutil.ignore_patterns("unit", "fleet", "vm"))
    return collection


def provide_pip() -> None:
    """Put the script that brings pip where ansible-test looks before it downloads one."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    package = importlib.util.find_spec("ansible_test._internal.python_requirements")
    for version in re.findall(r"\bpip='([\d.]+)'", Path(package.origin).read_text()):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP.format(python=sys.executable))


def pip_settings() -> str:
    """Write the settings of pip as a file, for ansible-test hands on no environment variable to it."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    environment = {**os.environ, "PIP_QUIET": "0"}
    lines = subprocess.run(pip, env=environment, check=True, capture_output=True, text=True).stdout
    settings = {}
    for key, value in (line.split("=", 1) for line in lines.splitlines()):
        scope, _, name = key.rpartition(".")
        if scope in ("global", ":env:"):
            settings[name] = ast.literal_eval(value).replace("\n", "\n  ")
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in {**settings, "quiet": "2"}.items())


def link_pythons(directory: Path) -> None:
    """Link every Python from 3.9 on that runs; some found on the path are shims of a version that is not there."""
    for name in (f"python3.{minor}" for minor in range(9, 20)):
        command = [shutil.which(name) or "", "-c", "import sys; print(sys.executable)"]
        # This one's own is found beside ansible-test.
        if command[0] and not (PROGRAMS / name).exists():
            found = subprocess.run(command, check=False, capture_output=True, text=True)
            if found.returncode == 0:
                (directory / name).symlink_to(found.stdout.strip())


def main(options: list[str]) -> int:
    """Run it with the options given; return its exit status."""
    provide_pip()
    settings = HOME / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.touch(mode=0o600)
    with tempfile.TemporaryDirectory() as temporary:
        collection = unpack(Path(temporary))
        (pythons := Path(temporary) / "bin").mkdir()
        link_pythons(pythons)
        path = os.pathsep.join(map(str, (PROGRAMS, pythons, os.defpath)))
        try:
            # It may hold the password of an index: only for as long as it is needed.
            settings.write_text(pip_settings())
            return subprocess.run(
                [PROGRAMS / "ansible-test", "sanity", *options],
                cwd=collection,
                env={**os.environ, "HOME": str(HOME), "PATH": path},
                check=False,
            ).returncode
        finally:
            settings.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
