"""The endpoints."""

import math
import socket
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hello_flask import create_app


def test_the_index_greets_and_says_who_answered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    client = create_app({"APP_RELEASE": "2026-01-31"}).test_client()
    response = client.get("/", environ_overrides={"SERVER_SOFTWARE": "gunicorn/1.2.3"})
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert "<h1>Hello World!</h1>" in response.text
    for answer in ("web1", "2026-01-31", "gunicorn/1.2.3"):
        assert f"<dd>{answer}</dd>" in response.text


def test_the_index_escapes_what_it_shows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "<script>host")
    client = create_app({"APP_RELEASE": "<script>release"}).test_client()
    page = client.get("/", environ_overrides={"SERVER_SOFTWARE": "<script>server"}).text
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 3


def test_the_index_loads_nothing_from_elsewhere(client: FlaskClient):
    page = client.get("/").text
    assert "//" not in page
    assert "src=" not in page


@pytest.mark.parametrize("path", ["/hello", "/cpu-bound", "/io-bound", "/healthz", "/readyz"])
def test_the_index_links_to_an_endpoint_that_answers(client: FlaskClient, path: str):
    assert f'<a href="{path}">' in client.get("/").text
    assert client.get(path).status_code == 200


def test_hello_answers_the_sentence_in_utf8(client: FlaskClient):
    response = client.get("/hello")
    assert response.data == "我要吃110个苹果".encode()
    assert len(response.data) == 21
    assert response.content_type == "text/plain; charset=utf-8"


def test_server_answers_json_with_json(client: FlaskClient):
    response = client.post("/server", json={"data": {"apples": 110}})
    assert response.status_code == 200
    assert response.json == {"received": {"apples": 110}, "type": "object", "size": 14}


def test_server_takes_null_as_data(client: FlaskClient):
    assert client.post("/server", json={"data": None}).json == {"received": None, "type": "null", "size": 4}


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '"data"', '{"date": 1}', '{"data": NaN}', '{"data": 1e999}', '{"data": "\\ud800"}'],
)
def test_server_refuses_anything_but_a_json_object_with_data(client: FlaskClient, body: str):
    response = client.post("/server", data=body, content_type="application/json")
    assert response.status_code == 400
    assert "JSON" in response.json["error"]["detail"]


def test_server_refuses_another_content_type(client: FlaskClient):
    response = client.post("/server", data='{"data": 1}', content_type="text/plain")
    assert response.status_code == 400
    assert "application/json" in response.json["error"]["detail"]


def nested(depth: int) -> str:
    """A JSON body with an array in an array in an array."""
    return '{"data": ' + "[" * depth + "]" * depth + "}"


def test_server_refuses_deep_nesting(client: FlaskClient):
    response = client.post("/server", data=nested(100_000), content_type="application/json")
    assert response.status_code == 400
    assert "nested too deeply" in response.json["error"]["detail"]


def test_server_has_no_depth_between_answering_and_refusing(client: FlaskClient):
    """Near the recursion limit, reading the JSON may work while writing it does not."""
    for depth in range(900, 1000):
        response = client.post("/server", data=nested(depth), content_type="application/json")
        assert response.status_code in (200, 400)


@pytest.mark.parametrize(("query", "n", "digits"), [("?n=1", 1, 1), ("?n=10", 10, 7), ("", 2000, 5736)])
def test_cpu_bound_counts_the_digits_of_the_product(client: FlaskClient, query: str, n: int, digits: int):
    answer = client.get(f"/cpu-bound{query}").json
    assert (answer["n"], answer["digits"]) == (n, digits)
    assert answer["milliseconds"] >= 0


def test_cpu_bound_counts_digits_exactly(client: FlaskClient):
    for n in range(1, 500):
        assert client.get(f"/cpu-bound?n={n}").json["digits"] == len(str(math.factorial(n)))


@pytest.mark.parametrize(
    ("query", "seconds"), [("", 0.1), ("?seconds=0", 0), ("?seconds=2.5", 2.5), ("?seconds=10", 10)]
)
def test_io_bound_sleeps(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, query: str, seconds: float):
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    answer = client.get(f"/io-bound{query}").json
    assert slept == [answer["seconds"]] == [seconds]
    assert answer["milliseconds"] >= 0


@pytest.mark.parametrize("n", ["0", "-1", "100001", "1.5", "many", "", "9" * 5000])
def test_cpu_bound_refuses_a_bad_number(client: FlaskClient, n: str):
    response = client.get("/cpu-bound", query_string={"n": n})
    assert response.status_code == 400
    assert response.json["error"]["detail"] == "n must be a whole number from 1 to 100000."


@pytest.mark.parametrize("seconds", ["-0.1", "10.1", "nan", "inf", "-inf", "long", ""])
def test_io_bound_refuses_a_bad_number(client: FlaskClient, seconds: str):
    response = client.get("/io-bound", query_string={"seconds": seconds})
    assert response.status_code == 400
    assert response.json["error"]["detail"] == "seconds must be a number from 0 to 10."


def test_healthz_says_ok_even_if_a_dependency_fails(app: Flask):
    app.extensions["readiness"].add("database", lambda: False)
    response = app.test_client().get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_readyz_is_ready_without_dependencies(client: FlaskClient):
    response = client.get("/readyz")
    assert (response.status_code, response.json) == (200, {"status": "ok", "checks": {}})


def test_readyz_tells_the_result_of_each_check(app: Flask):
    app.extensions["readiness"].add("cache", lambda: True)
    app.extensions["readiness"].add("database", lambda: False)
    response = app.test_client().get("/readyz")
    assert response.status_code == 503
    assert response.json == {"status": "failed", "checks": {"cache": "ok", "database": "failed"}}


def test_readyz_tells_the_log_but_not_the_client_why_a_check_raised(
    capsys: pytest.CaptureFixture[str],
):
    def fails() -> Any:
        raise ConnectionError("no route to 10.0.0.7")

    app = create_app({})
    app.extensions["readiness"].add("database", fails)
    response = app.test_client().get("/readyz", headers={"X-Request-ID": "probe-1"})
    assert response.json == {"status": "failed", "checks": {"database": "failed"}}
    log = capsys.readouterr().err
    assert "[probe-1] The readiness check database raised an exception" in log
    assert "no route to 10.0.0.7" in log
    assert "[probe-1] Not ready, failed checks: database" in log
