"""The strings that a Shared Key signs."""

from __future__ import annotations

from millpond.blob.auth.shared_key import lite_strings_to_sign, strings_to_sign

VERSION = {"x-ms-version": "2021-12-02", "x-ms-date": "Sun, 22 Nov 2026 14:07:56 GMT"}
SIGNED_VERSION = "x-ms-date:Sun, 22 Nov 2026 14:07:56 GMT\nx-ms-version:2021-12-02\n"


def signed(method: str, path: str, query: dict[str, list[str]], headers: dict[str, str]) -> list[str]:
    return list(strings_to_sign("acct", method, path, query, headers))


def test_every_plain_header_has_its_line() -> None:
    headers = {
        "content-encoding": "1",
        "content-language": "2",
        "content-length": "3",
        "content-md5": "4",
        "content-type": "5",
        "date": "6",
        "if-modified-since": "7",
        "if-match": "8",
        "if-none-match": "9",
        "if-unmodified-since": "10",
        "range": "11",
    }
    assert signed("PUT", "/c/b", {}, headers) == ["PUT\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n/acct/c/b"]


def test_a_length_of_zero_and_a_date_beside_the_services_own_are_blank() -> None:
    headers = {"content-length": "0", "date": "Sun, 22 Nov 2026 14:07:56 GMT", **VERSION}
    assert signed("DELETE", "/c", {}, headers) == [f"DELETE\n\n\n\n\n\n\n\n\n\n\n\n{SIGNED_VERSION}/acct/c"]


def test_parameters_are_sorted_and_their_values_too() -> None:
    query = {"restype": ["container"], "comp": ["list"], "include": ["snapshots", "metadata"]}
    (text,) = signed("GET", "/acct/c", query, VERSION)
    assert text.endswith("/acct/acct/c\ncomp:list\ninclude:metadata,snapshots\nrestype:container")


def test_a_blank_parameter_is_signed_by_new_clients_and_left_out_by_old_ones() -> None:
    keeping, dropping = signed("GET", "/c", {"comp": ["list"], "include": [""]}, VERSION)
    assert keeping.endswith("/acct/c\ncomp:list\ninclude:")
    assert dropping.endswith("/acct/c\ncomp:list")


def test_the_path_is_signed_as_it_was_sent() -> None:
    (text,) = signed("GET", "/c/a%20b%2Fc", {}, VERSION)
    assert text.endswith("/acct/c/a%20b%2Fc")


def test_metadata_names_are_sorted_by_character_or_as_words() -> None:
    headers = {f"x-ms-meta-{name}": "v" for name in ("a_b", "a1", "aa")}
    by_character, as_words = signed("PUT", "/c", {}, headers)
    assert [line.split(":")[0] for line in by_character.splitlines() if "meta" in line] == [
        "x-ms-meta-a1",
        "x-ms-meta-a_b",
        "x-ms-meta-aa",
    ]
    assert [line.split(":")[0] for line in as_words.splitlines() if "meta" in line] == [
        "x-ms-meta-a_b",
        "x-ms-meta-a1",
        "x-ms-meta-aa",
    ]


def test_the_lite_scheme_signs_comp_alone_of_the_parameters() -> None:
    headers = {"content-md5": "m", "content-type": "t", **VERSION}
    query = {"restype": ["container"], "comp": ["list"]}
    (text,) = lite_strings_to_sign("acct", "GET", "/c", query, headers)
    assert text == f"GET\nm\nt\n\n{SIGNED_VERSION}/acct/c?comp=list"
