"""The configuration by environment variables."""

import pytest

from hello_flask.config import Config, RedisConfig


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


def test_there_is_no_redis_unless_it_is_named():
    assert Config.from_environ({}).REDIS is None
    assert Config.from_environ({"APP_ENV": "development"}).REDIS is None


@pytest.mark.parametrize(("environment", "db"), [("production", 0), ("development", 1)])
def test_each_environment_has_a_database_of_its_own(environment: str, db: int):
    config = Config.from_environ({"APP_ENV": environment, "REDIS_HOST": "cache"}).REDIS
    assert config == RedisConfig(host="cache", port=6379, db=db)


def test_each_part_of_redis_has_its_effect():
    environ = {"REDIS_HOST": "h", "REDIS_PORT": "1", "REDIS_DB": "7", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"}
    config = Config.from_environ(environ).REDIS
    assert config == RedisConfig(host="h", port=1, db=7, username="u", password="p")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"REDIS_PORT": "6379"}, "REDIS_PORT is set, but REDIS_HOST is not"),
        ({"REDIS_URL": "redis://h", "REDIS_DB": "1"}, "REDIS_URL is set and says everything, so REDIS_DB must not"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "p", "REDIS_PASSWORD_FILE": "/f"}, "are both set"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "0"}, "REDIS_PORT is '0', but must be a port"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "65536"}, "REDIS_PORT is '65536', but must be a port"),
        ({"REDIS_HOST": "h", "REDIS_DB": "x"}, "REDIS_DB is 'x', but must be a whole number"),
    ],
)
def test_what_contradicts_itself_is_refused(environ: dict[str, str], says: str):
    with pytest.raises(ValueError, match=says):
        Config.from_environ(environ)


@pytest.mark.parametrize("url", ["http://:s3cret@h", "s3cret", "redis://:s3cret@", "redis://:s3cret@h:x/0", "unix:"])
def test_an_address_that_cannot_be_one_is_refused_and_not_repeated(url: str):
    with pytest.raises(ValueError, match=r"^REDIS_URL is not an address") as caught:
        Config.from_environ({"REDIS_URL": url})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:6380/3", "unix:///run/redis.sock?db=1", "redis://[::1]/"])
def test_an_address_is_taken_as_it_is(url: str):
    config = Config.from_environ({"REDIS_URL": url}).REDIS
    assert config == RedisConfig(url=url)


@pytest.mark.parametrize(
    "environ", [{"REDIS_URL": "redis://:sesame@h"}, {"REDIS_HOST": "h", "REDIS_PASSWORD": "sesame"}]
)
def test_the_password_of_redis_is_not_shown(environ: dict[str, str]):
    assert "sesame" not in repr(Config.from_environ(environ))
