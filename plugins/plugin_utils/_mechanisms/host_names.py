# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host names of a site: each as a client sends it, or a sentence that says what to write."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable

EVERY = "*"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What configurations of web servers write where no name is meant.
_PLACEHOLDERS = ("", "_", "__", "default_server", "_default_")
_DOTS = re.compile("[.\u3002\uff0e\uff61]")


class HostNameError(ValueError):
    """No client sends this name; the text says why, and what to write."""


def host_names(names: Iterable[str]) -> list[str]:
    """Return the names as clients send them, each once; ``*`` alone stands for every name."""
    found = list(dict.fromkeys(each for name in names for each in host_name(name)))
    if EVERY in found and len(found) > 1:
        raise HostNameError("'*' beside other names. It stands for every name already; leave the others out")
    return found


def host_name(name: str) -> list[str]:
    """Return one name as clients send it; two for ``.example.com``, which is the domain and every name below it."""
    if name == EVERY:
        return [name]
    if problem := _refusal(name):
        raise HostNameError(f"{name!r}. {problem}")
    if address := _address(name):
        return [address]
    labels = [_ascii(label) for label in _DOTS.split(name)]
    if labels[-1] == "" and len(labels) > 1:  # the root of all names, which web servers take off
        labels.pop()
    if labels[0] == "" and len(labels) > 1 and labels[1]:
        domain = host_name(".".join(labels[1:]))[0]
        return [domain, *host_name(f"*.{domain}")]
    plain = labels[1:] if labels[0] == "*" else labels[:-1] if labels[-1] == "*" else labels
    if "*" in "".join(plain) or not plain:
        raise HostNameError(f"{name!r}. A * stands for whole labels at one end: write *.example.com or www.example.*")
    for label in plain:
        if not _LABEL.fullmatch(label):
            raise HostNameError(
                f"{name!r}. {label!r} in it is no part of a host name: it has from 1 to 63 letters, digits, - or _, "
                "and no - at an end. Write a host name such as shop.example.com"
                + ("" if label.isascii() else ", or its form in ASCII, xn--…, where browsers take it")
            )
        if label.startswith("xn--") and not _is_punycode(label[4:]):
            raise HostNameError(f"{name!r}. {label!r} in it stands for no name in another script; correct it")
    if len(".".join(labels)) > 253:
        raise HostNameError(f"{name!r}. A host name has 253 characters at most; write a shorter one")
    if plain[-1].isdigit() and labels[-1] != "*":
        raise HostNameError(f"{name!r}. It ends like an IPv4 address and is none; write an address such as 192.0.2.1")
    return [".".join(labels)]


def host_header(name: str) -> str:
    """Return a name, with or without a port, as a client sends it in the header Host."""
    found = re.fullmatch(r"(\[.*\]|[^:]*)(:[0-9]+)?", name)
    base, port = (found[1], found[2] or "") if found else (name, "")
    if port and not 0 < int(port[1:]) <= 65535:
        raise HostNameError(f"{name!r}. A port is a number from 1 to 65535; correct it, or leave it out")
    names = [EVERY] if base in _PLACEHOLDERS or base.startswith("~") else host_name(base)
    if len(names) > 1 or EVERY in names[0]:
        raise HostNameError(f"{name!r}. A request has one name; write a whole one such as www.example.com")
    return f"{names[0]}{port}"


def probed_name(names: Iterable[str]) -> str:
    """Return the name of a site for its health probe: the first that every framework takes for a host name."""
    wholes = [*(name for name in names if EVERY not in name), *(_filled(name) for name in names if name != EVERY)]
    return next((name for name in wholes if re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", name)), "localhost")


def _filled(name: str) -> str:
    """Return one of the names that a name with a * stands for."""
    return name.replace("*", "www") if name.startswith("*") else name.replace("*", "com")


def _refusal(name: str) -> str:
    """Return what is wrong with what is no name at all, and what to write."""
    if name in _PLACEHOLDERS:
        return "No client sends such a name. Write '*' alone for every host name"
    if name.startswith("~"):
        return "Regular expressions are not supported. List the names, or write *.example.com for all below one"
    if re.search(r"[\s,;]", name):
        return "A name has no spaces, commas or semicolons. Write each name as an item of the list"
    if found := re.match(r"(?:[a-z]+:)?//(?:[^/@]*@)?([^/:?#]+)", name, re.IGNORECASE):
        return f"It is an address of a page. Write its host name alone: {found[1]}"
    if found := re.fullmatch(r"([^:\[\]]*|\[.*\]):(\d*)", name):
        port = f", and the port as site.listen: {found[2]}" if found[2] else ""
        return (
            "Names are compared without a port, so this one never matches. "
            f"Write {found[1] or repr(EVERY) + ' for every name'}{port}"
        )
    if name.startswith("/") or ("/" in name.partition("/")[2] and name.lower().startswith("http")):
        return "It has no host name. Write one such as shop.example.com"
    if "/" in name:
        return f"A path is no part of a host name. Write {name.partition('/')[0]}, and the path as site.prefix"
    return ""


def _address(name: str) -> str:
    """Return an IP address as clients write it; empty for what is none."""
    try:
        address = ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return ""
    if address.is_unspecified:
        raise HostNameError(
            f"{name!r}. No client sends it. A site listens on every address; write '*' alone for every host name"
        )
    if getattr(address, "scope_id", None) or (address.version == 4 and name.startswith("[")):
        raise HostNameError(f"{name!r}. No client sends an address like this; write 192.0.2.1 or [2001:db8::1]")
    return f"[{address.compressed}]" if address.version == 6 else str(address)


def _ascii(label: str) -> str:
    """Return a label as it is sent: one in another script by its letters in Punycode, as RFC 5891 has it."""
    label = unicodedata.normalize("NFKC", label.lower()).lower()
    # A joiner that nobody sees is allowed behind a virama alone: RFC 5892, appendix A.
    shown = "".join(
        "" if sign in "\u200c\u200d" and before and unicodedata.combining(before) == 9 else sign
        for before, sign in zip(["", *label], label, strict=False)
    )
    if label.isascii() or not all(sign == "-" or unicodedata.category(sign)[0] in "LMN" for sign in shown):
        return label
    if unicodedata.category(label[0])[0] == "M":
        return label
    return f"xn--{label.encode('punycode').decode('ascii')}"


def _is_punycode(text: str) -> bool:
    try:
        text.encode("ascii").decode("punycode")
    except UnicodeError:
        return False
    return True
