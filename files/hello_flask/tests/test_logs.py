"""Logging."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest
from flask import Flask

from hello_flask import create_app


@pytest.fixture
def gunicorn_log() -> Iterator[StringIO]:
    """The error log of a gunicorn at level WARNING."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("gunicorn: %(message)s"))
    logger = logging.getLogger("gunicorn.error")
    logger.addHandler(handler)
    logger.setLevel("WARNING")
    yield stream
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")


def log_in_a_request(app: Flask) -> None:
    """Log at two levels while a request with the id "r1" is answered."""

    def view() -> str:
        app.logger.info("%s apples", 110)
        app.logger.warning("%s pears", 0)
        return ""

    app.add_url_rule("/log", view_func=view)
    app.test_client().get("/log", headers={"X-Request-ID": "r1"})


def test_under_gunicorn_its_handlers_and_level_are_used(gunicorn_log: StringIO, capsys: pytest.CaptureFixture[str]):
    log_in_a_request(create_app({"APP_LOG_LEVEL": "DEBUG"}))
    assert gunicorn_log.getvalue() == "gunicorn: [r1] 0 pears\n"
    assert capsys.readouterr().err == ""


def test_a_second_application_does_not_log_twice_under_gunicorn(gunicorn_log: StringIO):
    create_app({})
    log_in_a_request(create_app({}))
    assert gunicorn_log.getvalue() == "gunicorn: [r1] 0 pears\n"


def test_elsewhere_lines_go_to_standard_error_with_the_request_id(capsys: pytest.CaptureFixture[str]):
    create_app({})
    log_in_a_request(create_app({}))
    info, warning = capsys.readouterr().err.splitlines()
    assert info.endswith("[INFO] [r1] 110 apples")
    assert warning.endswith("[WARNING] [r1] 0 pears")


def test_elsewhere_the_level_comes_from_the_environment(capsys: pytest.CaptureFixture[str]):
    log_in_a_request(create_app({"APP_LOG_LEVEL": "WARNING"}))
    assert "apples" not in capsys.readouterr().err


def test_a_line_outside_of_a_request_has_a_dash_for_the_request_id(capsys: pytest.CaptureFixture[str]):
    create_app({}).logger.info("started")
    assert capsys.readouterr().err.endswith("[INFO] [-] started\n")
