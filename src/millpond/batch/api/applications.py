"""Operations on applications, and what references to their packages must satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UnsetType

from ..applications import Application, PackageError
from ..errors import error
from .http import Answer, Call, entity, listing
from .lists import page_of
from .wire import applications as wire
from .wire.common import ApplicationPackageReference

if TYPE_CHECKING:
    from ..service import BatchService


async def application_list(service: BatchService, call: Call) -> Answer:
    found = [(application.id.lower(), application) for application in service.applications.all(call.account)]
    page, following = page_of(call, found)
    return listing(call, [_content(application) for application in page], wire.Application, "applications", following)


async def application_get(service: BatchService, call: Call) -> Answer:
    try:
        application = service.applications.get(call.account, call.params["applicationId"])
    except PackageError:
        raise error("ApplicationNotFound") from None
    return entity(call, _content(application), wire.Application, "applications")


def _content(application: Application) -> wire.Application:
    return wire.Application(
        id=application.id,
        display_name=application.display_name,
        versions=[package.version for package in application.packages.values()],
    )


def check_pool_references(
    service: BatchService, call: Call, references: Sequence[ApplicationPackageReference] | UnsetType
) -> None:
    """Whether each package is there for a pool's nodes. Raises ``InvalidApplicationPackageReferences``."""
    for reference in references or ():
        try:
            service.applications.get(call.account, reference.application_id).package(reference.version or None)
        except PackageError as problem:
            raise error(
                "InvalidApplicationPackageReferences",
                ("ApplicationId", reference.application_id),
                ("Version", reference.version or ""),
                ("Reason", f"{problem}."),
            ) from None
