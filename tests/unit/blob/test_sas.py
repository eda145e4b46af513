"""Shared access signatures: what they sign, and what they allow."""

from __future__ import annotations

import pytest

from millpond.blob.auth import sas
from millpond.blob.auth.sas import Sas
from millpond.blob.model import ResourceName, StoredPolicy
from millpond.common.clock import from_iso
from millpond.common.errors import ServiceError

NOW = from_iso("2026-06-01T12:00:00Z")
BLOB = ResourceName("acct", "cont", "dir/b c.txt")

FIELDS = {
    "sp": "rw",
    "st": "2026-01-01",
    "se": "2027-01-01T00:00:00Z",
    "sip": "127.0.0.1",
    "spr": "https,http",
    "si": "policy",
    "sr": "bs",
    "snapshot": "snap",
    "ses": "scope",
    "rscc": "cc",
    "rscd": "cd",
    "rsce": "ce",
    "rscl": "cl",
    "rsct": "ct",
    "sig": "x",
}
START = ["rw", "2026-01-01", "2027-01-01T00:00:00Z", "/blob/acct/cont/dir/b c.txt", "policy"]
END = ["cc", "cd", "ce", "cl", "ct"]


def read(**fields: str) -> Sas:
    return sas.read_sas({name: [value] for name, value in fields.items()})


@pytest.mark.parametrize(
    ("version", "middle"),
    [
        ("2015-02-21", ["2015-02-21"]),
        ("2015-04-05", ["127.0.0.1", "https,http", "2015-04-05"]),
        ("2018-03-28", ["127.0.0.1", "https,http", "2018-03-28"]),
        ("2018-11-09", ["127.0.0.1", "https,http", "2018-11-09", "bs", "snap"]),
        ("2020-10-02", ["127.0.0.1", "https,http", "2020-10-02", "bs", "snap"]),
        ("2020-12-06", ["127.0.0.1", "https,http", "2020-12-06", "bs", "snap", "scope"]),
        ("2026-10-06", ["127.0.0.1", "https,http", "2026-10-06", "bs", "snap", "scope"]),
        ("2099-01-01", ["127.0.0.1", "https,http", "2099-01-01", "bs", "snap", "scope"]),
    ],
)
def test_a_service_sas_signs_what_its_version_says(version: str, middle: list[str]) -> None:
    assert sas.string_to_sign(read(sv=version, **FIELDS), BLOB) == "\n".join([*START, *middle, *END])


def test_the_service_is_not_part_of_the_resource_before_2015() -> None:
    text = sas.string_to_sign(read(sv="2013-08-15", sr="b"), BLOB)
    assert text.split("\n")[3] == "/acct/cont/dir/b c.txt"


def test_a_container_sas_signs_the_container_whatever_blob_it_is_used_on() -> None:
    text = sas.string_to_sign(read(sv="2021-01-01", sr="c"), BLOB)
    assert text.split("\n")[3] == "/blob/acct/cont"


@pytest.mark.parametrize(
    ("depth", "blob", "signed"),
    [
        ("1", "dir", "/dir"),
        ("1", "dir/b c.txt", "/dir"),
        ("1", "directory/b", "/directory"),
        ("2", "dir/sub/a/b", "/dir/sub"),
        ("2", "dir", "/dir"),
        ("2", "dir//b", "/dir/"),
        ("0", "dir/b", "/"),
        ("0", "", "/"),
    ],
)
def test_the_sas_of_a_directory_signs_so_many_segments_of_the_blobs_name(depth: str, blob: str, signed: str) -> None:
    text = sas.string_to_sign(read(sv="2026-10-06", sr="d", sdd=depth), BLOB._replace(blob=blob))
    assert text.split("\n")[3] == f"/blob/acct/cont{signed}"


@pytest.mark.parametrize(("version", "end"), [("2015-04-05", []), ("2020-10-02", []), ("2020-12-06", ["scope"])])
def test_an_account_sas_signs_its_fields_and_a_last_line_end(version: str, end: list[str]) -> None:
    fields = FIELDS | {"ss": "bf", "srt": "co", "sv": version}
    lines = ["acct", "rw", "bf", "co", *START[1:3], "127.0.0.1", "https,http", version, *end, ""]
    assert sas.string_to_sign(read(**fields), BLOB) == "\n".join(lines)


def test_a_plus_sign_that_was_not_encoded_is_still_one() -> None:
    assert read(sig="a b+c=").signature == "a+b+c="


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"sr": "b"}, "sv is mandatory"),
        ({"sv": "2012-02-12", "sr": "b"}, "sv=2012-02-12"),
        ({"sv": "2021-01-01"}, "sr is mandatory"),
        ({"sv": "2021-01-01", "sr": "f"}, "sr=f"),
        ({"sv": "2019-12-12", "sr": "d", "sdd": "1"}, "sr=d"),
        ({"sv": "2021-01-01", "sr": "d"}, "sdd"),
        ({"sv": "2021-01-01", "sr": "d", "ss": "b", "srt": "o"}, "sdd"),
        ({"sv": "2021-01-01", "sr": "d", "sdd": "-1"}, "sdd"),
        ({"sv": "2021-01-01", "sr": "d", "sdd": "1" * 5000}, "sdd"),
        ({"sv": "2021-01-01", "ss": "b"}, "srt is mandatory"),
        ({"sv": "2021-01-01", "srt": "o"}, "ss is mandatory"),
        ({"sv": "2020-10-02", "sr": "b", "ses": "scope"}, "ses is not supported by sv=2020-10-02"),
        ({"sv": "2021-01-01", "sr": "b", "ses": "scope\n"}, "line break"),
        ({"sv": "2021-01-01", "sr": "b", "sip": "10.0.0.1\nhttps"}, "line break"),
    ],
)
def test_a_sas_without_a_field_fails_and_says_which(fields: dict[str, str], detail: str) -> None:
    with pytest.raises(ServiceError, match="AuthenticationFailed") as failure:
        sas.check_form(read(**fields))
    assert detail in failure.value.details[0][1]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, None),
        ({"st": "2026-06-01T12:00:00Z"}, None),
        ({"st": "2026-06-01T12:00:01Z"}, "AuthenticationFailed"),
        ({"se": "2026-06-01T12:00:00Z"}, "AuthenticationFailed"),
        ({"se": "2026-06-01T12:00:01Z"}, None),
        ({"se": "2026-06-02"}, None),
        ({"se": "2026-06-01T13:00Z"}, None),
        ({"se": ""}, "AuthenticationFailed"),
        ({"se": "tomorrow"}, "AuthenticationFailed"),
        ({"se": "2026-13-01"}, "AuthenticationFailed"),
        ({"spr": "https"}, "AuthorizationProtocolMismatch"),
        ({"spr": "https,http"}, None),
        ({"spr": "http"}, "AuthenticationFailed"),
        ({"sip": "10.0.0.7"}, None),
        ({"sip": "10.0.0.8"}, "AuthorizationSourceIPMismatch"),
        ({"sip": "10.0.0.1-10.0.0.7"}, None),
        ({"sip": "10.0.0.8-10.0.0.9"}, "AuthorizationSourceIPMismatch"),
        ({"sip": "::1"}, "AuthorizationSourceIPMismatch"),
        ({"sip": "elsewhere"}, "AuthorizationSourceIPMismatch"),
    ],
)
def test_time_protocol_and_address_are_checked(fields: dict[str, str], code: str | None) -> None:
    signed = read(**({"sv": "2021-01-01", "se": "2027-01-01"} | fields))
    if code is None:
        sas.check_use(signed, now=NOW, scheme="http", address="10.0.0.7")
        return
    with pytest.raises(ServiceError) as failure:
        sas.check_use(signed, now=NOW, scheme="http", address="10.0.0.7")
    assert failure.value.code == code


def test_https_serves_a_signature_for_https_and_an_ipv4_address_may_be_mapped() -> None:
    signed = read(sv="2021-01-01", se="2027-01-01", spr="https", sip="10.0.0.7")
    sas.check_use(signed, now=NOW, scheme="https", address="::ffff:10.0.0.7")


def test_a_stored_policy_gives_what_the_signature_leaves_out() -> None:
    policy = StoredPolicy("p", "2026-01-01", "2027-01-01", "rl")
    found = sas.with_policy(read(sv="2021-01-01", sr="c", si="p"), [StoredPolicy("q"), policy])
    assert (found.start, found.expiry, found.permissions) == ("2026-01-01", "2027-01-01", "rl")


def test_a_field_may_not_be_set_twice_nor_a_policy_be_missing() -> None:
    policies = [StoredPolicy("p", "", "2027-01-01", "")]
    for fields in ({"si": "p", "se": "2028-01-01"}, {"si": "gone"}):
        with pytest.raises(ServiceError, match="AuthenticationFailed"):
            sas.with_policy(read(sv="2021-01-01", sr="c", **fields), policies)


def test_overrides_are_header_values_only() -> None:
    assert sas.overrides(read(rsct="text/html", rscd="inline")) == {
        "content-type": "text/html",
        "content-disposition": "inline",
    }
    with pytest.raises(ServiceError, match="InvalidQueryParameterValue"):
        sas.overrides(read(rscd="inline\r\nx-evil: 1"))


@pytest.mark.parametrize(("resource", "signed"), [("b", ""), ("c", ""), ("bs", "snap"), ("bv", "version")])
def test_only_the_sas_of_a_snapshot_or_version_signs_which_one_it_is(resource: str, signed: str) -> None:
    fields = {"sv": "2020-12-06", "sr": resource, "snapshot": "snap", "versionid": "version"}
    assert sas.string_to_sign(read(**fields), BLOB).split("\n")[9] == signed
