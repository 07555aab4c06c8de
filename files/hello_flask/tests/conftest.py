"""Fixtures: the application as it runs in production, and a client of it."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hello_flask import create_app


@pytest.fixture
def app() -> Flask:
    return create_app({})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
