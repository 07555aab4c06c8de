"""``repository.py PATH``: makes a git repository of the test app with the versions v1 to v9."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "stamped"
WHO = {"GIT_AUTHOR_NAME": "Tester", "GIT_AUTHOR_EMAIL": "tester@example.com", "GIT_CONFIG_GLOBAL": os.devnull}
WHO |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in WHO.items() if "AUTHOR" in name}


def git(*words: str) -> None:
    """Call git in the repository."""
    subprocess.run(["git", *words], cwd=repository, env={**os.environ, **WHO}, check=True)


repository = Path(sys.argv[1])
shutil.copytree(SOURCE, repository, ignore=shutil.ignore_patterns("__pycache__"))
git("init", "--quiet")
for number in range(1, 10):
    (repository / "version.txt").write_text(f"{number}\n")
    git("add", ".")
    git("commit", "--quiet", "--message", f"Version {number}")
    git("tag", f"v{number}")
