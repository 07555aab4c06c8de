# Copyright (c) The baremetal.web authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.web.plugins.plugin_utils._spec.plain import plain


def vaulted(value: Any) -> Iterator[str]:
    """Return the texts that come from a vault, as far as ansible-core still knows."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from vaulted(item)
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from vaulted(item)
    elif hasattr(value, "_ciphertext") or "VaultedValue" in (
        tag.__name__ for tag in getattr(value, "_ansible_tags_mapping", ())
    ):
        yield plain(value)


def conceal(problems: list[str], secrets: Iterable[str]) -> list[str]:
    """Take what comes from a vault out of sentences."""
    forms = {form for secret in secrets for form in (secret, repr(secret)[1:-1]) if form}
    # A short one alone is replaced as a word of its own only, for it is in other words as well.
    words = [re.escape(form) if len(form) > 3 else rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms]
    pattern = "|".join(sorted(words, key=len, reverse=True))
    return [re.sub(pattern, "(from a vault)", problem) for problem in problems] if pattern else problems


def without_credentials(text: str) -> str:
    """Return a text whose URLs show neither a login nor a query, which may hold a token."""
    return re.sub(r"(\w://)([^/?\s'\"]*@)?([^?\s'\"]*)(\?[^\s'\"]*)?", r"\1\3", text)
