"""The configuration by environment variables."""

import pytest

from hello_flask.config import Config


def test_production_is_the_default():
    assert Config.from_environ({}) == Config(
        APP_ENV="production",
        APP_RELEASE="unreleased",
        APP_LOG_LEVEL="INFO",
        APP_TRUSTED_PROXIES=1,
        SECRET_KEY=None,
    )


def test_development_trusts_no_proxy_and_logs_more():
    config = Config.from_environ({"APP_ENV": "development"})
    assert (config.APP_TRUSTED_PROXIES, config.APP_LOG_LEVEL) == (0, "DEBUG")


def test_each_variable_has_its_effect():
    environ = {
        "APP_ENV": "development",
        "APP_RELEASE": "2026-01-31",
        "APP_LOG_LEVEL": "warning",
        "APP_TRUSTED_PROXIES": "2",
        "APP_SECRET_KEY": "open sesame",
    }
    assert Config.from_environ(environ) == Config(
        APP_ENV="development",
        APP_RELEASE="2026-01-31",
        APP_LOG_LEVEL="WARNING",
        APP_TRUSTED_PROXIES=2,
        SECRET_KEY="open sesame",
    )


def test_an_empty_variable_counts_as_unset():
    names = ("APP_ENV", "APP_RELEASE", "APP_LOG_LEVEL", "APP_TRUSTED_PROXIES", "APP_SECRET_KEY")
    assert Config.from_environ(dict.fromkeys(names, "")) == Config.from_environ({})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("APP_ENV", "staging", "development, production"),
        ("APP_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("APP_TRUSTED_PROXIES", "-1", "a whole number from 0 up"),
        ("APP_TRUSTED_PROXIES", "one", "a whole number from 0 up"),
    ],
)
def test_an_unknown_value_is_refused_by_name_with_what_is_allowed(name: str, value: str, allowed: str):
    with pytest.raises(ValueError, match=f"^{name} is '{value}', but must be .*{allowed}"):
        Config.from_environ({name: value})


def test_the_secret_key_is_not_shown():
    assert "sesame" not in repr(Config.from_environ({"APP_SECRET_KEY": "open sesame"}))
