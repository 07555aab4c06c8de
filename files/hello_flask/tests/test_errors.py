"""Errors and request ids."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from hello_flask import create_app


def broken() -> str:
    raise RuntimeError("the password is swordfish")


def is_error(response: TestResponse, status: int, title: str) -> bool:
    error = response.json["error"]
    return (
        response.status_code == status
        and response.content_type == "application/json"
        and error.keys() == {"status", "title", "detail", "request_id"}
        and (error["status"], error["title"]) == (status, title)
        and error["request_id"] == response.headers["X-Request-ID"]
        and bool(error["detail"])
    )


def test_an_unknown_path_is_a_404_in_json(client: FlaskClient):
    assert is_error(client.get("/nowhere"), 404, "Not Found")


def test_a_wrong_method_is_a_405_in_json_that_names_the_allowed_ones(client: FlaskClient):
    response = client.get("/server")
    assert is_error(response, 405, "Method Not Allowed")
    assert response.allow == {"POST", "OPTIONS"}


def test_a_bad_value_is_a_400_in_json(client: FlaskClient):
    assert is_error(client.get("/cpu-bound?n=0"), 400, "Bad Request")


def test_a_body_of_one_mebibyte_is_accepted_but_not_a_byte_more(client: FlaskClient):
    body = '{"data": 1}'.ljust(1024 * 1024)
    assert client.post("/server", data=body, content_type="application/json").status_code == 200
    response = client.post("/server", data=body + " ", content_type="application/json")
    assert is_error(response, 413, "Request Entity Too Large")


@pytest.mark.parametrize("environment", ["development", "production"])
def test_an_exception_is_logged_with_the_request_id_but_not_shown(environment: str, capsys: pytest.CaptureFixture[str]):
    app = create_app({"APP_ENV": environment})
    app.add_url_rule("/broken", view_func=broken)
    response = app.test_client().get("/broken", headers={"X-Request-ID": "trace-me"})
    assert is_error(response, 500, "Internal Server Error")
    assert "swordfish" not in response.text
    log = capsys.readouterr().err
    assert "[ERROR] [trace-me] Exception on /broken [GET]" in log
    assert "swordfish" in log


@pytest.mark.parametrize("path", ["/", "/hello", "/healthz", "/nowhere"])
def test_every_response_carries_a_new_request_id(client: FlaskClient, path: str):
    first, second = (client.get(path).headers["X-Request-ID"] for _ in range(2))
    assert first != second
    assert re.fullmatch("[0-9a-f]{32}", first)


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_a_safe_request_id_is_kept(client: FlaskClient, given: str):
    assert client.get("/hello", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", "<b>", "a%sb", "trail\n", "苹果"])
def test_an_unsafe_request_id_is_replaced(app: Flask, given: str):
    response = app.test_client().get("/hello", environ_overrides={"HTTP_X_REQUEST_ID": given})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
