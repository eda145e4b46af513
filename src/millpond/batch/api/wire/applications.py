"""Models of applications."""

from __future__ import annotations

from .fields import Model


class Application(Model, kw_only=True):
    """An application as it is answered with."""

    id: str
    display_name: str
    versions: list[str]
