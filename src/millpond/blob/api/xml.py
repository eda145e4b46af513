"""The XML that goes in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args
from urllib.parse import quote
from xml.etree import ElementTree

from millpond.common.clock import from_iso, to_etag, to_http

from ..content import checksums
from ..errors import error
from ..model import Blob, Block, Container, Metadata, Segment, StoredPolicy
from ..request import Request
from ..service.blocks import BlockLists, BlockSource
from ..service.containers import ContainerPage
from ..service.listing import BlobPage, BlobPrefix
from .paging import marker_for

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})
_SPECIAL = re.compile(r'[&<>"\r]')
#: What XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_BLOCK_SOURCES = frozenset(get_args(BlockSource))


def escape(text: str) -> str:
    return text.translate(_ENTITIES) if _SPECIAL.search(text) else text


def element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name} />"


def _optional(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else ""


# Writing


def container_page(page: ContainerPage, request: Request, *, metadata: bool) -> str:
    containers = "".join([_container(container, metadata) for container in page.containers])
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(request.endpoint)}">{_echo(request)}'
        f"<Containers>{containers}</Containers>{_next_marker(page.following)}</EnumerationResults>"
    )


def _echo(request: Request) -> str:
    """The parameters of a list, which its page repeats."""
    return "".join(
        [
            _optional("Prefix", request.parameter("prefix")),
            _optional("Marker", request.parameter("marker")),
            _optional("MaxResults", request.parameter("maxresults")),
            _optional("Delimiter", request.parameter("delimiter")),
        ]
    )


def _next_marker(following: str | None) -> str:
    return element("NextMarker", marker_for(following))


def _container(container: Container, metadata: bool) -> str:
    return (
        f"<Container><Name>{container.name}</Name><Properties>"
        f"<Last-Modified>{to_http(container.last_modified)}</Last-Modified>"
        f'<Etag>"{to_etag(container.last_modified)}"</Etag>'
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        f"{_optional('PublicAccess', container.public_access)}"
        "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold></Properties>"
        f"{_metadata(container.metadata) if metadata else ''}</Container>"
    )


def blob_page(page: BlobPage, request: Request, include: frozenset[str]) -> str:
    items = "".join([_prefix(item) if isinstance(item, BlobPrefix) else _blob(item, include) for item in page.items])
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(request.endpoint)}"'
        f' ContainerName="{escape(request.resource.container)}">{_echo(request)}'
        f"<Blobs>{items}</Blobs>{_next_marker(page.following)}</EnumerationResults>"
    )


def _prefix(prefix: BlobPrefix) -> str:
    return f"<BlobPrefix>{_name(prefix.name)}</BlobPrefix>"


def _name(name: str) -> str:
    if _UNWRITABLE.search(name):
        return f'<Name Encoded="true">{quote(name, safe="/")}</Name>'
    return f"<Name>{escape(name)}</Name>"


def _blob(blob: Blob, include: frozenset[str]) -> str:
    properties = blob.properties
    md5 = checksums.encode(properties.content_md5) if properties.content_md5 else ""
    tier = f"<AccessTier>{blob.access_tier or 'Hot'}</AccessTier>"
    if not blob.access_tier:
        tier += "<AccessTierInferred>true</AccessTierInferred>"
    copy = blob.copy if "copy" in include else None
    return (
        f"<Blob>{_name(blob.name)}<Properties>"
        f"<Creation-Time>{to_http(blob.created_at)}</Creation-Time>"
        f"<Last-Modified>{to_http(blob.last_modified)}</Last-Modified>"
        f"<Etag>{to_etag(blob.last_modified)}</Etag>"
        f"<Content-Length>{blob.size}</Content-Length>"
        f"{element('Content-Type', properties.content_type)}"
        f"{element('Content-Encoding', properties.content_encoding)}"
        f"{element('Content-Language', properties.content_language)}"
        f"{element('Content-MD5', md5)}"
        f"{element('Cache-Control', properties.cache_control)}"
        f"{element('Content-Disposition', properties.content_disposition)}"
        f"<BlobType>BlockBlob</BlobType>{tier}"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        + (
            f"<CopyId>{copy.id}</CopyId><CopyStatus>success</CopyStatus>{element('CopySource', copy.source)}"
            f"<CopyProgress>{blob.size}/{blob.size}</CopyProgress>"
            f"<CopyCompletionTime>{to_http(copy.completed_at)}</CopyCompletionTime>"
            if copy
            else ""
        )
        + "<ServerEncrypted>false</ServerEncrypted></Properties>"
        f"{_metadata(blob.metadata) if 'metadata' in include else ''}</Blob>"
    )


def _metadata(metadata: Metadata) -> str:
    return f"<Metadata>{''.join([element(name, value) for name, value in metadata.items()])}</Metadata>"


def block_lists(lists: BlockLists, kinds: Iterable[str]) -> str:
    committed = f"<CommittedBlocks>{_blocks(lists.committed)}</CommittedBlocks>"
    uncommitted = f"<UncommittedBlocks>{_blocks(lists.uncommitted)}</UncommittedBlocks>"
    found = {"committed": committed, "uncommitted": uncommitted}
    return f"{DECLARATION}<BlockList>{''.join([found[kind] for kind in kinds])}</BlockList>"


def _blocks(blocks: Iterable[Block | Segment]) -> str:
    return "".join([f"<Block><Name>{block.block_id}</Name><Size>{block.size}</Size></Block>" for block in blocks])


def signed_identifiers(policies: Iterable[StoredPolicy]) -> str:
    identifiers = "".join(
        f"<SignedIdentifier>{element('Id', policy.id)}<AccessPolicy>"
        f"{_optional('Start', policy.start)}{_optional('Expiry', policy.expiry)}"
        f"{_optional('Permission', policy.permissions)}</AccessPolicy></SignedIdentifier>"
        for policy in policies
    )
    return f"{DECLARATION}<SignedIdentifiers>{identifiers}</SignedIdentifiers>"


# Reading


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        """No document of this service has one, and one may grow without bounds."""
        raise error("InvalidXmlDocument")


def _parse(document: bytes, root: str) -> ElementTree.Element:
    """Raises ``InvalidXmlDocument`` for what is no XML or has another root."""
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 (what is dangerous needs a doctype)
    try:
        parser.feed(document)
        tree = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError):
        raise error("InvalidXmlDocument") from None
    if not isinstance(tree, ElementTree.Element) or tree.tag != root:
        raise error("InvalidXmlDocument")
    return tree


def read_block_list(document: bytes) -> list[tuple[BlockSource, str]]:
    """The blocks that a Put Block List names, and where each is to be looked for."""
    blocks: list[tuple[BlockSource, str]] = []
    for node in _parse(document, "BlockList"):
        if node.tag not in _BLOCK_SOURCES:
            raise error("UnsupportedXmlNode", XmlNodeName=node.tag)
        blocks.append((node.tag, (node.text or "").strip()))  # type: ignore[arg-type]
    return blocks


def read_signed_identifiers(document: bytes) -> tuple[StoredPolicy, ...]:
    """The stored access policies of a Set Container ACL; an empty document has none."""
    if not document.strip():
        return ()
    return tuple(_policy(node) for node in _parse(document, "SignedIdentifiers"))


def _policy(node: ElementTree.Element) -> StoredPolicy:
    def text(path: str) -> str:
        return (node.findtext(path) or "").strip()

    if node.tag != "SignedIdentifier":
        raise error("UnsupportedXmlNode", XmlNodeName=node.tag)
    policy = StoredPolicy(
        text("Id"), text("AccessPolicy/Start"), text("AccessPolicy/Expiry"), text("AccessPolicy/Permission")
    )
    for time in (policy.start, policy.expiry):
        try:
            from_iso(time or "1970-01-01")
        except ValueError:
            raise error("InvalidXmlDocument", Reason=f"{time} is not a time") from None
    return policy
