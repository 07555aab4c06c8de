"""Build the collection's artifact into ``build/``. ``python -m tools.artifact [ADDRESS]``.

The address is that of the repository that publishes it, such as https://github.com/OWNER/NAME. Its pages become the
metadata that a registry shows; ``galaxy.yml`` names none, because a clone does not know where it is published.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
GALAXY = "ansible-galaxy"


def addresses(address: str) -> str:
    """Return the lines that name the pages of a repository in galaxy.yml."""
    pages = {
        "repository": address,
        "homepage": address,
        "documentation": f"{address}/tree/main/docs",
        "issues": f"{address}/issues",
    }
    return "".join(f"{key}: {page}\n" for key, page in pages.items())


def build(tree: Path, output: Path) -> None:
    """Build the collection that is in a directory."""
    command = [Path(sys.executable).parent / GALAXY, "collection", "build", "--force", "--output-path", output]
    subprocess.run(command, cwd=tree, check=True)


def build_with_address(address: str, output: Path) -> None:
    """Build what is committed, with the addresses in its metadata."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", temporary], input=archive.stdout, check=True)
        with (Path(temporary) / "galaxy.yml").open("a") as galaxy:
            galaxy.write(addresses(address))
        build(Path(temporary), output)


def main(arguments: list[str]) -> int:
    """Build it; return the exit status."""
    output = REPOSITORY / "build"
    if not arguments:
        build(REPOSITORY, output)
    elif len(arguments) == 1 and re.fullmatch(r"https://[^\s/]+/\S*[^\s/]", arguments[0]):
        build_with_address(arguments[0], output)
    else:
        print(f"{' '.join(arguments)} is no https address of a repository.", file=sys.stderr)
        print("Write it as https://github.com/OWNER/NAME.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
