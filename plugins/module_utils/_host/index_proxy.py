# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy through which a host reaches package indexes: which one works, and what of it may be seen."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from ansible_collections.baremetal.web.plugins.module_utils._host.readable import readable

_LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#]*)@")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?:(?P<login>.*)@)?(?P<host>\[[^\]@]*\]|[^:@\[\]]*)(?::(?P<port>.*))?", re.DOTALL)
_LOGIN_TEXT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(
    r"(?=.{1,253}\.?\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_SURE_OF_A_WORD = 4  # signs; a shorter secret is part of other words as well


def variables(url: str, no_proxy: Iterable[str]) -> dict[str, str]:
    """Return what tells pip, uv and conda of a proxy; nothing without one."""
    if not url:
        return {}
    found = {"http_proxy": url, "https_proxy": url, "no_proxy": ",".join(no_proxy)}
    return {**found, **{name.upper(): value for name, value in found.items()}}


def place(url: str) -> str:
    """Return host and port of a proxy's URL, and nothing else of it."""
    rest = re.split(r"[/?#]", _without_scheme(url).rpartition("@")[2])[0]
    found = _AUTHORITY.fullmatch(rest)
    if not found:
        return "…"
    # Without an @, the text behind a colon may be a password that somebody forgot to end.
    port = found["port"]
    shown = "" if port is None else f":{port}" if re.fullmatch(r"\d{1,5}", port) else ":…"
    return readable(found["host"]) + shown


def _without_scheme(url: str) -> str:
    found = _URL.fullmatch(url)
    return found["rest"] if found else url


def problems(url: str, no_proxy: Iterable[str]) -> Iterator[str]:
    """Find what pip, uv and conda cannot do, or would do each in its own way; no sentence shows a login."""
    if problem := _url_problem(url):
        yield f"url {problem}"
    for entry in no_proxy:
        if problem := _exception_problem(entry):
            yield f"no_proxy has {place(entry) if '@' in entry else entry!r}, {problem}"


def _url_problem(url: str) -> str:
    shown = f"({place(url)}, without its login)" if "@" in url else f"({place(url)})"
    found = _URL.fullmatch(url)
    if not found:
        return (
            f"{shown} has no scheme; write http://HOST:PORT, with USER:PASSWORD@ before HOST if the proxy asks for it"
        )
    scheme = found["scheme"].lower()
    if scheme != "http":
        return (
            f"{shown} has the scheme {scheme}; only http is supported. It names how the proxy itself is spoken to, and "
            "https addresses are reached through it as well. Write http://HOST:PORT"
        )
    authority, separator, more = re.split(r"([/?#])", found["rest"] + "/", maxsplit=1)
    if (separator, more) not in (("/", ""), ("/", "/")):
        return (
            f"{shown} has a path, a query or a fragment, which a proxy has not; end it after the port. In a password, "
            "write / as %2F, ? as %3F and # as %23"
        )
    parts = _AUTHORITY.fullmatch(authority)
    if not parts or not (_HOST.fullmatch(parts["host"]) or _address(parts["host"])):
        return f"{shown} has no host, or one that is no name and no address; write http://HOST:PORT"
    if parts["port"] is not None and not (re.fullmatch(r"\d{1,5}", parts["port"]) and 0 < int(parts["port"]) < 65536):
        return f"{shown} has a port that is no number from 1 to 65535; write http://HOST:PORT"
    if not _LOGIN_TEXT.fullmatch(parts["login"] or ""):
        return (
            f"{shown} has a login with signs that a URL does not hold. Write them as %XX, such as @ as %40, % as %25 "
            "and a space as %20"
        )
    return ""


def _address(host: str) -> bool:
    try:
        return host.startswith("[") and bool(ipaddress.IPv6Address(host[1:-1]))
    except ValueError:
        return False


def _exception_problem(entry: str) -> str:
    if entry == "*":
        return "which turns the proxy off; leave url out"
    if "*" in entry:
        return "and no tool knows a star in a name; write .example.com for all names below example.com"
    if "://" in entry or "@" in entry or "," in entry or re.search(r"\s", entry) or not entry:
        return "which is not one name, address or network; write a list such as [pypi.internal.example, 10.0.0.0/8]"
    if "/" in entry:
        try:
            ipaddress.IPv4Network(entry, strict=False)
        except ValueError:
            return "which is no IPv4 network that pip knows; write one such as 10.0.0.0/8, or names"
        return ""
    try:
        ipaddress.ip_address(entry)
    except ValueError:
        if re.fullmatch(r"[^:]*:\d+", entry):
            return "and uv does not know a port here; write the name alone"
        if not _HOST.fullmatch(entry[1:] if entry.startswith(".") else entry):
            return "which is no name, address or IPv4 network; write one such as pypi.internal.example"
    return ""


def conceal(text: str, urls: Iterable[str]) -> str:
    """Take the logins of URLs out of a text, as they stand, decoded, and as a header has them."""
    whole, secrets = set(), set()
    for url in urls:
        found = _LOGIN.match(url)
        if not found or not found[1]:
            continue
        login = found[1]
        whole.add(f"{login}@")
        user, separator, password = login.partition(":")
        for secret in (password if separator else user, login):
            plain = unquote(secret)
            secrets.update((secret, plain, repr(plain)[1:-1]))
        secrets.add(base64.b64encode(unquote(login).encode()).decode())
    secrets.discard("")
    for login in sorted(whole, key=len, reverse=True):
        text = text.replace(login, "")
    forms = sorted(secrets, key=len, reverse=True)
    words = [re.escape(form) if len(form) >= _SURE_OF_A_WORD else rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms]
    return re.sub("|".join(words), "(login)", text) if words else text
