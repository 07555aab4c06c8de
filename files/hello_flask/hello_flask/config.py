"""The configuration, read once from environment variables."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULTS = {
    "development": {"APP_LOG_LEVEL": "DEBUG", "APP_TRUSTED_PROXIES": "0"},
    "production": {"APP_LOG_LEVEL": "INFO", "APP_TRUSTED_PROXIES": "1"},
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The values that go into ``app.config``, under the names that Flask and the environment give them."""

    APP_ENV: str
    APP_RELEASE: str
    APP_LOG_LEVEL: str
    APP_TRUSTED_PROXIES: int
    SECRET_KEY: str | None = field(repr=False)
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
