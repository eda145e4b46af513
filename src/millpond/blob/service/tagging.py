"""The rules of tags: get, set, and find blobs by them. Tags change neither the ETag nor the time of a blob."""

from __future__ import annotations

from typing import NamedTuple

from ..model import Blob, Container, ResourceName, Tags
from ..store import Transaction
from ..tags import TagSearch
from .blobs import find_blob
from .conditions import Demands, check_read, check_write
from .containers import find_container
from .lease import check_use

#: Containers, and blobs that have tags, that a search looks at in one go.
_AT_ONCE = 500


class TaggedBlob(NamedTuple):
    container: str
    name: str
    #: Those that it was found by.
    tags: Tags


class TaggedPage(NamedTuple):
    """A page of what was found, by container and name; ``following`` is where the next one starts."""

    blobs: list[TaggedBlob]
    following: TaggedBlob | None


def get_tags(transaction: Transaction, name: ResourceName, demands: Demands) -> Tags:
    blob = find_blob(transaction, name)
    check_read(demands, blob.last_modified, blob.lease, transaction.now, tags=blob.tags)
    return blob.tags


def set_tags(transaction: Transaction, name: ResourceName, tags: Tags, demands: Demands) -> Blob:
    """Also of an earlier version, but of no snapshot."""
    blob = find_blob(transaction, name._replace(snapshot=0))
    check_use(blob.lease, demands.lease_id, transaction.now, is_required=True)
    check_write(demands._replace(lease_id=""), blob.last_modified, tags=blob.tags)
    changed = blob._replace(tags=tags)
    transaction.put_blob_head(changed)
    return changed


def find_blobs(
    transaction: Transaction, name: ResourceName, search: TagSearch, *, first: tuple[str, str], count: int
) -> TaggedPage:
    """At most ``count`` blobs of the account or of the container named, from a container and a name in it on."""
    found: list[TaggedBlob] = []
    if name.container:
        containers = [find_container(transaction, name)]
    else:
        containers = transaction.list_containers(name.account, first[0], _AT_ONCE)
    while containers and len(found) <= count:
        for container in containers:
            start = first[1] if container.name == first[0] else ""
            found += _find_in(transaction, container, search, start, count + 1 - len(found))
        if name.container or len(containers) < _AT_ONCE:
            break
        containers = transaction.list_containers(name.account, containers[-1].name + "\0", _AT_ONCE)
    return TaggedPage(found[:count], found[count] if len(found) > count else None)


def _find_in(
    transaction: Transaction, container: Container, search: TagSearch, first: str, count: int
) -> list[TaggedBlob]:
    found: list[TaggedBlob] = []
    if not search.may_hold_in(container.name):
        return found
    while len(found) < count:
        tagged = transaction.list_tagged(container.id, first, _AT_ONCE)
        found += [
            TaggedBlob(container.name, blob_name, search.shown(tags))
            for blob_name, tags in tagged
            if search.holds_for(container.name, tags)
        ]
        if len(tagged) < _AT_ONCE:
            break
        first = tagged[-1][0] + "\0"
    return found[:count]
