"""Models of pools that scale by themselves."""

from __future__ import annotations

from msgspec import UNSET

from .common import NameValuePair
from .fields import Duration, Maybe, Model, Moment, PropertyError


class AutoScaleRunError(Model, kw_only=True):
    code: Maybe[str] = UNSET
    message: Maybe[str] = UNSET
    values: Maybe[list[NameValuePair]] = UNSET


class AutoScaleRun(Model, kw_only=True):
    timestamp: Moment
    results: Maybe[str] = UNSET
    error: Maybe[AutoScaleRunError] = UNSET


class PoolEnableAutoScale(Model, kw_only=True):
    auto_scale_formula: Maybe[str] = UNSET
    auto_scale_evaluation_interval: Maybe[Duration] = UNSET

    def __post_init__(self) -> None:
        if self.auto_scale_formula is UNSET and self.auto_scale_evaluation_interval is UNSET:
            raise PropertyError(
                "autoScaleFormula",
                "At least one of autoScaleFormula and autoScaleEvaluationInterval must be specified.",
                "MissingRequiredProperty",
            )


class PoolEvaluateAutoScale(Model, kw_only=True):
    auto_scale_formula: str
