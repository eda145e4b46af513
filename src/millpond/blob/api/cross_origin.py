"""Answers to browsers: preflights, and the headers that let scripts read an answer."""

from __future__ import annotations

from ..cors import find_grant
from ..errors import error
from ..properties import ServiceProperties
from ..request import Request
from .answer import Answer, Headers


def preflight(request: Request, properties: ServiceProperties) -> Answer:
    """Raises ``CorsPreflightFailure`` for what no rule allows. Nobody has to be known for it."""
    origin = request.header("origin")
    method = request.header("access-control-request-method")
    for name, value in (("Origin", origin), ("Access-Control-Request-Method", method)):
        if not value:
            raise error("MissingRequiredHeader", HeaderName=name)
    asked = request.header("access-control-request-headers")
    names = [name.strip() for name in asked.split(",") if name.strip()]
    grant = find_grant(properties.cors, origin, method, names)
    if grant is None:
        raise error("CorsPreflightFailure")
    about: Headers = [*_allowed(origin, grant.is_for_all), ("access-control-allow-methods", method)]
    if names:
        about.append(("access-control-allow-headers", asked))
    about.append(("access-control-max-age", str(grant.rule.max_age_s)))
    return Answer(200, about)


def with_grant(answer: Answer, request: Request, properties: ServiceProperties) -> Answer:
    """The answer to a request of a script, which may read it or not."""
    if not properties.cors:
        return answer
    origin = request.header("origin")
    grant = find_grant(properties.cors, origin, request.method)
    if grant is None:
        return answer._replace(headers=[*answer.headers, ("vary", "Origin")])
    about = _allowed(origin, grant.is_for_all)
    names = [name for name, _ in answer.headers] + ["x-ms-request-id", "x-ms-version", "content-length", "date"]
    if exposed := grant.exposed(names):
        about.append(("access-control-expose-headers", ",".join(exposed)))
    return answer._replace(headers=[*answer.headers, *about])


def _allowed(origin: str, is_for_all: bool) -> Headers:
    if is_for_all:
        return [("access-control-allow-origin", "*")]
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    ]
