"""pypiserver: the packages of a directory as an index; nobody can upload by HTTP."""

from pathlib import Path

import pypiserver

application = pypiserver.app(roots=[Path(__file__).resolve().parent / "packages"])
