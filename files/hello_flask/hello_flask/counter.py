"""A counter in Redis, which all processes and releases of the application share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from redis import CredentialProvider, Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from .config import RedisConfig

KEY = "hello_flask:counter"

T = TypeVar("T")


class CounterError(Exception):
    """Redis does not answer, or not as it should; the text says why, for the log."""


class PasswordFile(CredentialProvider):
    """Reads the password for each new connection, so that it may come, or change, after the start."""

    def __init__(self, username: str, path: str) -> None:
        self.username = username
        self.path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password, after the user if there is one."""
        password = Path(self.path).read_text().strip()
        return (self.username, password) if self.username else (password,)


class Counter:
    """Numbers in Redis. Nothing connects before the first question, so a server may fork before or after."""

    def __init__(self, config: RedisConfig) -> None:
        # No command is sent twice: of a connection that broke nobody knows whether it has counted.
        options: dict[str, Any] = {
            "socket_connect_timeout": 0.5,
            "socket_timeout": 1.0,
            "retry": Retry(NoBackoff(), 0),
        }
        if config.url:
            self._redis = Redis.from_url(config.url, **options)
            return
        if config.password_file:
            options["credential_provider"] = PasswordFile(config.username, config.password_file)
        else:
            options |= {"username": config.username or None, "password": config.password or None}
        self._redis = Redis(host=config.host, port=config.port, db=config.db, **options)

    def add(self) -> int:
        """Add one; return the sum."""
        return self._ask(lambda: int(self._redis.incr(KEY)))

    def read(self) -> int:
        """Return the sum."""
        return self._ask(lambda: int(self._redis.get(KEY) or 0))

    def answers(self) -> bool:
        """Tell whether Redis takes the password and answers."""
        return self._ask(lambda: bool(self._redis.ping()))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (RedisError, OSError, ValueError) as error:
            raise CounterError(f"{type(error).__name__}: {error}") from None
