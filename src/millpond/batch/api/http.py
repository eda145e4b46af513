"""What HTTP means to the Batch API: a request as handlers see it, answers, and errors as bodies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote_plus, urlencode

import msgspec

from millpond.common.clock import from_http, to_etag, to_http, to_iso
from millpond.common.conditions import NO_CONDITIONS, Conditions, parse_etags
from millpond.common.errors import ServiceError

from ..errors import error
from . import versions
from .wire.codec import decode_body, encode
from .wire.fields import Model
from .wire.shape import members

M = TypeVar("M", bound=Model)

#: Largest body of a request, in bytes.
BODY_LIMIT = 1 << 20
#: Most entities on a page, and how many there are where the client does not say.
PAGE_LIMIT = 1000

JSON_TYPE = "application/json;odata=minimalmetadata"

_NUMBER = re.compile(r"-?[0-9]+")
CONDITION_HEADERS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_ERROR_METADATA = "$metadata#Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"


@dataclass(slots=True, kw_only=True)
class Call:
    """One request."""

    method: str
    #: As sent, percent-encoded.
    raw_path: str
    #: By names in lower case, values decoded; the first of repeated ones.
    query: dict[str, str]
    raw_query: str
    #: By names in lower case.
    headers: Mapping[str, str]
    #: What the client calls the service: ``http://host:port``.
    base_url: str
    request_id: str
    now: int
    #: Who asks, in which API version; set once known.
    account: str = ""
    #: The key of the one job that may be asked about, where a task asks.
    own_job: str | None = None
    version: str = versions.NEWEST
    #: The parts of the path that the route names, decoded.
    params: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def url(self) -> str:
        """The URL of the request without its query."""
        return f"{self.base_url}{self.raw_path}"

    def read(self, model: type[M], round_trip: type[Model] | None = None) -> M:
        """The body as a model (see :func:`~.wire.codec.decode_body` for its errors)."""
        return decode_body(self.body, model, self.version, round_trip)

    def has(self, model: type[Model], name: str) -> bool:
        """Whether the request's version has a member of that name in the model."""
        member = members(model)[name]
        return member.since <= self.version <= member.until

    def read_optional(self, model: type[M]) -> M:
        """The body as a model whose members are all optional; a request without a body is one without members."""
        return decode_body(self.body if self.body.strip() else b"{}", model, self.version)

    def conditions(self) -> Conditions:
        """What the conditional headers demand.

        Raises ``MultipleConditionHeadersNotSupported`` and ``InvalidHeaderValue``.
        """
        given = [name for name in CONDITION_HEADERS if name in self.headers]
        if not given:
            return NO_CONDITIONS
        if len(given) > 1 and set(given) not in (
            {"if-none-match", "if-modified-since"},
            {"if-match", "if-unmodified-since"},
        ):
            raise error("MultipleConditionHeadersNotSupported")
        return Conditions(
            parse_etags(self.headers.get("if-match", "")),
            parse_etags(self.headers.get("if-none-match", "")),
            self._header_time("if-modified-since"),
            self._header_time("if-unmodified-since"),
        )

    def _header_time(self, name: str) -> int | None:
        text = self.headers.get(name)
        if text is None:
            return None
        try:
            return from_http(text)
        except ValueError:
            raise error("InvalidHeaderValue", ("HeaderName", name), ("HeaderValue", text)) from None

    def check_read(self, last_modified: int) -> None:
        """Whether an entity last modified then may be answered with. Raises ``ConditionNotMet``: 304 or 412."""
        conditions = self.conditions()
        if not conditions.hold_for(last_modified):
            unwanted = conditions.if_match or conditions.if_unmodified_since is not None
            raise error("ConditionNotMet", status=412 if unwanted else 304)

    def flag(self, name: str) -> bool:
        """A query parameter that is ``true`` or ``false``. Raises ``InvalidQueryParameterValue``."""
        text = self.query.get(name.lower(), "false").lower()
        if text not in ("true", "false"):
            raise self.bad_parameter(name, "The value must be true or false.")
        return text == "true"

    def page_size(self) -> int:
        """Raises ``InvalidQueryParameterValue`` or ``OutOfRangeQueryParameterValue``."""
        text = self.query.get("maxresults")
        if text is None:
            return PAGE_LIMIT
        if not _NUMBER.fullmatch(text):
            raise self.bad_parameter("maxresults", "The value is not a number.")
        if not 1 <= int(text[:10]) <= PAGE_LIMIT:
            raise self.bad_parameter(
                "maxresults", f"The value must be from 1 to {PAGE_LIMIT}.", "OutOfRangeQueryParameterValue"
            )
        return int(text)

    def bad_parameter(self, name: str, reason: str, code: str = "InvalidQueryParameterValue") -> ServiceError:
        """The error of a query parameter, by the name it is documented with."""
        return error(
            code,
            ("QueryParameterName", name),
            ("QueryParameterValue", self.query.get(name.lower(), "")),
            ("Reason", reason),
        )


def parse_query(raw: str) -> dict[str, str]:
    """Query parameters by their names in lower case; the first of repeated ones counts."""
    query: dict[str, str] = {}
    for part in raw.split("&"):
        name, _, value = part.partition("=")
        if name:
            query.setdefault(unquote_plus(name).lower(), unquote_plus(value))
    return query


#: An entity in the newest form: a model, or JSON (parts of which may be models) where it holds a document.
Content = Model | dict[str, Any]


# --- answers -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    #: Content, whole or as it comes.
    body: bytes | AsyncIterator[bytes] = b""
    #: The reason phrase of the status line, where it is not the usual one.
    reason: str = ""


def entity_headers(last_modified: int) -> dict[str, str]:
    """``ETag`` and ``Last-Modified`` of an entity."""
    return {"ETag": to_etag(last_modified), "Last-Modified": to_http(last_modified)}


def created(url: str, last_modified: int, service_id: str) -> Answer:
    """201: where the new entity is."""
    return Answer(201, {**entity_headers(last_modified), "Location": url, "DataServiceId": service_id})


def changed(call: Call, status: int, last_modified: int) -> Answer:
    """An entity was changed, or will be."""
    return Answer(status, {**entity_headers(last_modified), "DataServiceId": call.url})


def entity(call: Call, content: Content, model: type[Model], metadata: str, last_modified: int | None = None) -> Answer:
    """200: one entity, with what ``$select`` names of it."""
    selected = select(call, model)
    body = {"odata.metadata": f"{call.base_url}/$metadata#{metadata}/@Element"}
    body |= _render(call, content, model, selected)
    headers = {"Content-Type": JSON_TYPE}
    if last_modified is not None:
        headers |= entity_headers(last_modified)
    return Answer(200, headers, encode(body))


def listing(
    call: Call, contents: Iterable[Content], model: type[Model], metadata: str, following: str | None = None
) -> Answer:
    """200: a page of entities; ``following`` is the token of the page after it."""
    selected = select(call, model)
    body: dict[str, Any] = {
        "odata.metadata": f"{call.base_url}/$metadata#{metadata}",
        "value": [_render(call, content, model, selected) for content in contents],
    }
    if following is not None:
        body["odata.nextLink"] = next_link(call, following)
    return Answer(200, {"Content-Type": JSON_TYPE}, encode(body))


def _render(call: Call, content: Content, model: type[Model], selected: Sequence[str] | None) -> dict[str, Any]:
    json: dict[str, Any] = msgspec.to_builtins(content)
    versions.downgrade(json, model, call.version)
    return json if selected is None else {name: json[name] for name in selected if name in json}


def select(call: Call, model: type[Model]) -> list[str] | None:
    """The members that ``$select`` names; ``None`` where it names none. ``$expand`` names nothing but ``stats``.

    Raises ``InvalidQueryParameterValue`` for members that there are not in any version.
    """
    expand = call.query.get("$expand", "")
    if any(name.strip() not in ("", "stats") for name in expand.split(",")):
        raise call.bad_parameter("$expand", "Only stats can be expanded.")
    names = [name.strip() for name in call.query.get("$select", "").split(",") if name.strip()]
    if not names:
        return None
    known = {"odata.metadata", *members(model), *versions.older_members(model)}
    for name in names:
        if name.partition("/")[0] not in known:
            raise call.bad_parameter("$select", f"There is no property '{name}'.")
    return [name.partition("/")[0] for name in names]


def next_link(call: Call, token: str) -> str:
    """The URL of the next page: the same request with a continuation token, which is safe in a URL as it is."""
    kept = [
        part
        for part in call.raw_query.split("&")
        if part and not part.lower().startswith(("$skiptoken", "%24skiptoken"))
    ]
    return f"{call.url}?{'&'.join([*kept, urlencode({'$skiptoken': token}, safe='$')])}"


# --- errors ------------------------------------------------------------------------------------------------------


def error_content(problem: ServiceError, call: Call) -> dict[str, Any]:
    """An error as JSON, without its metadata."""
    text = f"{problem.message}\nRequestId:{call.request_id}\nTime:{to_iso(call.now)}"
    content: dict[str, Any] = {"code": problem.code, "message": {"lang": "en-US", "value": text}}
    if problem.details:
        content["values"] = [{"key": key, "value": value} for key, value in problem.details]
    return content


def error_answer(problem: ServiceError, call: Call) -> Answer:
    """The reason phrase repeats the message: it is all that the answer to a HEAD can say."""
    if call.method == "HEAD" or problem.status == 304:
        return Answer(problem.status, reason=problem.message)
    body = {"odata.metadata": f"{call.base_url}/{_ERROR_METADATA}"} | error_content(problem, call)
    return Answer(problem.status, {"Content-Type": JSON_TYPE}, encode(body), problem.message)
