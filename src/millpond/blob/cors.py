"""Which origins browsers may use an account's blobs from. Pure.

https://learn.microsoft.com/rest/api/storageservices/cross-origin-resource-sharing--cors--support-for-the-azure-storage-services
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .properties import CorsRule


class Grant(NamedTuple):
    """The first rule that a request matches, and whether that is for any origin."""

    rule: CorsRule
    is_for_all: bool

    def exposed(self, names: Iterable[str]) -> list[str]:
        """Those headers of an answer that scripts may read."""
        patterns = _items(self.rule.exposed_headers)
        return sorted({name for name in names if any(_matches(pattern, name) for pattern in patterns)})


def find_grant(rules: Sequence[CorsRule], origin: str, method: str, headers: Iterable[str] = ()) -> Grant | None:
    """``headers``: those that a preflight asks for, which the rule must allow."""
    wanted = list(headers)
    for rule in rules:
        origins = _items(rule.allowed_origins)
        is_for_all = "*" in origins
        if not is_for_all and not any(_is_origin(pattern, origin) for pattern in origins):
            continue
        if method not in _items(rule.allowed_methods):
            continue
        allowed = _items(rule.allowed_headers)
        if all(any(_matches(pattern, name) for pattern in allowed) for name in wanted):
            return Grant(rule, is_for_all)
    return None


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _is_origin(pattern: str, origin: str) -> bool:
    """The same text, or any subdomain where the pattern is ``https://*.example.com``."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == origin
    return len(origin) > len(before + after) and origin.startswith(before) and origin.endswith(after)


def _matches(pattern: str, name: str) -> bool:
    """The same name, or one that begins so where the pattern ends with an asterisk."""
    pattern, name = pattern.lower(), name.lower()
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
