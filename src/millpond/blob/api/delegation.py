"""The operation on user delegation keys."""

from __future__ import annotations

import base64

from millpond.common.clock import SECOND, from_iso, to_iso
from millpond.common.identities import TENANT, object_id

from ..auth.delegation import LONGEST_LIFE, SERVICE, DelegationKey
from ..errors import error
from .answer import Answer, xml_answer
from .call import Call, read_document
from .xml import DECLARATION, element, parse


async def get_user_delegation_key(call: Call) -> Answer:
    """For the holder of the account's bearer token, and for a week at most."""
    token = call.service.accounts.storage_token(call.name.account)
    if call.access.by != "token" or token is None:
        detail = "A user delegation key is for those who come with a bearer token."
        raise error("AuthenticationFailed", AuthenticationErrorDetail=detail)
    document = parse(await read_document(call), "KeyInfo")
    now = call.service.clock.now()
    given = (document.findtext("Start") or "").strip()
    start = _time("Start", given) if given else now
    expiry = _time("Expiry", (document.findtext("Expiry") or "").strip())
    if expiry <= max(start, now) or expiry > now + LONGEST_LIFE or expiry - start > LONGEST_LIFE:
        raise error("InvalidXmlNodeValue", XmlNodeName="Expiry", XmlNodeValue=_text(expiry))
    delegated = (document.findtext("DelegatedUserTid") or "").strip()
    key = DelegationKey(
        object_id(call.name.account), TENANT, _text(start), _text(expiry), SERVICE, call.request.version, delegated
    )
    return xml_answer(
        f"{DECLARATION}<UserDelegationKey>"
        + element("SignedOid", key.object_id)
        + element("SignedTid", key.tenant_id)
        + element("SignedStart", key.start)
        + element("SignedExpiry", key.expiry)
        + element("SignedService", key.service)
        + element("SignedVersion", key.version)
        + (element("SignedDelegatedUserTid", delegated) if delegated else "")
        + element("Value", base64.b64encode(key.value(token)).decode())
        + "</UserDelegationKey>"
    )


def _time(name: str, text: str) -> int:
    try:
        return from_iso(text)
    except ValueError:
        raise error("InvalidXmlNodeValue", XmlNodeName=name, XmlNodeValue=text) from None


def _text(moment: int) -> str:
    """To the second."""
    return to_iso(moment - moment % SECOND)
