"""A background program: it writes down its release and goes on until told to stop; with ``fail``, it does not go on."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

data = Path(os.path.abspath(__file__)).parents[3] / "data"
with (data / "background.log").open("a") as log:
    print(os.environ["APP_RELEASE"], os.getpid(), file=log)
if sys.argv[1:] == ["fail"]:
    sys.exit("background program: told to fail")
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    time.sleep(60)
