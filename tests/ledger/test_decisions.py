"""Arrivals and claims: what each state allows who comes, and what a claim makes of it."""

from __future__ import annotations

import pytest

from ledger.decisions import ForwardIt, JoinIt, LapseFirst, Reason, RefuseIt, ReplayIt, decide
from ledger.records import Record
from tests.ledger.samples import (
    FINGERPRINT,
    NEW,
    OLD,
    RECORDS,
    claimed,
    completed,
    free,
    in_flight,
    unknown,
)

# -- arrivals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "has_result", "lease_left_ms", "decision"),
    [
        (None, False, None, ForwardIt(None)),
        (free(), False, None, ForwardIt(free())),
        (free("not-final"), True, None, ForwardIt(free("not-final"))),
        (in_flight(), False, 1, JoinIt()),
        (in_flight(), False, 0, LapseFirst()),
        (in_flight(), False, -1, LapseFirst()),
        (in_flight(), False, None, LapseFirst()),
        (unknown(), False, None, RefuseIt(Reason.OUTCOME_UNKNOWN)),
        (unknown(), True, 10, RefuseIt(Reason.OUTCOME_UNKNOWN)),
        (unknown(listening=True), False, 1, JoinIt()),
        (unknown(listening=True), False, 0, RefuseIt(Reason.OUTCOME_UNKNOWN)),
        (unknown(listening=True), False, None, RefuseIt(Reason.OUTCOME_UNKNOWN)),
        (completed(), True, None, ReplayIt(completed())),
        (completed(), False, None, RefuseIt(Reason.RESULT_UNAVAILABLE)),
    ],
)
def test_arrival_gets_what_the_record_allows(
    record: Record | None, has_result: bool, lease_left_ms: int | None, decision: object
) -> None:
    """Forwarded if absent or free, held while somebody alive can still end it, else answered at once."""
    assert decide(record, FINGERPRINT, has_result=has_result, lease_left_ms=lease_left_ms) == decision


@pytest.mark.fault(7)
@pytest.mark.parametrize("lease_left_ms", [None, -1, 0, 1])
@pytest.mark.parametrize("has_result", [False, True])
@pytest.mark.parametrize("state", RECORDS)
def test_other_fingerprint_is_refused_before_anything_else(
    state: str, has_result: bool, lease_left_ms: int | None
) -> None:
    """One key cannot stand for two calls, in whatever state the first one is."""
    decision = decide(RECORDS[state], "f2", has_result=has_result, lease_left_ms=lease_left_ms)
    assert decision == RefuseIt(Reason.KEY_REUSED)


# -- claims ----------------------------------------------------------------------------------------------------------


def test_claim_of_an_absent_key_is_its_first_attempt() -> None:
    """Nothing is known before it."""
    record = claimed(None, NEW)
    assert (record.attempt, record.tokens, record.token, record.created_ms) == (1, (NEW,), NEW, 100)


def test_claim_over_a_free_record_goes_on_from_it() -> None:
    """The attempt grows, the tokens and the history are kept, and the creation's time is the first one's."""
    record = claimed(free(), "token-third")
    assert (record.attempt, record.tokens, record.created_ms) == (3, (OLD, NEW, "token-third"), 1)
    assert record.history == (*free().history, record.history[-1])


@pytest.mark.parametrize("token", [OLD, NEW])
def test_token_that_was_used_never_claims_again(token: str) -> None:
    """A claim's identity is good for one claim."""
    with pytest.raises(ValueError, match="has claimed op_1 before"):
        claimed(free(), token)
