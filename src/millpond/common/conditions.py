"""Conditional requests (If-Match and kin), the part that is the same for every entity."""

from __future__ import annotations

from typing import NamedTuple

from .clock import SECOND, to_etag


class Conditions(NamedTuple):
    """What a request demands of the entity it names. ETags are bare (no quotes, no ``W/``); ``*`` stands for any."""

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    def hold_for(self, last_modified: int | None) -> bool:
        """Whether they hold for an entity last modified then (``None``: it does not exist).

        An ETag header outranks the date header of the same sense (RFC 9110, 13.2.2). HTTP dates are whole
        seconds, so the fraction of ``last_modified`` does not count.
        """
        if last_modified is None:
            return not self.if_match and self.if_unmodified_since is None
        etag = to_etag(last_modified)
        second = last_modified - last_modified % SECOND
        if self.if_match:
            if "*" not in self.if_match and etag not in self.if_match:
                return False
        elif self.if_unmodified_since is not None and second > self.if_unmodified_since:
            return False
        if self.if_none_match:
            return "*" not in self.if_none_match and etag not in self.if_none_match
        return self.if_modified_since is None or second > self.if_modified_since


NO_CONDITIONS = Conditions()


def parse_etags(header: str) -> tuple[str, ...]:
    """Bare ETags of an If-Match or If-None-Match header: quoted, unquoted, weak, several, or ``*``."""
    parts = (part.strip() for part in header.split(","))
    return tuple(part.removeprefix("W/").strip('"') for part in parts if part)
