"""The tags of blobs, and conditions on them. Pure.

https://learn.microsoft.com/rest/api/storageservices/set-blob-tags
https://learn.microsoft.com/rest/api/storageservices/find-blobs-by-tags
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from .errors import error
from .model import Tags

if TYPE_CHECKING:
    from lark import Lark

#: What stands for the name of a blob's container in a search.
CONTAINER_KEY: Final = "@container"
#: Most tags of a blob, and most characters of a tag's key and value.
MAX_TAGS: Final = 10
_MAX_KEY = 128
_MAX_VALUE = 256
_TEXT = re.compile(r"[A-Za-z0-9 +\-./:=_]*")
_OPERATORS: Final = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Comparison(NamedTuple):
    key: str
    operator: str
    value: str

    def holds_for(self, tags: Tags) -> bool:
        """Values are compared as texts; a tag that a blob does not have differs from all, and is none of the rest."""
        value = tags.get(self.key)
        if value is None:
            return self.operator == "<>"
        return bool(_OPERATORS[self.operator](value, self.value))


class TagCondition(NamedTuple):
    """Holds where all comparisons of any one of the alternatives do."""

    alternatives: tuple[tuple[Comparison, ...], ...]

    def holds_for(self, tags: Tags) -> bool:
        return any(all(each.holds_for(tags) for each in comparisons) for comparisons in self.alternatives)


class TagSearch(NamedTuple):
    """What Find Blobs by Tags looks for: comparisons that all hold, some of them with the container's name."""

    comparisons: tuple[Comparison, ...]

    def holds_for(self, container: str, tags: Tags) -> bool:
        known = {**tags, CONTAINER_KEY: container}
        return all(each.holds_for(known) for each in self.comparisons)

    def may_hold_in(self, container: str) -> bool:
        names = {CONTAINER_KEY: container}
        return all(each.holds_for(names) for each in self.comparisons if each.key == CONTAINER_KEY)

    def shown(self, tags: Tags) -> Tags:
        """Those of a blob's tags that it was found by."""
        keys = {each.key for each in self.comparisons}
        return {key: value for key, value in tags.items() if key in keys}


def check_tags(pairs: Iterable[tuple[str, str]]) -> Tags:
    """Tags of keys and values. Raises ``InvalidTags`` or ``TagsTooLarge``."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key or key in tags or not _TEXT.fullmatch(key) or not _TEXT.fullmatch(value):
            raise error("InvalidTags")
        if len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
            raise error("TagsTooLarge")
        tags[key] = value
    if len(tags) > MAX_TAGS:
        raise error("TagsTooLarge")
    return tags


def read_tags(text: str) -> Tags:
    """Tags as a header has them: written as the query of a URL."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []
    except ValueError:
        raise error("InvalidTags") from None
    return check_tags(pairs)


def read_condition(text: str) -> TagCondition:
    """Raises ``ValueError`` that says what is wrong."""
    condition = _parsed(text)
    if any(each.key == CONTAINER_KEY for comparisons in condition.alternatives for each in comparisons):
        raise ValueError(f"{CONTAINER_KEY} is for searches alone.")
    return condition


def read_search(text: str) -> TagSearch:
    """Raises ``ValueError`` that says what is wrong."""
    alternatives = _parsed(text).alternatives
    if len(alternatives) > 1:
        raise ValueError("A search has no OR.")
    (comparisons,) = alternatives
    if any(each.operator == "<>" for each in comparisons):
        raise ValueError("A search has no <>.")
    return TagSearch(comparisons)


def _parsed(text: str) -> TagCondition:
    from lark.exceptions import UnexpectedInput

    try:
        tree: Any = _grammar().parse(text)
    except UnexpectedInput as problem:
        raise ValueError(f"The expression cannot be understood at position {problem.column}.") from None
    return TagCondition(tuple(tuple(_comparison(each) for each in part.children) for part in tree.children))


def _comparison(tree: Any) -> Comparison:
    key, symbol, value = tree.children
    if key.lower() == CONTAINER_KEY:
        return Comparison(CONTAINER_KEY, str(symbol), value[1:-1])
    return Comparison(key.strip('"'), str(symbol), value[1:-1])


@functools.cache
def _grammar() -> Lark:
    from lark import Lark

    return Lark(Path(__file__).with_name("tags.lark").read_text(), parser="lalr", start="expression")
