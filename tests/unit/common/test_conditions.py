import pytest

from millpond.common.clock import SECOND, to_etag
from millpond.common.conditions import Conditions, parse_etags

NOW = 1_600_000_000 * SECOND + 5
ETAG = to_etag(NOW)
BEFORE, AFTER = (NOW // SECOND - 1) * SECOND, (NOW // SECOND + 1) * SECOND


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        (Conditions(), True),
        (Conditions(if_match=(ETAG,)), True),
        (Conditions(if_match=("0x1", ETAG)), True),
        (Conditions(if_match=("0x1",)), False),
        (Conditions(if_match=("*",)), True),
        (Conditions(if_none_match=(ETAG,)), False),
        (Conditions(if_none_match=("0x1",)), True),
        (Conditions(if_none_match=("*",)), False),
        (Conditions(if_modified_since=BEFORE), True),
        (Conditions(if_modified_since=NOW - NOW % SECOND), False),
        (Conditions(if_unmodified_since=NOW - NOW % SECOND), True),
        (Conditions(if_unmodified_since=BEFORE), False),
        (Conditions(if_match=(ETAG,), if_unmodified_since=BEFORE), True),
        (Conditions(if_none_match=("0x1",), if_modified_since=AFTER), True),
    ],
)
def test_conditions_on_an_entity(conditions: Conditions, holds: bool) -> None:
    assert conditions.hold_for(NOW) is holds


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        (Conditions(), True),
        (Conditions(if_match=("*",)), False),
        (Conditions(if_none_match=("*",)), True),
        (Conditions(if_unmodified_since=AFTER), False),
    ],
)
def test_conditions_on_what_does_not_exist(conditions: Conditions, holds: bool) -> None:
    assert conditions.hold_for(None) is holds


@pytest.mark.parametrize(
    ("header", "etags"),
    [
        ('"0x8D"', ("0x8D",)),
        ("0x8D", ("0x8D",)),
        ('W/"0x8D", "0x8E"', ("0x8D", "0x8E")),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_etags_are_read_in_every_spelling(header: str, etags: tuple[str, ...]) -> None:
    assert parse_etags(header) == etags
