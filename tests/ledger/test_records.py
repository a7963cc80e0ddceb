"""Records written down and read back, by this version and by its neighbours in a rollout."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.records import Completed, CorruptRecord, Event, Record, decode, encode
from tests.ledger.samples import OPERATION, RECORDS, completed, in_flight


@pytest.mark.parametrize("state", RECORDS)
def test_record_is_read_back_as_it_was_written(state: str) -> None:
    """Nothing is lost on the way to the store and back."""
    assert decode(encode(RECORDS[state]), OPERATION) == RECORDS[state]


@given(st.text(), st.lists(st.builds(Event, st.integers(0, 2**53), st.text(), st.text(), st.text()), max_size=4))
def test_texts_of_any_kind_survive(detail: str, history: list[Event]) -> None:
    """What people and tools wrote comes back unchanged."""
    record = msgspec.structs.replace(in_flight(), fingerprint=detail, history=tuple(history))
    assert decode(encode(record), OPERATION) == record


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"not msgpack at all",
        msgspec.msgpack.encode({"state": "in_flight"}),
        msgspec.msgpack.encode({**msgspec.to_builtins(in_flight()), "state": "resent"}),
        msgspec.msgpack.encode({**msgspec.to_builtins(in_flight()), "tokens": []}),
        msgspec.msgpack.encode({**msgspec.to_builtins(in_flight()), "attempt": "two"}),
        encode(in_flight())[:-1],
        b"\x93" * 100_000,
    ],
    ids=["empty", "reserved", "text", "no fields", "a later state", "no token", "wrong type", "cut", "deep"],
)
def test_bytes_that_cannot_be_read_are_corrupt_and_never_absent(data: bytes) -> None:
    """A record that this version cannot read is told apart from none at all, whatever is wrong with it."""
    with pytest.raises(CorruptRecord, match=OPERATION):
        decode(data, OPERATION)


@pytest.mark.fault(60)
def test_state_of_a_later_version_is_refused_by_its_name() -> None:
    """Whatever else it holds: nobody here guesses what a state means that came later."""
    newer = {"state": "postponed", "operation": OPERATION, "until": {"the": "cows come home"}}
    with pytest.raises(CorruptRecord, match="'postponed', which this version does not know: a newer one wrote it"):
        decode(msgspec.msgpack.encode(newer), OPERATION)


@pytest.mark.fault(47)
def test_record_of_another_operation_is_corrupt() -> None:
    """What lies in the wrong place is not believed (I3)."""
    with pytest.raises(CorruptRecord, match="op_1's"):
        decode(encode(completed()), "op_2")


@given(st.binary(max_size=200))
def test_noise_is_corrupt(data: bytes) -> None:
    """No bytes whatever make `decode` raise anything else."""
    with pytest.raises(CorruptRecord):
        decode(data, OPERATION)


@pytest.mark.fault(60)
@pytest.mark.parametrize("state", RECORDS)
def test_fields_and_event_columns_of_a_later_version_are_skipped(state: str) -> None:
    """During a rollout both versions read each other's records: what the newer one adds, the older one leaves aside."""
    raw = msgspec.to_builtins(RECORDS[state])
    raw["ruling"] = {"by": "an operator"}
    raw["call"]["region"] = "eu"
    raw["history"] = [[*event, "a fifth column"] for event in raw["history"]]
    assert decode(msgspec.msgpack.encode(raw), OPERATION) == RECORDS[state]


@pytest.mark.fault(60)
def test_record_of_an_earlier_version_without_later_fields_is_read() -> None:
    """Every field that was added since has a default."""
    raw = {
        "state": "completed", "operation": OPERATION, "fingerprint": "f", "call": {}, "created_ms": 1, "attempt": 1,
        "tokens": ["t"], "completed_ms": 2, "status": 201, "digest": "d",
    }  # fmt: skip
    record = decode(msgspec.msgpack.encode(raw), OPERATION)
    assert isinstance(record, Completed)
    assert (record.unkept, record.late, record.failed, record.history) == ("", False, False, ())


def test_newest_token_is_the_last() -> None:
    """The current claim's token is the one that settles."""
    assert in_flight().token == in_flight().tokens[-1]


def test_each_state_is_a_type_of_its_own() -> None:
    """No record says two things at once: its state is its type, written as a tag."""
    tags = {msgspec.msgpack.decode(encode(record))["state"] for record in RECORDS.values()}
    assert tags == {"in_flight", "unknown", "completed", "free", "alias"}
    assert {type(record) for record in RECORDS.values()} == set(get_args(Record))
