"""The XML documents."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tests.unit.blob.requests import make_request

from millpond.blob.api import xml
from millpond.blob.api.answer import error_answer
from millpond.blob.errors import error
from millpond.blob.model import Blob, Block, Container, ContentProperties, CopyState, Segment, StoredPolicy
from millpond.blob.request import Request
from millpond.blob.service.blobs import RangeError
from millpond.blob.service.blocks import BlockLists
from millpond.blob.service.containers import ContainerPage
from millpond.blob.service.listing import BlobPage, BlobPrefix
from millpond.common.errors import ServiceError

MOMENT = 1_780_000_000_500_000


def make_blob(name: str, **changes: object) -> Blob:
    properties = ContentProperties("text/plain", "gzip", "en", "inline", "no-cache", b"m" * 16)
    blob = Blob(1, 1, name, MOMENT, MOMENT, 5, properties, {"Key": "<v>"}, "", None, b"hello")
    return blob._replace(**changes)  # type: ignore[arg-type]


def request_of(query: dict[str, str]) -> Request:
    request = make_request()
    request.query = {name: [value] for name, value in query.items()}
    request.endpoint = "http://host/acct/"
    request.resource = request.resource._replace(container="cont")
    return request


def blobs_of(page: BlobPage, *include: str, **query: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml.blob_page(page, request_of(query), frozenset(include), MOMENT))


def test_a_blob_is_listed_with_its_properties() -> None:
    tree = blobs_of(BlobPage([make_blob("a&b")], None), "metadata", prefix="a", maxresults="9")
    assert tree.attrib == {"ServiceEndpoint": "http://host/acct/", "ContainerName": "cont"}
    assert [tree.findtext(name) for name in ("Prefix", "MaxResults", "NextMarker")] == ["a", "9", ""]
    properties = tree.find("Blobs/Blob/Properties")
    assert properties is not None
    assert {node.tag: node.text for node in properties} == {
        "Creation-Time": "Thu, 28 May 2026 20:26:40 GMT",
        "Last-Modified": "Thu, 28 May 2026 20:26:40 GMT",
        "Etag": "0x8DEBCF76D024B40",
        "Content-Length": "5",
        "Content-Type": "text/plain",
        "Content-Encoding": "gzip",
        "Content-Language": "en",
        "Content-MD5": "bW1tbW1tbW1tbW1tbW1tbQ==",
        "Cache-Control": "no-cache",
        "Content-Disposition": "inline",
        "BlobType": "BlockBlob",
        "AccessTier": "Hot",
        "AccessTierInferred": "true",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }
    assert tree.findtext("Blobs/Blob/Name") == "a&b"
    assert tree.findtext("Blobs/Blob/Metadata/Key") == "<v>"


def test_metadata_and_copies_are_listed_on_request_only() -> None:
    blob = make_blob("a", copy=CopyState("id", "http://host/acct/c/s", MOMENT), access_tier="Cool")
    plain, full = blobs_of(BlobPage([blob], None)), blobs_of(BlobPage([blob], None), "metadata", "copy")
    for path in ("Blobs/Blob/Metadata", "Blobs/Blob/Properties/CopyId"):
        assert plain.find(path) is None
        assert full.find(path) is not None
    assert full.findtext("Blobs/Blob/Properties/CopySource") == "http://host/acct/c/s"
    assert plain.findtext("Blobs/Blob/Properties/AccessTier") == "Cool"
    assert plain.find("Blobs/Blob/Properties/AccessTierInferred") is None


@pytest.mark.parametrize("name", ["a b", "<&>\"'", "å\U0001f600", "a\tb\nc\rd", "  "])
def test_any_name_comes_back_as_it_was(name: str) -> None:
    page = BlobPage([make_blob(name), BlobPrefix(name + "/")], None)
    tree = blobs_of(page)
    assert tree.findtext("Blobs/Blob/Name") == name
    assert tree.findtext("Blobs/BlobPrefix/Name") == name + "/"


def test_a_name_that_xml_cannot_write_is_percent_encoded_and_says_so() -> None:
    node = blobs_of(BlobPage([make_blob("a\x01/%\uffff")], None)).find("Blobs/Blob/Name")
    assert node is not None
    assert (node.text, node.attrib) == ("a%01/%25%EF%BF%BF", {"Encoded": "true"})


def test_a_container_is_listed_with_its_properties() -> None:
    container = Container(1, "acct", "cont", MOMENT, MOMENT, "blob", {"k": "v"}, ())
    document = xml.container_page(
        ContainerPage([container], container), request_of({"prefix": "c"}), MOMENT, metadata=True, immutable=True
    )
    tree = ElementTree.fromstring(document)
    assert tree.findtext("Containers/Container/Name") == "cont"
    assert tree.findtext("Containers/Container/Properties/Etag") == '"0x8DEBCF76D024B40"'
    assert tree.findtext("Containers/Container/Properties/PublicAccess") == "blob"
    assert tree.findtext("Containers/Container/Metadata/k") == "v"
    assert tree.findtext("NextMarker")


def test_block_lists_show_the_kinds_that_were_asked_for() -> None:
    lists = BlockLists(None, [Segment(0, 3, "QQ==", "f1")], [Block("Qg==", 4, "f2")])
    both = ElementTree.fromstring(xml.block_lists(lists, ("committed", "uncommitted")))
    assert both.findtext("CommittedBlocks/Block/Name") == "QQ=="
    assert both.findtext("UncommittedBlocks/Block/Size") == "4"
    assert ElementTree.fromstring(xml.block_lists(lists, ("committed",))).find("UncommittedBlocks") is None


def test_a_block_list_keeps_its_order_over_all_kinds() -> None:
    nodes = b"<Latest>QQ==</Latest><Committed>Qg==</Committed><Uncommitted>\nQw== </Uncommitted>"
    assert xml.read_block_list(b"<BlockList>" + nodes + b"</BlockList>") == [
        ("Latest", "QQ=="),
        ("Committed", "Qg=="),
        ("Uncommitted", "Qw=="),
    ]
    assert xml.read_block_list("\ufeff<BlockList />".encode()) == []


BOMB = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><BlockList><Latest>&c;</Latest></BlockList>'


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "InvalidXmlDocument"),
        (b"no xml", "InvalidXmlDocument"),
        (b"<BlockList><Latest>QQ==</BlockList>", "InvalidXmlDocument"),
        (b"<Other />", "InvalidXmlDocument"),
        (b"<BlockList>\xff\xfe</BlockList>", "InvalidXmlDocument"),
        (b'<?xml version="1.0" encoding="klingon"?><BlockList />', "InvalidXmlDocument"),
        (BOMB, "InvalidXmlDocument"),
        (BOMB.decode().encode("utf-16"), "InvalidXmlDocument"),
        (b'<!DOCTYPE BlockList SYSTEM "file:///etc/passwd"><BlockList />', "InvalidXmlDocument"),
        (b"<BlockList><Newest>QQ==</Newest></BlockList>", "UnsupportedXmlNode"),
    ],
)
def test_a_bad_block_list_fails(document: bytes, code: str) -> None:
    with pytest.raises(ServiceError) as failure:
        xml.read_block_list(document)
    assert failure.value.code == code


def test_stored_policies_come_back_as_they_were_set() -> None:
    policies = (StoredPolicy("p&1", "2026-01-01", "2027-01-01T00:00:00.0000000Z", "rl"), StoredPolicy("p2"))
    assert xml.read_signed_identifiers(xml.signed_identifiers(policies).encode()) == policies
    assert xml.read_signed_identifiers(b"") == ()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"<SignedIdentifiers><Other /></SignedIdentifiers>", "UnsupportedXmlNode"),
        (
            b"<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy><Start>noon</Start></AccessPolicy>"
            b"</SignedIdentifier></SignedIdentifiers>",
            "InvalidXmlDocument",
        ),
    ],
)
def test_bad_policies_fail(document: bytes, code: str) -> None:
    with pytest.raises(ServiceError) as failure:
        xml.read_signed_identifiers(document)
    assert failure.value.code == code


def test_an_error_names_the_culprit_in_its_body_and_its_code_in_a_header() -> None:
    failure = error("InvalidHeaderValue", HeaderName="x-ms-range", HeaderValue="<&>")
    answer = error_answer(failure, "the-id", "2026-01-01T00:00:00Z")
    tree = ElementTree.fromstring(answer.body)
    assert answer.status == 400
    assert ("x-ms-error-code", "InvalidHeaderValue") in answer.headers
    assert [tree.findtext(name) for name in ("Code", "HeaderName", "HeaderValue")] == [
        "InvalidHeaderValue",
        "x-ms-range",
        "<&>",
    ]
    message = tree.findtext("Message") or ""
    assert message.split("\n")[1:] == ["RequestId:the-id", "Time:2026-01-01T00:00:00Z"]


def test_a_range_beyond_the_end_tells_the_size() -> None:
    answer = error_answer(RangeError(7), "id", "now")
    assert answer.status == 416
    assert ("content-range", "bytes */7") in answer.headers
