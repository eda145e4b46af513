"""Models of certificates."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from .common import NameValuePair
from .fields import Maybe, Model, Moment, NonEmpty

State = Literal["active", "deleting", "deletefailed"]


class CertificateAdd(Model, kw_only=True):
    thumbprint: NonEmpty
    thumbprint_algorithm: NonEmpty
    data: NonEmpty
    certificate_format: Maybe[Literal["pfx", "cer"]] = UNSET
    password: Maybe[str] = UNSET


class DeleteCertificateError(Model, kw_only=True):
    code: Maybe[str] = UNSET
    message: Maybe[str] = UNSET
    values: Maybe[list[NameValuePair]] = UNSET


class Certificate(Model, kw_only=True):
    """A certificate as it is answered with."""

    thumbprint: str
    thumbprint_algorithm: str
    url: str
    state: State
    state_transition_time: Moment
    previous_state: Maybe[State] = UNSET
    previous_state_transition_time: Maybe[Moment] = UNSET
    public_data: Maybe[str] = UNSET
    delete_certificate_error: Maybe[DeleteCertificateError] = UNSET
