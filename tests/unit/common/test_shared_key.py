import pytest

from millpond.common.shared_key import decode_key, is_signed, sign

KEYS = (b"one", b"two")


def test_a_signature_by_either_key_of_any_candidate_counts() -> None:
    assert is_signed(sign(b"two", "text"), KEYS, ["other", "text"])


@pytest.mark.parametrize("signature", ["", "é", sign(b"three", "text"), sign(b"one", "texts")])
def test_other_signatures_do_not(signature: str) -> None:
    assert not is_signed(signature, KEYS, ["text"])


def test_a_key_is_base64() -> None:
    assert decode_key("aGk=") == b"hi"
    with pytest.raises(ValueError):
        decode_key("not base64!")
