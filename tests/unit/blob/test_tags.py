"""Tags of blobs, and expressions on them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.blob.tags import check_tags, read_condition, read_search, read_tags
from millpond.common.errors import ServiceError

TAGS = {"a": "5", "b c": "x", "order": "and"}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("a='5'", True),
        ("a = '6'", False),
        ("a<>'6'", True),
        ("none<>'6'", True),
        ("none='' ", False),
        ("none>''", False),
        ("\"b c\"='x' AND a='5'", True),
        ("order='and'", True),
        ("a='1' or a='5'", True),
        ("a='5' OR a='1' AND a='2'", True),
        ("a='1' AND a='2' OR a='5'", True),
        ("a>'4' and a<'6'", True),
        ("a>='5' AND a<='5'", True),
        ("a>'41'", True),
    ],
)
def test_a_condition_holds_or_not(expression: str, holds: bool) -> None:
    assert read_condition(expression).holds_for(TAGS) is holds


@pytest.mark.parametrize("expression", ["", "a", "a=5", "a='5' AND", "a='5' b='6'", "@container='c'", "a=='5'", "a='"])
def test_what_is_no_condition(expression: str) -> None:
    with pytest.raises(ValueError, match=r"understood|searches"):
        read_condition(expression)


@pytest.mark.parametrize("expression", ["a='1' OR a='2'", "a<>'1'", ""])
def test_what_is_no_search(expression: str) -> None:
    with pytest.raises(ValueError, match=r"understood|search has no"):
        read_search(expression)


def test_a_search_names_containers_too() -> None:
    search = read_search("@Container='cont' AND a='5'")
    assert search.holds_for("cont", TAGS)
    assert not search.holds_for("other", TAGS)
    assert search.may_hold_in("cont")
    assert not search.may_hold_in("other")
    assert search.shown(TAGS) == {"a": "5"}


@pytest.mark.parametrize("text", ["=v", "a=%00", "a=1&a=2", "a", "a=%ff", "a=1&&b=2", "k%C3%A5=1", "a='"])
def test_a_header_that_has_no_tags(text: str) -> None:
    with pytest.raises(ServiceError) as failure:
        read_tags(text)
    assert (failure.value.status, failure.value.code) == (400, "InvalidTags")


@pytest.mark.parametrize("pairs", [[("k" * 129, "")], [("k", "v" * 257)], [(str(number), "") for number in range(11)]])
def test_too_much_for_tags(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ServiceError) as failure:
        check_tags(pairs)
    assert failure.value.code == "TagsTooLarge"


_texts = st.text(string.ascii_letters + string.digits + " +-./:=_", max_size=20)


@given(st.dictionaries(_texts.filter(bool), _texts, min_size=1, max_size=10))
def test_tags_meet_the_condition_that_names_them(tags: dict[str, str]) -> None:
    assert check_tags(tags.items()) == tags
    expression = " AND ".join(f"\"{key}\"='{value}'" for key, value in tags.items())
    assert read_condition(expression).holds_for(tags)
    assert read_search(expression).shown(tags) == tags
