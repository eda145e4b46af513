"""The XML that goes in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import get_args
from urllib.parse import quote
from xml.etree import ElementTree

from millpond.common.clock import DAY, from_iso, to_etag

from ..content import checksums
from ..errors import error
from ..model import (
    NO_ENCRYPTION,
    NOT_IMMUTABLE,
    Blob,
    Block,
    Container,
    CopyState,
    Encryption,
    Immutability,
    Lease,
    Metadata,
    Segment,
    StoredPolicy,
    Tags,
)
from ..moments import http_date, to_snapshot
from ..request import Request
from ..service.blocks import BlockLists, BlockSource
from ..service.containers import ContainerPage, version_of
from ..service.history import is_earlier_version
from ..service.lease import INFINITE, is_locked, state_of
from ..service.listing import BlobPage, BlobPrefix
from ..service.pages import PageList
from ..service.segments import PageRange
from ..service.tagging import TaggedPage
from ..service.tier import DEFAULT_TIER
from ..tags import check_tags
from .headers import ACCOUNT_SCOPE
from .paging import marker_for

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})
_SPECIAL = re.compile(r'[&<>"\r]')
#: What XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NOT_PLAIN = re.compile(f"{_SPECIAL.pattern}|{_UNWRITABLE.pattern}")
_BLOCK_SOURCES = frozenset(get_args(BlockSource))


def escape(text: str) -> str:
    """The text as XML has it, with a replacement character for each that XML does not know."""
    return _UNWRITABLE.sub("\ufffd", text).translate(_ENTITIES) if _NOT_PLAIN.search(text) else text


def element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name} />"


def _optional(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else ""


# Writing


def container_page(page: ContainerPage, request: Request, now: int, *, metadata: bool, immutable: bool) -> str:
    containers = "".join(
        [_container(container, now, metadata=metadata, immutable=immutable) for container in page.containers]
    )
    following = marker_for(page.following.name, page.following.deleted_at) if page.following else ""
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(request.endpoint)}">{_echo(request)}'
        f"<Containers>{containers}</Containers>{element('NextMarker', following)}</EnumerationResults>"
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


def _container(container: Container, now: int, *, metadata: bool, immutable: bool) -> str:
    deleted = (
        f"<DeletedTime>{http_date(container.deleted_at)}</DeletedTime>{_remaining_days(container.purge_at, now)}"
        if container.deleted_at
        else ""
    )
    return (
        f"<Container><Name>{container.name}</Name>"
        + (f"<Version>{version_of(container)}</Version><Deleted>true</Deleted>" if container.deleted_at else "")
        + f"<Properties><Last-Modified>{http_date(container.last_modified)}</Last-Modified>"
        f'<Etag>"{to_etag(container.last_modified)}"</Etag>{_lease(container.lease, now)}'
        f"{_optional('PublicAccess', container.public_access)}"
        "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>"
        f"<ImmutableStorageWithVersioningEnabled>{_flag(immutable)}</ImmutableStorageWithVersioningEnabled>"
        f"<DefaultEncryptionScope>{container.default_scope or ACCOUNT_SCOPE}</DefaultEncryptionScope>"
        f"<DenyEncryptionScopeOverride>{_flag(container.denies_other_scopes)}</DenyEncryptionScopeOverride>"
        f"{deleted}</Properties>"
        f"{_metadata(container.metadata) if metadata else ''}</Container>"
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _lease(lease: Lease, now: int) -> str:
    if not lease.id:
        return "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
    state = state_of(lease, now)
    status = "locked" if is_locked(lease, now) else "unlocked"
    text = f"<LeaseStatus>{status}</LeaseStatus><LeaseState>{state}</LeaseState>"
    if state == "leased":
        text += f"<LeaseDuration>{'infinite' if lease.duration == INFINITE else 'fixed'}</LeaseDuration>"
    return text


def _remaining_days(purge_at: int, now: int) -> str:
    return f"<RemainingRetentionDays>{max(0, -((now - purge_at) // DAY))}</RemainingRetentionDays>"


def blob_page(page: BlobPage, request: Request, include: frozenset[str], now: int) -> str:
    items = "".join(
        [_prefix(item) if isinstance(item, BlobPrefix) else _blob(item, include, now) for item in page.items]
    )
    following = marker_for(page.following.name, page.following.generation) if page.following else ""
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(request.endpoint)}"'
        f' ContainerName="{escape(request.resource.container)}">{_echo(request)}'
        f"<Blobs>{items}</Blobs>{element('NextMarker', following)}</EnumerationResults>"
    )


def _prefix(prefix: BlobPrefix) -> str:
    return f"<BlobPrefix>{_name(prefix.name)}</BlobPrefix>"


def _name(name: str) -> str:
    if not _NOT_PLAIN.search(name):
        return f"<Name>{name}</Name>"
    if _UNWRITABLE.search(name):
        return f'<Name Encoded="true">{quote(name, safe="/")}</Name>'
    return f"<Name>{escape(name)}</Name>"


def _blob(blob: Blob, include: frozenset[str], now: int) -> str:
    content_type, encoding, language, disposition, cache_control, content_md5 = blob.properties
    md5 = f"<Content-MD5>{checksums.encode(content_md5)}</Content-MD5>" if content_md5 else "<Content-MD5 />"
    return (
        f"<Blob>{_name(blob.name)}{_identity(blob)}<Properties>"
        f"<Creation-Time>{http_date(blob.created_at)}</Creation-Time>"
        f"<Last-Modified>{http_date(blob.last_modified)}</Last-Modified>"
        f"<Etag>{to_etag(blob.last_modified)}</Etag>"
        f"<Content-Length>{blob.size}</Content-Length>"
        f"{_before_md5(content_type, encoding, language)}{md5}{_after_md5(cache_control, disposition)}"
        f"<BlobType>{blob.type}</BlobType>{_tier(blob) if blob.type == 'BlockBlob' or blob.access_tier else ''}"
        f"{'' if blob.type == 'BlockBlob' else _in_place(blob)}"
        f"{'' if blob.snapshot else _lease(blob.lease, now)}"
        f"{_copy(blob.copy) if blob.copy and 'copy' in include else ''}"
        f"<ServerEncrypted>true</ServerEncrypted>{_encryption(blob.encryption)}"
        + (_immutability(blob.immutability, include) if blob.immutability != NOT_IMMUTABLE else "")
        + (f"<TagCount>{len(blob.tags)}</TagCount>" if blob.tags and "tags" in include else "")
        + (f"<LastAccessTime>{http_date(blob.accessed_at)}</LastAccessTime>" if blob.accessed_at else "")
        + (
            f"<DeletedTime>{http_date(blob.deleted_at)}</DeletedTime>{_remaining_days(blob.purge_at, now)}"
            if blob.deleted_at
            else ""
        )
        + f"</Properties>{_metadata(blob.metadata) if blob.metadata and 'metadata' in include else ''}"
        + (tags(blob.tags) if blob.tags and "tags" in include else "")
        + ("<HasVersionsOnly>true</HasVersionsOnly>" if _has_versions_only(blob, include) else "")
        + "</Blob>"
    )


def _in_place(blob: Blob) -> str:
    in_place = blob.in_place
    if blob.type == "PageBlob":
        return f"<x-ms-blob-sequence-number>{in_place.sequence_number}</x-ms-blob-sequence-number>"
    return "<Sealed>true</Sealed>" if in_place.is_sealed else ""


def _encryption(encryption: Encryption) -> str:
    if encryption == NO_ENCRYPTION:
        return ""
    return _optional("CustomerProvidedKeySha256", encryption.key_hash) + _optional("EncryptionScope", encryption.scope)


def _immutability(immutability: Immutability, include: frozenset[str]) -> str:
    text = ""
    if immutability.until and "immutabilitypolicy" in include:
        text += element("ImmutabilityPolicyUntilDate", http_date(immutability.until))
        text += element("ImmutabilityPolicyMode", "locked" if immutability.is_locked else "unlocked")
    if immutability.legal_hold and "legalhold" in include:
        text += "<LegalHold>true</LegalHold>"
    return text


# Remembered, since the blobs of a container mostly have the same ones.


@lru_cache(256)
def _before_md5(content_type: str, encoding: str, language: str) -> str:
    return (
        element("Content-Type", content_type)
        + element("Content-Encoding", encoding)
        + element("Content-Language", language)
    )


@lru_cache(256)
def _after_md5(cache_control: str, disposition: str) -> str:
    return element("Cache-Control", cache_control) + element("Content-Disposition", disposition)


def _identity(blob: Blob) -> str:
    """What tells a blob from others of its name."""
    text = ""
    if blob.snapshot:
        text += f"<Snapshot>{to_snapshot(blob.snapshot)}</Snapshot>"
    if blob.version:
        text += f"<VersionId>{to_snapshot(blob.version)}</VersionId>"
        if blob.is_current:
            text += "<IsCurrentVersion>true</IsCurrentVersion>"
    if blob.deleted_at:
        text += "<Deleted>true</Deleted>"
    return text


def _has_versions_only(blob: Blob, include: frozenset[str]) -> bool:
    return "deletedwithversions" in include and is_earlier_version(blob)


def _tier(blob: Blob) -> str:
    text = f"<AccessTier>{blob.access_tier or DEFAULT_TIER}</AccessTier>"
    if not blob.access_tier:
        text += "<AccessTierInferred>true</AccessTierInferred>"
    elif blob.access_tier == "Smart":
        text += f"<SmartAccessTier>{DEFAULT_TIER}</SmartAccessTier>"
    tiering = blob.tiering
    if tiering.changed_at:
        text += f"<AccessTierChangeTime>{http_date(tiering.changed_at)}</AccessTierChangeTime>"
    if tiering.target:
        text += (
            f"<ArchiveStatus>{archive_status(blob)}</ArchiveStatus>"
            f"<RehydratePriority>{tiering.priority}</RehydratePriority>"
        )
    return text


def archive_status(blob: Blob) -> str:
    return f"rehydrate-pending-to-{blob.tiering.target.lower()}"


def _copy(copy: CopyState) -> str:
    return (
        f"<CopyId>{copy.id}</CopyId><CopyStatus>{copy.status}</CopyStatus>{element('CopySource', copy.source)}"
        f"<CopyProgress>{copy.copied}/{copy.total}</CopyProgress>"
        + ("<IncrementalCopy>true</IncrementalCopy>" if copy.is_incremental else "")
        + _optional(
            "CopyDestinationSnapshot", to_snapshot(copy.destination_snapshot or 0) if copy.destination_snapshot else ""
        )
        + (f"<CopyCompletionTime>{http_date(copy.completed_at)}</CopyCompletionTime>" if copy.completed_at else "")
        + _optional("CopyStatusDescription", copy.description)
    )


def _metadata(metadata: Metadata) -> str:
    return f"<Metadata>{''.join([element(name, value) for name, value in metadata.items()])}</Metadata>"


def tags(found: Tags) -> str:
    pairs = "".join([f"<Tag>{element('Key', key)}{element('Value', value)}</Tag>" for key, value in found.items()])
    return f"<Tags><TagSet>{pairs}</TagSet></Tags>"


def tagged_page(page: TaggedPage, request: Request) -> str:
    """What Find Blobs by Tags found."""
    blobs = "".join(
        [
            f"<Blob>{_name(blob.name)}<ContainerName>{escape(blob.container)}</ContainerName>{tags(blob.tags)}</Blob>"
            for blob in page.blobs
        ]
    )
    following = marker_for(f"{page.following.container}/{page.following.name}", 0) if page.following else ""
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(request.endpoint)}">'
        f"<Where>{escape(request.parameter('where'))}</Where><Blobs>{blobs}</Blobs>"
        f"{element('NextMarker', following)}</EnumerationResults>"
    )


def block_lists(lists: BlockLists, kinds: Iterable[str]) -> str:
    committed = f"<CommittedBlocks>{_blocks(lists.committed)}</CommittedBlocks>"
    uncommitted = f"<UncommittedBlocks>{_blocks(lists.uncommitted)}</UncommittedBlocks>"
    found = {"committed": committed, "uncommitted": uncommitted}
    return f"{DECLARATION}<BlockList>{''.join([found[kind] for kind in kinds])}</BlockList>"


def _blocks(blocks: Iterable[Block | Segment]) -> str:
    return "".join([f"<Block><Name>{block.block_id}</Name><Size>{block.size}</Size></Block>" for block in blocks])


def page_list(found: PageList) -> str:
    ranges = "".join([_page_range(each) for each in found.ranges])
    # Old clients take every element for a range.
    following = f"<NextMarker>{found.following}</NextMarker>" if found.following else ""
    return f"{DECLARATION}<PageList>{ranges}{following}</PageList>"


def _page_range(found: PageRange) -> str:
    name = "ClearRange" if found.is_clear else "PageRange"
    return f"<{name}><Start>{found.begin}</Start><End>{found.end - 1}</End></{name}>"


def signed_identifiers(policies: Iterable[StoredPolicy]) -> str:
    identifiers = "".join([_signed_identifier(policy) for policy in policies])
    return f"{DECLARATION}<SignedIdentifiers>{identifiers}</SignedIdentifiers>"


def _signed_identifier(policy: StoredPolicy) -> str:
    fields = (
        _optional("Start", policy.start)
        + _optional("Expiry", policy.expiry)
        + _optional("Permission", policy.permissions)
    )
    access = f"<AccessPolicy>{fields}</AccessPolicy>" if fields else ""
    return f"<SignedIdentifier>{element('Id', policy.id)}{access}</SignedIdentifier>"


# Reading


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        """No document of this service has one, and one may grow without bounds."""
        raise error("InvalidXmlDocument")


def parse(document: bytes, root: str) -> ElementTree.Element:
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
    for node in parse(document, "BlockList"):
        if node.tag not in _BLOCK_SOURCES:
            raise error("UnsupportedXmlNode", XmlNodeName=node.tag)
        blocks.append((node.tag, (node.text or "").strip()))  # type: ignore[arg-type]
    return blocks


def read_tags(document: bytes) -> Tags:
    """The tags of a Set Blob Tags."""
    found = []
    for tag_set in parse(document, "Tags"):
        if tag_set.tag != "TagSet":
            raise error("UnsupportedXmlNode", XmlNodeName=tag_set.tag)
        for tag in tag_set:
            if tag.tag != "Tag" or tag.find("Key") is None or tag.find("Value") is None:
                raise error("InvalidXmlDocument")
            found.append((tag.findtext("Key") or "", tag.findtext("Value") or ""))
    return check_tags(found)


def read_signed_identifiers(document: bytes) -> tuple[StoredPolicy, ...]:
    """The stored access policies of a Set Container ACL; an empty document has none."""
    if not document.strip():
        return ()
    return tuple(_policy(node) for node in parse(document, "SignedIdentifiers"))


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
