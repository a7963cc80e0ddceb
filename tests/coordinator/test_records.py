"""What is written down of runs and turns, and read by this version and others."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from coordinator import transitions
from coordinator.records import SCHEMA, CorruptRecord, NewerRecord, Run, Turn, decode_run, decode_turn, encode, run_key
from tests.coordinator.run_samples import RUNS, asks, begun, looked, result, superseded

TURN = Turn(client_turn_id="turn_1", asked="digest", backend="assistants", assistant_id="asst_1", created_ms=1)
SIZE_MAX = 64 * 1_024
"""Bytes of a record with the most calls that a step may have, outputs aside: what a swap still carries with ease."""


@pytest.mark.parametrize("run", [*RUNS.values(), superseded()])
def test_run_is_read_as_it_was_written(run: Run) -> None:
    """In each of its states."""
    assert decode_run(encode(run)) == run


@pytest.mark.parametrize("turn", [TURN, replace(TURN, thread_id="thread_1", run_id="run_1", message="Grüß Gott")])
def test_turn_is_read_as_it_was_written(turn: Turn) -> None:
    """Before it has a run, and after."""
    assert decode_turn(encode(turn)) == turn


@pytest.mark.fault(60)
@pytest.mark.parametrize("run", RUNS.values())
def test_what_a_later_version_adds_is_skipped(run: Run) -> None:
    """New members of each part of a record, and of an event, are no trouble to this version."""
    plain = msgspec.msgpack.decode(encode(run))
    plain["mood"] = {"of": "next year"}
    plain["history"] = [[*event, "more"] for event in plain["history"]]
    for step in plain.get("steps", []):
        step["mood"] = 1
        for part in [*step["calls"], *step.get("attempts", [])]:
            part["mood"] = [None]
            part.get("given", {})["mood"] = 2.5
    assert decode_run(msgspec.msgpack.encode(plain)) == run


@pytest.mark.fault(60)
@pytest.mark.parametrize("more", [{}, {"steps": 7, "client_turn_id": None}], ids=["the same", "other shapes"])
def test_record_of_a_newer_schema_is_refused_as_that(more: dict[str, object]) -> None:
    """Whether or not this version could make something of it: it is told to leave it alone, and it is not damaged."""
    for record, decode in ((RUNS["submitted"], decode_run), (TURN, decode_turn)):
        newer = {**msgspec.msgpack.decode(encode(record)), "schema": SCHEMA + 1, **more}
        with pytest.raises(NewerRecord, match=f"of schema {SCHEMA + 1}, and this version knows {SCHEMA}"):
            decode(msgspec.msgpack.encode(newer))


def test_present_schema_costs_a_record_nothing() -> None:
    """The mark is not written while it is the first: rows that were there before it are of the same schema."""
    assert SCHEMA == 1
    assert b"schema" not in encode(RUNS["submitted"]) + encode(TURN)


@given(data=st.binary(max_size=64))
def test_bytes_that_are_no_record_are_corrupt(data: bytes) -> None:
    """Nothing else is ever raised: a corrupt record is told from an absent one, and from a bug."""
    for decode in (decode_run, decode_turn):
        with pytest.raises(CorruptRecord):
            decode(data)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_damaged_record_is_corrupt_or_another_record(at: int, byte: int) -> None:
    """One byte that is not what it was, be it in the midst of a word, never ends in another exception."""
    for record, decode in ((RUNS["submitted"], decode_run), (TURN, decode_turn)):
        data = bytearray(encode(record))
        data[at % len(data)] = byte
        with contextlib.suppress(CorruptRecord):
            assert isinstance(decode(bytes(data)), type(record))


def test_words_that_are_not_text_are_corrupt() -> None:
    """Bytes that are no UTF-8 where a word is to be."""
    for decode in (decode_run, decode_turn):
        with pytest.raises(CorruptRecord):
            decode(b"\x81\xa7backend\xa1\xff")


def test_run_is_no_turn() -> None:
    """Neither is read as the other."""
    with pytest.raises(CorruptRecord):
        decode_run(encode(TURN))
    with pytest.raises(CorruptRecord):
        decode_turn(encode(begun()))


def test_record_of_the_largest_step_is_small() -> None:
    """128 calls, each with a result whose output was let go, two submission attempts and a full timeline."""
    calls = asks(*((f"call_{number:024d}", f"{number:064x}") for number in range(128)))
    run = looked(begun(), calls, "step_" + "1" * 24)
    for call in calls.calls:
        given_one = replace(result(), digest="d" * 64, operation="op_" + "0" * 40)
        run, _ = transitions.given(run, call.tool_call_id, given_one, 20)
    for token, end in (("t" * 32, "refused"), ("u" * 32, "accepted")):
        run = transitions.submitted(transitions.submitting(run, token, 30), token, end, "x" * 300, 40)  # type: ignore[arg-type]
    gone = transitions.gone(run, "", 50)
    assert len(encode(gone)) < SIZE_MAX
    assert decode_run(encode(gone)) == gone


def test_key_tells_backends_and_runs_apart() -> None:
    """The same run id of another backend is another place."""
    assert run_key("assistants", "run_1") != run_key("other", "run_1")
    assert run_key("assistants", "run_1") == "run:assistants:run_1"


def test_whole_step_has_something_to_hand_in_for_each_call() -> None:
    """One call without a result is enough for it not to be."""
    for name, expected in (("open", False), ("whole", True), ("submitting", True)):
        step = RUNS[name].step
        assert step is not None
        assert step.whole is expected
        assert step.ids == {"a", "b"}
    assert begun().step is None
