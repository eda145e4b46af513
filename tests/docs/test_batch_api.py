"""The reference page of the Batch API says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.batch_api.reference import error_codes

from millpond.batch.api import versions
from millpond.batch.api.unbuilt import REFUSED
from millpond.batch.api.wire.fields import wire_name
from millpond.batch.errors import error

_PAGE = (Path(__file__).parents[2] / "docs/reference/batch-api.md").read_text()
_REFUSED = _PAGE.partition("## What has no effect yet")[2]


def test_every_refused_member_is_named() -> None:
    refused = {wire_name(name) for names in REFUSED.values() for name in names}
    table = "\n".join(line.split("|")[2] for line in _REFUSED.splitlines() if line.startswith("|"))
    named = {name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)`", table)}
    assert named == refused


def test_the_span_of_versions_is_right() -> None:
    assert f"from {versions.OLDEST}" in _PAGE
    assert f"to {versions.NEWEST}" in _PAGE


#: What looks like the code of an error, and is something else.
_OTHERS = {"Date", "MaxLimit", "PropertyName", "PropertyValue", "Range", "Reason", "TaskFailed"}
#: Why tasks fail and pools are not resized, which no answer's error says.
_PUBLISHED = error_codes()
_FAILURES = {code for codes in _PUBLISHED["taskFailureCodes"].values() for code in codes}
_RESIZE_ERRORS = set(_PUBLISHED["poolResizeErrorCodes"])


@pytest.mark.parametrize("code", sorted(set(re.findall(r"`([A-Z]\w+)`", _PAGE)) - _OTHERS - _FAILURES - _RESIZE_ERRORS))
def test_codes_are_the_services_with_the_status_that_is_named(code: str) -> None:
    statuses = {int(status) for status in re.findall(rf"(\d\d\d)[^|\d]*`{code}`", _PAGE)}
    assert statuses <= {error(code).status}
