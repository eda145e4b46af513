"""The XML of service properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from xml.etree.ElementTree import Element

from millpond.common.clock import to_http

from ..errors import error
from ..properties import (
    CorsRule,
    DeleteRetention,
    Logging,
    Metrics,
    RetentionPolicy,
    ServiceProperties,
    StaticWebsite,
)
from ..request import is_published
from .xml import DECLARATION, element, parse

_MAX_DAYS = 365
_MAX_CORS_RULES = 5
_MAX_AGE_S = (1 << 31) - 1
_METHODS = frozenset({"DELETE", "GET", "HEAD", "MERGE", "OPTIONS", "PATCH", "POST", "PUT"})

#: From which version on a part is told.
_SINCE: Final = {"DeleteRetentionPolicy": "2017-07-29", "StaticWebsite": "2018-03-28"}


# Writing


def written(properties: ServiceProperties, version: str) -> str:
    logging = properties.logging
    parts = {
        "Logging": element("Version", logging.version)
        + _flag("Delete", logging.delete)
        + _flag("Read", logging.read)
        + _flag("Write", logging.write)
        + _retention(logging.retention),
        "HourMetrics": _metrics(properties.hour_metrics),
        "MinuteMetrics": _metrics(properties.minute_metrics),
        "Cors": "".join([_cors_rule(rule) for rule in properties.cors]),
    }
    default = element("DefaultServiceVersion", properties.default_version) if properties.default_version else ""
    newer = {
        "DeleteRetentionPolicy": _delete_retention(properties.delete_retention),
        "StaticWebsite": _static_website(properties.static_website),
    }
    document = "".join([f"<{name}>{text}</{name}>" if text else f"<{name} />" for name, text in parts.items()])
    document += default
    document += "".join([f"<{name}>{text}</{name}>" for name, text in newer.items() if version >= _SINCE[name]])
    return f"{DECLARATION}<StorageServiceProperties>{document}</StorageServiceProperties>"


def _flag(name: str, value: bool) -> str:
    return f"<{name}>{'true' if value else 'false'}</{name}>"


def _retention(policy: RetentionPolicy) -> str:
    days = element("Days", str(policy.days)) if policy.enabled else ""
    return f"<RetentionPolicy>{_flag('Enabled', policy.enabled)}{days}</RetentionPolicy>"


def _metrics(metrics: Metrics) -> str:
    apis = "" if metrics.include_apis is None else _flag("IncludeAPIs", metrics.include_apis)
    return (
        element("Version", metrics.version) + _flag("Enabled", metrics.enabled) + apis + _retention(metrics.retention)
    )


def _cors_rule(rule: CorsRule) -> str:
    return (
        "<CorsRule>"
        + element("AllowedOrigins", rule.allowed_origins)
        + element("AllowedMethods", rule.allowed_methods)
        + element("MaxAgeInSeconds", str(rule.max_age_s))
        + element("ExposedHeaders", rule.exposed_headers)
        + element("AllowedHeaders", rule.allowed_headers)
        + "</CorsRule>"
    )


def _delete_retention(policy: DeleteRetention) -> str:
    text = _flag("Enabled", policy.enabled)
    if policy.enabled:
        text += element("Days", str(policy.days)) + _flag("AllowPermanentDelete", policy.allow_permanent_delete)
    return text


def _static_website(website: StaticWebsite) -> str:
    text = _flag("Enabled", website.enabled)
    for name, value in (
        ("IndexDocument", website.index_document),
        ("DefaultIndexDocumentPath", website.default_index_document_path),
        ("ErrorDocument404Path", website.error_document),
    ):
        if value:
            text += element(name, value)
    return text


def stats(synced_at: int) -> str:
    return (
        f"{DECLARATION}<StorageServiceStats><GeoReplication><Status>live</Status>"
        f"<LastSyncTime>{to_http(synced_at)}</LastSyncTime></GeoReplication></StorageServiceStats>"
    )


# Reading


def read_change(document: bytes) -> dict[str, Any]:
    """The parts that a document sets, by field of :class:`ServiceProperties`.

    Raises ``InvalidXmlDocument`` for a part that lacks something, ``InvalidXmlNodeValue`` for a value that is wrong.
    """
    change: dict[str, Any] = {}
    for node in parse(document, "StorageServiceProperties"):
        reader = _READERS.get(node.tag)
        if reader is None:
            raise error("UnsupportedXmlNode", XmlNodeName=node.tag)
        field, read = reader
        change[field] = read(node)
    return change


def _text(node: Element, path: str) -> str:
    return (node.findtext(path) or "").strip()


def _required(node: Element, path: str) -> str:
    if node.find(path) is None:
        raise error("InvalidXmlDocument", Reason=f"{path} is missing in {node.tag}.")
    return _text(node, path)


def _bool(node: Element, path: str, *, default: bool | None = None) -> bool:
    if default is not None and node.find(path) is None:
        return default
    text = _required(node, path).lower()
    if text not in ("true", "false"):
        raise _wrong(path, text)
    return text == "true"


def _number(node: Element, path: str, lowest: int, highest: int) -> int:
    text = _required(node, path)
    if not text.isascii() or not text.isdecimal() or not lowest <= int(text[:12]) <= highest:
        raise _wrong(path, text)
    return int(text)


def _wrong(path: str, text: str) -> Exception:
    return error("InvalidXmlNodeValue", XmlNodeName=path, XmlNodeValue=text)


def _read_retention(node: Element) -> RetentionPolicy:
    policy = node.find("RetentionPolicy")
    if policy is None:
        raise error("InvalidXmlDocument", Reason=f"RetentionPolicy is missing in {node.tag}.")
    if not _bool(policy, "Enabled"):
        return RetentionPolicy()
    return RetentionPolicy(True, _number(policy, "Days", 1, _MAX_DAYS))


def _read_logging(node: Element) -> Logging:
    return Logging(
        _required(node, "Version"),
        delete=_bool(node, "Delete"),
        read=_bool(node, "Read"),
        write=_bool(node, "Write"),
        retention=_read_retention(node),
    )


def _read_metrics(node: Element) -> Metrics:
    enabled = _bool(node, "Enabled")
    return Metrics(
        _required(node, "Version"),
        enabled=enabled,
        include_apis=_bool(node, "IncludeAPIs") if enabled else None,
        retention=_read_retention(node),
    )


def _read_cors(node: Element) -> tuple[CorsRule, ...]:
    if len(node) > _MAX_CORS_RULES:
        raise error("InvalidXmlDocument", Reason=f"There are at most {_MAX_CORS_RULES} CORS rules.")
    return tuple(_read_cors_rule(rule) for rule in node)


def _read_cors_rule(node: Element) -> CorsRule:
    if node.tag != "CorsRule":
        raise error("UnsupportedXmlNode", XmlNodeName=node.tag)
    origins, methods = _required(node, "AllowedOrigins"), _required(node, "AllowedMethods")
    if not origins:
        raise _wrong("AllowedOrigins", origins)
    if not methods or {method.strip() for method in methods.split(",")} - _METHODS:
        raise _wrong("AllowedMethods", methods)
    return CorsRule(
        origins,
        methods,
        _number(node, "MaxAgeInSeconds", 0, _MAX_AGE_S),
        exposed_headers=_text(node, "ExposedHeaders"),
        allowed_headers=_text(node, "AllowedHeaders"),
    )


def _read_default_version(node: Element) -> str:
    text = (node.text or "").strip()
    if text and not is_published(text):
        raise _wrong("DefaultServiceVersion", text)
    return text


def _read_delete_retention(node: Element) -> DeleteRetention:
    if not _bool(node, "Enabled"):
        return DeleteRetention()
    allows = _bool(node, "AllowPermanentDelete", default=False)
    return DeleteRetention(True, _number(node, "Days", 1, _MAX_DAYS), allows)


def _read_static_website(node: Element) -> StaticWebsite:
    if not _bool(node, "Enabled"):
        return StaticWebsite()
    index, path = _text(node, "IndexDocument"), _text(node, "DefaultIndexDocumentPath")
    if index and path:
        raise error("InvalidXmlDocument", Reason="IndexDocument and DefaultIndexDocumentPath exclude each other.")
    return StaticWebsite(True, index, _text(node, "ErrorDocument404Path"), path)


_READERS: Final[dict[str, tuple[str, Callable[[Element], Any]]]] = {
    "Logging": ("logging", _read_logging),
    "HourMetrics": ("hour_metrics", _read_metrics),
    "MinuteMetrics": ("minute_metrics", _read_metrics),
    "Cors": ("cors", _read_cors),
    "DefaultServiceVersion": ("default_version", _read_default_version),
    "DeleteRetentionPolicy": ("delete_retention", _read_delete_retention),
    "StaticWebsite": ("static_website", _read_static_website),
}
