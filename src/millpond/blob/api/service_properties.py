"""The operations on the properties of an account's Blob service."""

from __future__ import annotations

from ..errors import invalid_query
from ..service import service_properties
from . import service_xml
from .answer import Answer, xml_answer
from .call import Call, read_document


async def get_service_properties(call: Call) -> Answer:
    properties = call.store.read(service_properties.get_service_properties, call.name)
    return xml_answer(service_xml.written(properties, call.request.version))


async def get_service_stats(call: Call) -> Answer:
    """Of the secondary endpoint, which shows what the primary does."""
    if not call.request.is_secondary:
        raise invalid_query("comp", "stats", "The secondary endpoint has these.")
    return xml_answer(service_xml.stats(call.service.clock.now()))


async def set_service_properties(call: Call) -> Answer:
    change = service_xml.read_change(await read_document(call))
    await call.store.write(service_properties.set_service_properties, call.name, change)
    return Answer(202)
