"""What a request's URL and headers are taken to mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.blob.requests import make_accounts, make_request

from millpond.blob.api import headers, paging
from millpond.blob.model import CURRENT, ResourceName
from millpond.blob.moments import to_snapshot
from millpond.blob.request import DEFAULT_VERSION, Request, parse_query
from millpond.blob.service.blobs import Span
from millpond.common.config import Accounts
from millpond.common.errors import ServiceError

KEY = "SharedKey acct:c2ln"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return make_accounts(tmp_path, "acct", "other")


def read(request: Request, query: bytes, accounts: Accounts) -> Request:
    request.read(query, accounts)
    return request


def located(accounts: Accounts, path: str, query: bytes = b"", authorization: str = "") -> ResourceName:
    headers = {"Authorization": authorization} if authorization else {}
    return read(make_request(path=path, headers=headers), query, accounts).resource


# --- the URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/acct", b"comp=list", ("acct", "", "")),
        ("/acct/", b"comp=list", ("acct", "", "")),
        ("/acct/cont", b"restype=container", ("acct", "cont", "")),
        ("/acct/cont/", b"restype=container", ("acct", "cont", "")),
        ("/acct/cont/b", b"", ("acct", "cont", "b")),
        ("/acct/cont/dir/a%20b%2Bc", b"", ("acct", "cont", "dir/a b+c")),
        ("/acct/cont/dir%2Fb", b"", ("acct", "cont", "dir/b")),
        ("/acct/cont/a%2520b", b"", ("acct", "cont", "a%20b")),
        ("/acct/cont/%C3%A5+%F0%9F%98%80", b"", ("acct", "cont", "å+\U0001f600")),
        ("/acct/cont//a//b/", b"", ("acct", "cont", "/a//b/")),
        ("/acct/cont/../other/b", b"", ("acct", "cont", "../other/b")),
        ("/acct/cont/%2e%2e/b", b"", ("acct", "cont", "../b")),
        ("/acct/..%2Fother%2Fb/x", b"", ("acct", "../other/b", "x")),
        ("/acct/root.txt", b"", ("acct", "$root", "root.txt")),
    ],
)
def test_a_path_names_account_container_and_blob(
    accounts: Accounts, path: str, query: bytes, name: tuple[str, str, str]
) -> None:
    assert located(accounts, path, query) == ResourceName(*name)


@pytest.mark.parametrize("host", ["acct.blob.localhost:10000", "ACCT.blob.example.org", "acct.localhost"])
def test_a_host_may_name_the_account(accounts: Accounts, host: str) -> None:
    request = read(make_request(path="/cont/acct/b", host=host), b"", accounts)
    assert request.resource == ResourceName("acct", "cont", "acct/b")
    assert request.endpoint == f"http://{host}/"


def test_the_endpoint_of_a_path_ends_with_the_account(accounts: Accounts) -> None:
    assert read(make_request(path="/acct/cont/b"), b"", accounts).endpoint == "http://127.0.0.1:10000/acct/"


def test_a_path_without_the_account_means_that_of_the_signature(accounts: Accounts) -> None:
    assert located(accounts, "/cont", b"restype=container", authorization=KEY) == ResourceName("acct", "cont")
    assert located(accounts, "/cont/b", authorization="SharedKeyLite other:x") == ResourceName("other", "cont", "b")


def test_a_sas_without_an_account_means_the_only_one(tmp_path: Path) -> None:
    assert located(make_accounts(tmp_path, "sole"), "/cont/b", b"sv=2021-01-01&sig=x") == ResourceName(
        "sole", "cont", "b"
    )


@pytest.mark.parametrize(
    ("path", "authorization", "code"),
    [
        ("/nobody/cont/b", "", "ResourceNotFound"),
        ("/nobody/cont/b", "SharedKey nobody:x", "AuthenticationFailed"),
        ("/nobody/cont/b", "Bearer x", "AuthenticationFailed"),
        ("/acct/cont/%FF", "", "InvalidUri"),
        ("/acct/cont/%ED%A0%80", "", "InvalidUri"),
        ("/acct/%C0%AE%C0%AE/b", "", "InvalidUri"),
    ],
)
def test_what_names_nothing_fails(accounts: Accounts, path: str, authorization: str, code: str) -> None:
    with pytest.raises(ServiceError) as failure:
        located(accounts, path, authorization=authorization)
    assert failure.value.code == code


def test_a_query_is_decoded_once() -> None:
    query = parse_query(b"Prefix=a%20b+c%2Bd&include=&flag&x=1&X=2&y=%2520")
    assert query == {"prefix": ["a b c+d"], "include": [""], "flag": [""], "x": ["1", "2"], "y": ["%20"]}
    with pytest.raises(ServiceError, match="InvalidQueryParameterValue"):
        parse_query(b"prefix=%FF")


# --- the version -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "query", "version"),
    [
        ("2015-02-21", b"", "2015-02-21"),
        ("2099-12-31", b"", "2099-12-31"),
        ("", b"sv=2018-03-28", "2018-03-28"),
        ("2020-06-12", b"sv=2018-03-28", "2020-06-12"),
        ("", b"", DEFAULT_VERSION),
        ("", b"sv=nonsense", DEFAULT_VERSION),
    ],
)
def test_the_version_is_the_headers_or_the_signatures(
    accounts: Accounts, header: str, query: bytes, version: str
) -> None:
    options = {"x-ms-version": header} if header else {}
    assert read(make_request(path="/acct", headers=options), query, accounts).version == version


@pytest.mark.parametrize("version", ["2014-02-14", "latest", "2021-1-1", "2021-01-01x"])
def test_an_unknown_form_of_version_or_one_too_old_fails(accounts: Accounts, version: str) -> None:
    with pytest.raises(ServiceError, match="InvalidHeaderValue"):
        read(make_request(path="/acct", headers={"x-ms-version": version}), b"", accounts)


# --- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "span"),
    [
        ({}, None),
        ({"x-ms-range": "bytes=0-0"}, Span(0, 1)),
        ({"x-ms-range": "bytes=5-"}, Span(5)),
        ({"Range": "bytes=5-9"}, Span(5, 10)),
        ({"x-ms-range": "bytes=1-2", "Range": "bytes=5-9"}, Span(1, 3)),
        ({"Range": "bytes=9-5"}, None),
        ({"Range": "bytes=-5"}, None),
        ({"Range": "bytes=0-1,3-4"}, None),
        ({"Range": "lines=1-2"}, None),
    ],
)
def test_a_range_is_read(given: dict[str, str], span: Span | None) -> None:
    assert headers.span(make_request(headers=given)) == span


@pytest.mark.parametrize("text", ["bytes=9-5", "bytes=-5", "bytes=0-1,3-4", "0-5", f"bytes=0-{'9' * 40}"])
def test_a_malformed_range_of_the_services_own_fails(text: str) -> None:
    with pytest.raises(ServiceError, match="InvalidHeaderValue") as failure:
        headers.span(make_request(headers={"x-ms-range": text}))
    assert failure.value.details == (("HeaderName", "x-ms-range"), ("HeaderValue", text))


def test_metadata_keeps_the_case_of_its_names_where_the_server_tells() -> None:
    given = {"X-Ms-Meta-Author": "Å", "x-ms-meta-_n1": "2"}
    assert headers.metadata(make_request(headers=given)) == {"Author": "Å", "_n1": "2"}
    assert headers.metadata(make_request(headers=given, sent_names=False)) == {"author": "Å", "_n1": "2"}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("x-ms-meta-", "v", "EmptyMetadataKey"),
        ("x-ms-meta-1a", "v", "InvalidMetadata"),
        ("x-ms-meta-a-b", "v", "InvalidMetadata"),
        ("x-ms-meta-a", "v" * 8192, "MetadataTooLarge"),
    ],
)
def test_bad_metadata_fails(name: str, value: str, code: str) -> None:
    with pytest.raises(ServiceError) as failure:
        headers.metadata(make_request(headers={name: value}))
    assert failure.value.code == code


def test_content_properties_prefer_the_services_own_headers() -> None:
    given = {"Content-Type": "a/b", "x-ms-blob-content-type": "c/d", "Content-Language": "en", "Cache-Control": "no"}
    found = headers.content_properties(make_request(headers=given))
    assert (found.content_type, found.content_language, found.cache_control) == ("c/d", "en", "no")
    assert headers.content_properties(make_request(headers=given), only_own=True).content_language == ""
    assert headers.content_properties(make_request()).content_type == "application/octet-stream"


def test_checksums_are_of_their_size() -> None:
    assert headers.md5(make_request(headers={"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="})).hex().startswith("5d41402a")
    for text in ("XUFAKrxLKna5cZ2REBf=", "not base64!", "é"):
        with pytest.raises(ServiceError, match="InvalidMd5"):
            headers.md5(make_request(headers={"Content-MD5": text}))
    with pytest.raises(ServiceError, match="InvalidHeaderValue"):
        headers.crc64(make_request(headers={"x-ms-content-crc64": "XUFAKrxLKna5cZ2REBfFkg=="}))


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since"])
def test_a_date_that_is_none_fails(name: str) -> None:
    with pytest.raises(ServiceError, match="InvalidHeaderValue"):
        headers.conditions(make_request(headers={name: "yesterday"}))


# --- lists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "size"), [(b"", 5000), (b"maxresults=", 5000), (b"maxresults=7", 7), (b"maxresults=99999", 5000)]
)
def test_a_page_has_a_size(accounts: Accounts, query: bytes, size: int) -> None:
    assert paging.page_size(read(make_request(path="/acct"), query, accounts)) == size


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"0", "OutOfRangeQueryParameterValue"),
        (b"-1", "OutOfRangeQueryParameterValue"),
        (b"9" * 30, "OutOfRangeQueryParameterValue"),
        (b"ten", "InvalidQueryParameterValue"),
        (b"-", "InvalidQueryParameterValue"),
    ],
)
def test_a_page_size_that_is_none_fails(accounts: Accounts, text: bytes, code: str) -> None:
    with pytest.raises(ServiceError) as failure:
        paging.page_size(read(make_request(path="/acct"), b"maxresults=" + text, accounts))
    assert failure.value.code == code


def test_a_marker_leads_to_where_it_was_made(accounts: Accounts) -> None:
    name = "dir/å \U0001f600"
    for generation in (0, CURRENT):
        query = f"marker={paging.marker_for(name, generation)}".encode()
        assert paging.position(read(make_request(path="/acct"), query, accounts)) == (name, generation)
    assert paging.position(read(make_request(path="/acct"), b"", accounts)) == ("", 0)
    for text in (b"%21", b"YQBi"):
        with pytest.raises(ServiceError, match="InvalidQueryParameterValue"):
            paging.position(read(make_request(path="/acct"), b"marker=" + text, accounts))


def test_a_snapshot_or_version_is_named_by_its_moment(accounts: Accounts) -> None:
    moment = "2026-01-02T03:04:05.6789010Z"
    for name in ("snapshot", "versionid"):
        resource = located(accounts, "/acct/cont/b", f"{name}={moment}".encode())
        assert to_snapshot(resource.snapshot or resource.version) == moment
        assert bool(resource.snapshot) == (name == "snapshot")
        assert located(accounts, "/acct/cont/b", f"{name}={moment[:-2]}1Z".encode()) != resource
        for text in ("2026-01-02", "2026-13-02T03:04:05.6789010Z", "x"):
            with pytest.raises(ServiceError, match="InvalidQueryParameterValue"):
                located(accounts, "/acct/cont/b", f"{name}={text}".encode())


def test_include_takes_known_words_and_blanks(accounts: Accounts) -> None:
    known = frozenset({"metadata", "copy"})
    request = read(make_request(path="/acct"), b"include=&include=Metadata,copy", accounts)
    assert paging.included(request, known) == known
    with pytest.raises(ServiceError, match="InvalidQueryParameterValue"):
        paging.included(read(make_request(path="/acct"), b"include=other", accounts), known)
