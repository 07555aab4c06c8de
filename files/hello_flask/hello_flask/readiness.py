"""The registry of checks behind ``/readyz``."""

from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Lock, Thread
from time import monotonic

from flask import current_app


@dataclass(frozen=True)
class Check:
    """A named question to a dependency, asked by one thread at a time."""

    name: str
    passes: Callable[[], bool]
    lock: Lock = field(default_factory=Lock)


class Readiness:
    """The services that the application needs. Add one with ``app.extensions["readiness"].add(name, passes)``."""

    def __init__(self, time_limit: float = 2.0) -> None:
        self.time_limit = time_limit
        self._checks: dict[str, Check] = {}

    def add(self, name: str, passes: Callable[[], bool]) -> None:
        """Add a check: it fails if it returns false, raises an exception or is not done within the time limit."""
        self._checks[name] = Check(name, passes)

    def results(self) -> dict[str, bool]:
        """Run all checks side by side, in threads that a hanging check cannot pile up, and say which ones passed."""
        deadline = monotonic() + self.time_limit
        results = dict.fromkeys(self._checks, False)
        threads = [
            Thread(target=copy_context().run, args=(self._run, check, results), daemon=True)
            for check in self._checks.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, deadline - monotonic()))
        return results.copy()

    def _run(self, check: Check, results: dict[str, bool]) -> None:
        if not check.lock.acquire(timeout=self.time_limit):
            return
        try:
            results[check.name] = bool(check.passes())
        except Exception:
            current_app.logger.exception("The readiness check %s raised an exception", check.name)
        finally:
            check.lock.release()
