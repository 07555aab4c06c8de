"""A hook: ``hook.py NAME [fail|hang]`` writes down who ran it for which release, then does as told."""

from __future__ import annotations

import getpass
import os
import sys
import time
from pathlib import Path

name, then = [*sys.argv[1:], ""][:2]
# …/APP/releases/ID/app/hook.py → …/APP/data
data = Path(os.path.abspath(__file__)).parents[3] / "data"
with (data / "hooks.log").open("a") as log:
    print(name, os.environ["APP_RELEASE"], getpass.getuser(), file=log)
if then == "hang":
    time.sleep(60)
if then == "fail":
    sys.exit(f"hook {name}: told to fail")
