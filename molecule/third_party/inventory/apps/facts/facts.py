"""Datasette below the prefix /facts, with a database that the hook makes."""

import os
from pathlib import Path

from datasette.app import Datasette


def create_app():
    """Return Datasette as an ASGI application."""
    database = Path(os.environ["HOME"]) / "facts.db"
    return Datasette([str(database)], settings={"base_url": "/facts/"}).app()
