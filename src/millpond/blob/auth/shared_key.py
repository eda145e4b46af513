"""Strings that a Shared Key signs.

https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_LITE_HEADERS = ("content-md5", "content-type", "date")


def strings_to_sign(
    account: str, method: str, raw_path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
) -> Iterator[str]:
    """What ``SharedKey`` may have signed, the likeliest first.

    Clients before 2018 leave parameters without a value out. Newer ones sort the headers as a dictionary would
    (hyphens do not count, an underscore comes before a digit), older ones by character.
    """
    plain = [headers.get(name, "") for name in _SIGNED_HEADERS]
    if plain[2] == "0":
        plain[2] = ""
    if "x-ms-date" in headers:
        plain[5] = ""
    start = "\n".join((method, *plain)) + "\n"
    resource = f"/{account}{raw_path}"
    parameters = [(name, ",".join(sorted(query[name]))) for name in sorted(query)]
    valued = [parameter for parameter in parameters if parameter[1]]
    for own_headers in _canonical_headers(headers):
        yield start + own_headers + resource + _lines(parameters)
        if len(valued) < len(parameters):
            yield start + own_headers + resource + _lines(valued)


def lite_strings_to_sign(
    account: str, method: str, raw_path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
) -> Iterator[str]:
    """What ``SharedKeyLite`` may have signed."""
    plain = [headers.get(name, "") for name in _LITE_HEADERS]
    if "x-ms-date" in headers:
        plain[2] = ""
    start = "\n".join((method, *plain)) + "\n"
    comp = f"?comp={query['comp'][0]}" if "comp" in query else ""
    for own_headers in _canonical_headers(headers):
        yield f"{start}{own_headers}/{account}{raw_path}{comp}"


def _lines(parameters: list[tuple[str, str]]) -> str:
    return "".join([f"\n{name}:{value}" for name, value in parameters])


def _canonical_headers(headers: Mapping[str, str]) -> Iterator[str]:
    names = sorted([name for name in headers if name.startswith("x-ms-")])
    yield "".join([f"{name}:{headers[name]}\n" for name in names])
    as_words = sorted(names, key=_as_word)
    if as_words != names:
        yield "".join([f"{name}:{headers[name]}\n" for name in as_words])


def _as_word(name: str) -> tuple[str, str]:
    # In ASCII an underscore comes after the digits and before the letters.
    return name.replace("-", "").replace("_", "!"), name
