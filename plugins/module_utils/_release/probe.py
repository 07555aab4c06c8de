# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health probe of a release: one request as the web server in front would pass it on, and what its answer means."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable
from ansible_collections.baremetal.web.plugins.module_utils._host.sockets import Answer, ask

REDIRECTS = (301, 302, 303, 307, 308)
PROBE_SECONDS = 5  # for one answer; a release has ``health.timeout`` to become healthy
_MOST_REDIRECTS = 5


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer; a peer that sends slowly for ever cannot hold it."""

    def expire(*_: Any) -> None:
        raise TimeoutError(f"no complete answer within {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


class Probe(NamedTuple):
    """The request that an app has to answer, and the statuses that are healthy: ``health`` in roles/wsgi/meta."""

    path: str
    host: str
    statuses: tuple[str, ...]
    prefix: str = ""

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Probe:
        """Read the description of a release."""
        health = description["health"]
        if "statuses" not in health:  # a release of an earlier version, which was proved by these
            return cls(health["path"], description["host"], statuses=("2xx", "3xx"))
        prefix = health["prefix"].rstrip("/")
        return cls(health["path"], health["host"], tuple(health["statuses"]), prefix)

    @property
    def url(self) -> str:
        """Return what a client would ask for."""
        return f"http://{self.host}{self.prefix}{self.path}"

    def headers(self) -> dict[str, str]:
        """Return the headers that the web server in front sets, for a client on the host itself."""
        prefix = {"X-Forwarded-Prefix": self.prefix, "SCRIPT_NAME": self.prefix} if self.prefix else {}
        return {
            **{"Host": self.host, "User-Agent": "baremetal.web health probe"},
            **{"X-Real-IP": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": self.host},
            # The site's own port is no part of a release, so a change of it changes none.
            **{"X-Forwarded-Proto": "http", "X-Forwarded-Port": "80"},
            **prefix,
        }

    def problem(self, address: str, seconds: float, protocol: str = "http", advised: bool = False) -> str:
        """Ask at a unix socket or an ADDRESS:PORT; return what is wrong, empty when healthy."""
        asked = f"{self.url} (Host {self.host})"
        try:
            with deadline(seconds):
                answer = ask(address, f"{self.prefix}{self.path}", self.headers(), seconds, protocol)
        except (OSError, http.client.HTTPException) as error:
            return readable(f"no answer from {asked}: {error}")
        circle: list[str] = []
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError), deadline(seconds):
            circle = self._circle(answer, address, seconds, protocol)
        if self._is_healthy(answer.status) and not circle:
            return ""
        leads = f", a redirect to {readable(answer.location)[:200] or 'nowhere'}" if answer.status in REDIRECTS else ""
        if circle:
            leads += (
                ", which is the same URL"
                if len(circle) == 1
                else f", in a circle of {readable(', '.join(circle))[:400]}"
            )
        found = f"answer {answer.status} from {asked}{leads}"
        return f"{found}. {self._advice(answer, bool(circle))}" if advised else found

    def _circle(self, answer: Answer, address: str, seconds: float, protocol: str) -> list[str]:
        """Return the pages between which redirects send a client for ever; none where they end, or leave the app."""
        url, page, cookies = self.url, _page(self.url), dict[str, str]()
        # A page that redirects once, to set a cookie, is another one with it.
        seen = [(page, cookies.keys())]
        for _number in range(_MOST_REDIRECTS):
            if answer.status not in REDIRECTS or not answer.location:
                return []
            before, url = url, urljoin(url, answer.location)
            if _site(before) != _site(url) or not f"{urlsplit(url).path}/".startswith(f"{self.prefix}/"):
                return []
            page, cookies = _page(url), {**cookies, **answer.cookies}
            if (page, cookies.keys()) in seen:
                return list(dict.fromkeys([each for each, _names in seen] + [page]))
            seen.append((page, cookies.keys()))
            sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
            answer = ask(address, page, {**self.headers(), **sent}, seconds, protocol)
        return []

    def _is_healthy(self, status: int) -> bool:
        return any(re.fullmatch(wanted.replace("x", "[0-9]"), str(status)) for wanted in self.statuses)

    def _advice(self, answer: Answer, round_again: bool) -> str:
        """Say what may be the cause, and what to do."""
        wanted = ", ".join(self.statuses)
        allow = f"or add {answer.status} to health.statuses ({wanted}) if that answer is right"
        if round_again:
            return "A client would be redirected without end. Let the app take its prefix and host from the request"
        if answer.status in REDIRECTS:
            return f"A redirect does not show that the app works. Set health.path to a page that answers 200, {allow}"
        if answer.status == 400:
            return "The app may not accept that Host (ALLOWED_HOSTS). Let it accept the name, or set health.host"
        if 400 <= answer.status < 500:
            return f"Set health.path to a page that answers 200 without a login, {allow}"
        return f"Healthy is {wanted} (health.statuses)"


def _site(url: str) -> tuple[str, str | None]:
    """Return the scheme and the host of a URL, whatever its port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname


def _page(url: str) -> str:
    """Return what a client asks for at a URL."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
