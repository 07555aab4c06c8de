"""The configuration, read once from environment variables."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# What is different between the environments; each counts in a database of its own, even on one Redis.
DEFAULTS = {
    "development": {"APP_LOG_LEVEL": "DEBUG", "APP_TRUSTED_PROXIES": "0", "REDIS_DB": "1"},
    "production": {"APP_LOG_LEVEL": "INFO", "APP_TRUSTED_PROXIES": "1", "REDIS_DB": "0"},
}
REDIS_PARTS = ("REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE")


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """Where Redis is: an address that says everything, or its parts."""

    url: str = field(default="", repr=False)
    host: str = ""
    port: int = 6379
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""

    @classmethod
    def from_values(cls, given: Mapping[str, str], default_db: str) -> "RedisConfig | None":
        """Read and check the variables that are set; without an address or a host there is no Redis."""
        names = [name for name in REDIS_PARTS if name in given]
        if url := given.get("REDIS_URL"):
            if names:
                raise ValueError(f"REDIS_URL is set and says everything, so {names[0]} must not be set, too.")
            return cls(url=redis_url(url))
        if "REDIS_HOST" not in given:
            if names:
                raise ValueError(f"{names[0]} is set, but REDIS_HOST is not: set it, too, or REDIS_URL alone.")
            return None
        if {"REDIS_PASSWORD", "REDIS_PASSWORD_FILE"} <= given.keys():
            raise ValueError("REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set; which one is right?")
        port = count("REDIS_PORT", given.get("REDIS_PORT", "6379"))
        if not 1 <= port <= 65535:
            raise ValueError(f"REDIS_PORT is '{port}', but must be a port from 1 to 65535.")
        return cls(
            host=given["REDIS_HOST"],
            port=port,
            db=count("REDIS_DB", given.get("REDIS_DB", default_db)),
            username=given.get("REDIS_USERNAME", ""),
            password=given.get("REDIS_PASSWORD", ""),
            password_file=given.get("REDIS_PASSWORD_FILE", ""),
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The values that go into ``app.config``, under the names that Flask and the environment give them."""

    APP_ENV: str
    APP_RELEASE: str
    APP_LOG_LEVEL: str
    APP_TRUSTED_PROXIES: int
    SECRET_KEY: str | None = field(repr=False)
    REDIS: RedisConfig | None = None
    MAX_CONTENT_LENGTH: int = 1024 * 1024
    PROPAGATE_EXCEPTIONS: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Config":
        """Read and check the variables; an empty one counts as unset."""
        given = {name: value for name, value in environ.items() if value}
        app_env = one_of(DEFAULTS, "APP_ENV", given.get("APP_ENV", "production"))
        values = {"APP_RELEASE": "unreleased", **DEFAULTS[app_env], **given}
        return cls(
            APP_ENV=app_env,
            APP_RELEASE=values["APP_RELEASE"],
            APP_LOG_LEVEL=one_of(LOG_LEVELS, "APP_LOG_LEVEL", values["APP_LOG_LEVEL"].upper()),
            APP_TRUSTED_PROXIES=count("APP_TRUSTED_PROXIES", values["APP_TRUSTED_PROXIES"]),
            SECRET_KEY=values.get("APP_SECRET_KEY"),
            REDIS=RedisConfig.from_values(given, DEFAULTS[app_env]["REDIS_DB"]),
        )


def one_of(allowed: Collection[str], name: str, value: str) -> str:
    """Return the value if it is an allowed one."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, but must be one of: {', '.join(allowed)}.")
    return value


def count(name: str, text: str) -> int:
    """Return the text as a whole number that is not negative."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} is {text!r}, but must be a whole number from 0 up.")
    return int(text)


def redis_url(text: str) -> str:
    """Return the address of a Redis if it can be one; an error does not repeat it, because it may hold the password."""
    try:
        parts = urlsplit(text)
        if parts.scheme == "unix":
            good = bool(parts.path)
        else:
            database = parts.path.strip("/") or "0"
            good = parts.scheme in ("redis", "rediss") and bool(
                parts.hostname and parts.port != 0 and database.isdigit()
            )
    except ValueError:
        good = False
    if not good:
        raise ValueError("REDIS_URL is not an address such as redis://user:password@host:6379/0 or unix:///path.")
    return text
