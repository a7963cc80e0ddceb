"""Sealed results: what opens, what does not, and what they give away."""

from __future__ import annotations

import base64
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import result
from ledger.result import Result
from ledger.sealing import KEY_ID_BYTES, MARK, Sealing, Unsealable, is_sealed, key_id, read_key

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = b"IBAN DE00 1234"


def test_sealed_result_shows_nothing_and_is_never_the_same_twice() -> None:
    """Equal results look different, and neither they nor the key can be seen in it."""
    sealing = Sealing([OLD])
    first, second = (sealing.seal("op_1", SECRET) for _ in range(2))
    assert first != second
    assert is_sealed(first)
    assert SECRET not in first
    assert OLD not in first
    assert sealing.open("op_1", first) == sealing.open("op_1", second) == SECRET


@given(st.binary(max_size=200), st.text(max_size=30))
def test_whatever_is_sealed_opens_as_it_was(data: bytes, operation: str) -> None:
    """Empty results and odd ids, too."""
    sealing = Sealing([OLD])
    assert sealing.open(operation, sealing.seal(operation, data)) == data


def test_result_of_another_operation_does_not_open() -> None:
    """Moved to another record it is worth nothing there (I3)."""
    sealing = Sealing([OLD])
    with pytest.raises(Unsealable, match="this operation"):
        sealing.open("op_2", sealing.seal("op_1", SECRET))


def test_older_keys_open_what_they_sealed() -> None:
    """The first key seals, all of them open; who has only the new one is told which is missing."""
    before = Sealing([OLD]).seal("op_1", SECRET)
    changing = Sealing([NEW, OLD])
    assert changing.open("op_1", before) == SECRET
    after = changing.seal("op_1", SECRET)
    assert Sealing([NEW]).open("op_1", after) == SECRET
    with pytest.raises(Unsealable, match=key_id(OLD).hex()):
        Sealing([NEW]).open("op_1", before)


def test_every_bit_counts() -> None:
    """Whatever is changed, cut off or added: it does not open, and it does not crash."""
    sealing = Sealing([OLD])
    sealed = sealing.seal("op_1", SECRET)
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(MARK), len(sealed))]
    cut = [sealed[:at] for at in range(len(MARK), len(sealed))]
    for forged in (*changed, *cut, sealed + b"\0"):
        with pytest.raises(Unsealable):
            sealing.open("op_1", forged)


@given(st.integers(100, 599), st.binary(max_size=50))
def test_plain_result_is_never_taken_for_a_sealed_one(status: int, body: bytes) -> None:
    """Results that were written before there was a key are told apart by their first byte."""
    assert not is_sealed(result.encode(Result(status, b"", (), body)))


@pytest.mark.parametrize(
    "text",
    [OLD.hex().encode(), OLD.hex().upper().encode() + b"\n", base64.b64encode(OLD), base64.urlsafe_b64encode(OLD)],
)
def test_key_may_be_written_in_either_way(text: bytes) -> None:
    """As the usual tools print 32 random bytes."""
    assert read_key(text) == OLD


@pytest.mark.parametrize(
    "text", [b"", b"secret", OLD, OLD.hex().encode()[:-2], base64.b64encode(OLD * 2), b"x" * 64, b"\xff" * 64]
)
def test_what_is_no_key_is_refused_and_not_repeated(text: bytes) -> None:
    """A password is not a key, and an error message is no place for either."""
    with pytest.raises(ValueError, match="key") as caught:
        read_key(text)
    assert not text or text.decode("latin-1") not in str(caught.value)


def test_key_id_is_short_and_leads_to_no_key() -> None:
    """It stands beside every result."""
    assert len(key_id(OLD)) == KEY_ID_BYTES
    assert key_id(OLD) != key_id(NEW)


def test_without_keys_or_without_the_library_there_is_no_sealing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at start, with what helps; a proxy without a key needs no library."""
    with pytest.raises(ValueError, match="no key"):
        Sealing([])
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ValueError, match=r"holdfast\[encryption\]"):
        Sealing([OLD])
