"""Models of the images and agents that nodes may be made of."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from .fields import Maybe, Model, Moment
from .pools import ImageReference


class SupportedImage(Model, kw_only=True):
    node_agent_sku_id: str
    image_reference: ImageReference
    os_type: Literal["linux", "windows"]
    capabilities: Maybe[list[str]] = UNSET
    batch_support_end_of_life: Maybe[Moment] = UNSET
    verification_type: Literal["verified", "unverified"]


class NodeAgentSku(Model, kw_only=True):
    """What images were listed by before 2019-06-01."""

    id: Maybe[str] = UNSET
    verified_image_references: Maybe[list[ImageReference]] = UNSET
    os_type: Maybe[Literal["linux", "windows"]] = UNSET
