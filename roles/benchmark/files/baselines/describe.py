"""Print as JSON the versions of Python and its packages, and what the files beside this one say."""

import importlib.metadata
import json
import platform
import sys
from pathlib import Path

versions = {package.name.lower(): package.version for package in importlib.metadata.distributions()}
files = {name: (Path(__file__).parent / name).read_text() for name in sys.argv[1:]}
print(json.dumps({"python": platform.python_version(), "versions": versions, "files": files}))
