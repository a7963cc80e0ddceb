"""Arrivals: what each state allows who comes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.decisions import (
    FollowIt,
    ForwardIt,
    JoinIt,
    LapseFirst,
    Reason,
    RefuseIt,
    ReplayIt,
    ResendIt,
    decide,
    may_resend,
)
from ledger.records import Alias, Completed, Free, InFlight, Record, Unknown
from tests.ledger.samples import (
    FINGERPRINT,
    PROBING,
    RECORDS,
    alias,
    completed,
    free,
    in_flight,
    unknown,
)


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
        (unknown(listening=True, resent=True), False, 0, RefuseIt(Reason.OUTCOME_UNKNOWN)),
        (unknown(probing=PROBING), False, None, JoinIt()),
        (unknown(probing=PROBING), True, -1, JoinIt()),
        (alias(), False, None, FollowIt(alias())),
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


@pytest.mark.parametrize("lease_left_ms", [None, -1, 0, 1])
@pytest.mark.parametrize("has_result", [False, True])
@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("state", RECORDS)
def test_each_state_is_answered_whatever_the_store_says_of_it(
    state: str, resend: bool, has_result: bool, lease_left_ms: int | None
) -> None:
    """Complete: nothing raises, and lease, result and resend matter only where they can."""
    record = RECORDS[state]
    leased = lease_left_ms == 1
    expected: object
    match record:
        case Free():
            expected = ForwardIt(record)
        case InFlight():
            expected = JoinIt() if leased else LapseFirst()
        case Unknown() if record.probing is not None or (record.listening and leased):
            expected = JoinIt()
        case Unknown():
            expected = ResendIt(record) if resend else RefuseIt(Reason.OUTCOME_UNKNOWN)
        case Completed():
            expected = ReplayIt(record) if has_result else RefuseIt(Reason.RESULT_UNAVAILABLE)
        case Alias():
            expected = FollowIt(record)
    got = decide(record, FINGERPRINT, has_result=has_result, lease_left_ms=lease_left_ms, resend=resend)
    assert got == expected


@pytest.mark.parametrize(
    ("within_ms", "now_ms", "may"),
    [
        (None, 1_000, False),
        (0, 1_000, False),
        (500, 1_000, True),
        (500, 1_499, True),
        (500, 1_500, False),
        (500, 999, False),
    ],
)
def test_resend_may_begin_within_its_window_of_the_first_claim(within_ms: int | None, now_ms: int, may: bool) -> None:
    """The tool honours the key for so long; with clocks that disagree about the beginning, it does not begin."""
    assert may_resend(replace(unknown(), created_ms=1_000), within_ms, now_ms) is may
