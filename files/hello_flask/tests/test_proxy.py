"""The application behind a proxy, below a prefix."""

import pytest
from flask import Flask, request

from hello_flask import create_app

FORWARDED = {
    "X-Forwarded-For": "192.0.2.1, 192.0.2.2",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/gunicorn",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
}


def seen(app: Flask) -> dict[str, str]:
    """The parts of a forwarded request that the application sees."""
    app.add_url_rule("/seen", view_func=lambda: {"client": request.remote_addr, "root": request.url_root})
    return app.test_client().get("/seen", headers=FORWARDED).json


def test_links_start_with_the_script_name():
    page = create_app({}).test_client().get("/", environ_overrides={"SCRIPT_NAME": "/gunicorn"}).text
    assert '<a href="/gunicorn/hello">' in page
    assert "POST /gunicorn/server" in page


def test_links_start_with_the_forwarded_prefix():
    page = create_app({}).test_client().get("/", headers=FORWARDED).text
    assert '<a href="/gunicorn/hello">' in page
    assert "POST /gunicorn/server" in page


def test_development_ignores_the_forwarded_prefix():
    page = create_app({"APP_ENV": "development"}).test_client().get("/", headers=FORWARDED).text
    assert '<a href="/hello">' in page


def test_one_proxy_is_trusted_in_production_for_client_scheme_and_prefix_only():
    assert seen(create_app({})) == {"client": "192.0.2.2", "root": "https://localhost/gunicorn/"}


def test_two_proxies_reveal_the_client_before_them():
    assert seen(create_app({"APP_TRUSTED_PROXIES": "2"})) == {
        "client": "192.0.2.1",
        "root": "https://localhost/gunicorn/",
    }


@pytest.mark.parametrize("environ", [{"APP_ENV": "development"}, {"APP_TRUSTED_PROXIES": "0"}])
def test_without_a_trusted_proxy_the_headers_are_ignored(environ: dict[str, str]):
    assert seen(create_app(environ)) == {"client": "127.0.0.1", "root": "http://localhost/"}
