"""Names of containers and blobs, and their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.blob.service.names import after_prefix, check_blob_name, check_container_name
from millpond.common.errors import ServiceError

TEXT = st.text(max_size=6)


@pytest.mark.parametrize("name", ["abc", "a-b", "0" * 63, "a1-b2-c3", "$root", "$logs", "$web"])
def test_good_container_names_pass(name: str) -> None:
    check_container_name(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ab", "OutOfRangeInput"),
        ("a" * 64, "OutOfRangeInput"),
        ("", "OutOfRangeInput"),
        ("ABC", "InvalidResourceName"),
        ("a_b", "InvalidResourceName"),
        ("-abc", "InvalidResourceName"),
        ("abc-", "InvalidResourceName"),
        ("a--b", "InvalidResourceName"),
        ("abc\n", "InvalidResourceName"),
        ("...", "InvalidResourceName"),
        ("$other", "InvalidResourceName"),
        ("åäö", "InvalidResourceName"),
        ("abc\0", "InvalidResourceName"),
    ],
)
def test_bad_container_names_have_the_services_code(name: str, code: str) -> None:
    with pytest.raises(ServiceError) as failure:
        check_container_name(name)
    assert failure.value.code == code


@pytest.mark.parametrize("name", ["a", "..", "a/../b", "a" * 1024, "a//b", "/".join("a" * 254), "\U0001f600", "\x01"])
def test_good_blob_names_pass(name: str) -> None:
    check_blob_name(name)


@pytest.mark.parametrize("name", ["a" * 1025, "/".join("a" * 255), "a\0b"])
def test_bad_blob_names_fail(name: str) -> None:
    with pytest.raises(ServiceError, match="InvalidResourceName"):
        check_blob_name(name)


@given(TEXT, TEXT)
def test_after_prefix_parts_the_names_with_a_prefix_from_all_that_follow(prefix: str, other: str) -> None:
    before = after_prefix(prefix)
    encoded = other.encode()
    is_within = prefix <= other and (before is None or other < before)
    assert is_within == other.startswith(prefix)
    assert before is None or (other >= before) == (encoded >= before.encode())  # as the database orders them
