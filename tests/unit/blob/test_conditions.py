"""What a failed condition means."""

from __future__ import annotations

import pytest

from millpond.blob.service.conditions import Demands, NotModifiedError, check_read, check_write
from millpond.common.clock import SECOND, from_iso, to_etag
from millpond.common.conditions import Conditions
from millpond.common.errors import ServiceError

MODIFIED = from_iso("2026-01-01T00:00:00.5Z")
ETAG = to_etag(MODIFIED)
BEFORE, AFTER = MODIFIED - 10 * SECOND, MODIFIED + 10 * SECOND

READS: list[tuple[Conditions, str | None]] = [
    (Conditions(), None),
    (Conditions(if_match=(ETAG,)), None),
    (Conditions(if_match=("*",)), None),
    (Conditions(if_match=("0x1",)), "ConditionNotMet"),
    (Conditions(if_none_match=("0x1",)), None),
    (Conditions(if_none_match=(ETAG,)), "304"),
    (Conditions(if_none_match=("*",)), "304"),
    (Conditions(if_modified_since=BEFORE), None),
    (Conditions(if_modified_since=AFTER), "304"),
    (Conditions(if_unmodified_since=AFTER), None),
    (Conditions(if_unmodified_since=BEFORE), "ConditionNotMet"),
    (Conditions(if_unmodified_since=0), "ConditionNotMet"),
    (Conditions(if_match=("0x1",), if_none_match=(ETAG,)), "ConditionNotMet"),
]
WRITES: list[tuple[Conditions, str | None, str | None]] = [
    # for a blob that exists, and for one that does not
    (Conditions(), None, None),
    (Conditions(if_match=(ETAG,)), None, "ConditionNotMet"),
    (Conditions(if_match=("*",)), None, "ConditionNotMet"),
    (Conditions(if_match=("0x1",)), "ConditionNotMet", "ConditionNotMet"),
    (Conditions(if_none_match=("*",)), "BlobAlreadyExists", None),
    (Conditions(if_none_match=(ETAG,)), "ConditionNotMet", None),
    (Conditions(if_none_match=("0x1",)), None, None),
    (Conditions(if_modified_since=AFTER), "ConditionNotMet", None),
    (Conditions(if_unmodified_since=BEFORE), "ConditionNotMet", "ConditionNotMet"),
    (Conditions(if_match=("0x1",), if_none_match=("*",)), "ConditionNotMet", "ConditionNotMet"),
]


def outcome_of_read(demands: Demands) -> str | None:
    try:
        check_read(demands, MODIFIED)
    except NotModifiedError as outcome:
        assert outcome.last_modified == MODIFIED
        return "304"
    except ServiceError as failure:
        return failure.code
    return None


def outcome_of_write(demands: Demands, last_modified: int | None) -> str | None:
    try:
        check_write(demands, last_modified)
    except ServiceError as failure:
        return failure.code
    return None


@pytest.mark.parametrize(("conditions", "outcome"), READS)
def test_a_read_fails_or_has_nothing_new(conditions: Conditions, outcome: str | None) -> None:
    assert outcome_of_read(Demands(conditions)) == outcome


@pytest.mark.parametrize(("conditions", "existing", "missing"), WRITES)
def test_a_write_fails(conditions: Conditions, existing: str | None, missing: str | None) -> None:
    assert outcome_of_write(Demands(conditions), MODIFIED) == existing
    assert outcome_of_write(Demands(conditions), None) == missing


def test_a_lease_that_nobody_has_is_not_held() -> None:
    demands = Demands(lease_id="7d4c7a7e-0000-0000-0000-000000000000")
    assert outcome_of_read(demands) == "LeaseNotPresentWithBlobOperation"
    assert outcome_of_write(demands, MODIFIED) == "LeaseNotPresentWithBlobOperation"
