"""Kinto, a Pyramid application that an ini file describes."""

from pathlib import Path

from pyramid.paster import get_app

application = get_app(str(Path(__file__).resolve().parent / "kinto.ini"))
