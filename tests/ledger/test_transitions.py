"""The table of states: each state with each event, and what no history can lead to."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.events import Asking, Happening, Lapsed, Lost, NotSent, Probed, Replied, Resumed, Ruled, TimedOut
from ledger.records import DETAIL_MAX, HISTORY_MAX, TOKENS_MAX, Alias, Completed, Free, InFlight, Record, Unknown
from ledger.transitions import Changed, Unchanged, apply
from policies.model import Verdict
from tests.ledger.samples import (
    ENDINGS,
    FINDINGS,
    FOREIGN,
    LAPSED,
    NEW,
    OLD,
    RECORDS,
    claimed,
    completed,
    ending,
    in_flight,
    replied,
    unknown,
)

NOW = 100

KEPT = "unchanged"
CONFLICT = "conflict"
TABLE: dict[tuple[str, ...], str] = {
    # The newest attempt's end.
    ("in flight", "new", "final"): "completed",
    ("in flight", "new", "final, other"): "completed",
    ("in flight", "new", "not final"): "free",
    ("in flight", "new", "neither"): "unknown",
    ("in flight", "new", "not sent"): "free",
    ("in flight", "new", "withdrawn"): "free",
    ("in flight", "new", "lost"): "unknown",
    ("in flight", "new", "timed out"): "unknown, listening",
    ("unknown", "new", "final"): "completed",
    ("unknown", "new", "final, other"): "completed",
    ("unknown", "new", "not final"): "free",
    ("unknown", "new", "neither"): KEPT,
    ("unknown", "new", "not sent"): "free",
    ("unknown", "new", "withdrawn"): "free",
    ("unknown", "new", "lost"): KEPT,
    ("unknown", "new", "timed out"): "unknown, listening",
    ("unknown", "new", "resumed"): "unknown, listening",
    ("unknown, listening", "new", "final"): "completed",
    ("unknown, listening", "new", "final, other"): "completed",
    ("unknown, listening", "new", "not final"): "free",
    ("unknown, listening", "new", "neither"): "unknown",
    ("unknown, listening", "new", "not sent"): "free",
    ("unknown, listening", "new", "withdrawn"): "free",
    ("unknown, listening", "new", "lost"): "unknown",
    ("unknown, listening", "new", "timed out"): KEPT,
    ("completed", "new", "final"): KEPT,
    ("completed", "new", "final, other"): CONFLICT,
    ("free", "new", "final"): "completed",
    ("free", "new", "final, other"): "completed",
    ("unknown, resent", "new", "timed out"): "unknown, listening",
    ("unknown, resent", "new", "resumed"): "unknown, listening",
    ("completed, resent", "new", "final, other"): CONFLICT,
    ("completed, resent", "old", "final, other"): CONFLICT,
    ("alias", "new", "final"): "completed",
    ("alias", "new", "final, other"): "completed",
}
FINALS = ("final", "final, other")
WITHOUT_AN_END = ("not final", "neither", "not sent", "withdrawn", "lost")
# A resend says nothing about the attempts before it, unless it brings a final reply.
TABLE |= {("in flight, resent", "new", how): "unknown" for how in WITHOUT_AN_END}
TABLE |= {("in flight, resent", "new", "timed out"): "unknown, listening"}
TABLE |= {("unknown, resent, listening", "new", how): "unknown" for how in WITHOUT_AN_END}
TABLE |= {
    (state, "new", how): "completed"
    for state in ("in flight, resent", "unknown, resent", "unknown, resent, listening")
    for how in FINALS
}
# What is to be probed, or was claimed after a ruling, is as unknown as any.
TABLE |= {
    (f"unknown, {more}", *rest): becomes
    for more in ("probing", "a ruling before")
    for (state, *rest), becomes in list(TABLE.items())
    if state == "unknown"
}
# An older attempt speaks after a newer claim; a claim that the record never heard of (the store forgot it).
TABLE |= {
    (state, who, how): CONFLICT
    for state in RECORDS
    for who in ("old", "foreign")
    for how in FINALS
    if (state, who, how) != ("completed, resent", "old", "final")
}
TABLE |= {
    (state, "old", how): "completed"
    for state in RECORDS
    for how in FINALS
    if (state.startswith("unknown") or state == "in flight, resent") and state != "unknown, a ruling before"
}
TABLE |= {
    (state, "new", how): CONFLICT
    for state in ("completed by a ruling", "free by a ruling", "alias, a ruling before")
    for how in FINALS
}
"""State, whose attempt, how it ended: what becomes of the record. What is not in it changes nothing."""


def named(record: Record) -> str:
    """Return a record's state in the table's words."""
    match record:
        case InFlight():
            return "in flight"
        case Unknown(listening=True):
            return "unknown, listening"
        case Unknown():
            return "unknown"
        case Completed():
            return "completed"
        case Free():
            return "free"
        case Alias():
            return "alias"


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("who", ["new", "old", "foreign"])
@pytest.mark.parametrize("state", RECORDS)
def test_each_state_with_each_end_of_an_attempt_is_in_the_table(state: str, who: str, how: str) -> None:
    """Nothing raises, and what becomes of the record is what the table says; the rest stays as it was."""
    record = RECORDS[state]
    event = ending(how, {"new": NEW, "old": OLD, "foreign": FOREIGN}[who])
    expected = TABLE.get((state, who, how), KEPT)
    change = apply(record, event, NOW)
    if expected == KEPT:
        assert change == Unchanged()
        return
    assert isinstance(change, Changed)
    assert change.conflict == (expected == CONFLICT)
    assert named(change.record) == (named(record) if expected == CONFLICT else expected)
    assert len(change.record.history) == len(record.history) + 1
    assert change.record.history[-1].at_ms == NOW
    assert change.record.history[-1].token == event.token


@pytest.mark.parametrize(
    ("state", "becomes"),
    [(state, "unknown" if state.startswith("in flight") or state.endswith("listening") else "") for state in RECORDS],
)
def test_lapsed_lease_ends_in_unknown_and_touches_nothing_else(state: str, becomes: str) -> None:
    """Only who can have a lease can lose it: the outcome is unknown from then on, and nobody is listened to."""
    change = apply(RECORDS[state], LAPSED, NOW)
    if not becomes:
        assert change == Unchanged()
        return
    assert isinstance(change, Changed)
    assert (named(change.record), change.conflict) == (becomes, False)


FOUND = {
    "asking": "unknown",
    "applied": "completed",
    "not applied": "free",
    "to be asked again": "unknown",
    "the last probe": "unknown",
    "ruled executed": "completed",
    "ruled not executed": "free",
}


@pytest.mark.parametrize("how", FINDINGS)
@pytest.mark.parametrize("state", RECORDS)
def test_each_state_with_each_finding_is_in_the_table(state: str, how: str) -> None:
    """What somebody finds out ends an unknown and nothing else; a probe that did not apply says something only while
    one is being asked."""
    change = apply(RECORDS[state], FINDINGS[how], NOW)
    anyhow = state.startswith("unknown") and (how == "applied" or how.startswith("ruled"))
    if how not in FOUND or not (state == "unknown, probing" or anyhow):
        assert change == Unchanged()
        return
    assert isinstance(change, Changed)
    assert (named(change.record).removesuffix(", listening"), change.conflict) == (FOUND[how], False)


def test_conflict_changes_the_history_alone() -> None:
    """What stands is not touched by what contradicts it: the history tells, and somebody looks at it."""
    change = apply(completed(), ending("final, other", NEW), NOW)
    assert isinstance(change, Changed)
    assert replace(change.record, history=()) == replace(completed(), history=())
    assert change.record.history[-1].what == "conflict"


@pytest.mark.fault(37)
@pytest.mark.parametrize("state", RECORDS)
def test_conflict_is_noted_once(state: str) -> None:
    """Sent again because the store's answer was lost, it is neither written down nor counted a second time."""
    noted = apply(RECORDS[state], replied(FOREIGN), NOW)
    assert isinstance(noted, Changed)
    assert noted.conflict
    assert apply(noted.record, replied(FOREIGN), NOW) == Unchanged()


def test_late_final_reply_completes_late() -> None:
    """A reply that ends an unknown came after its caller was told so: it is late, whoever waits."""
    change = apply(unknown(), replied(NEW), NOW)
    assert isinstance(change, Changed)
    assert isinstance(change.record, Completed)
    assert change.record.late


@pytest.mark.parametrize("late", [False, True])
def test_reply_in_time_is_late_only_if_its_caller_had_gone(late: bool) -> None:
    """In flight, the forward says whether anybody was still there to be answered."""
    change = apply(in_flight(), replied(NEW, late=late), NOW)
    assert isinstance(change, Changed)
    assert isinstance(change.record, Completed)
    assert change.record.late is late


def test_status_that_settles_nothing_is_kept_with_the_unknown() -> None:
    """Who looks at an unknown sees which reply left it so."""
    change = apply(in_flight(), replied(NEW, Verdict.NEITHER), NOW)
    assert isinstance(change, Changed)
    assert isinstance(change.record, Unknown)
    assert (change.record.why, change.record.status) == ("status", 500)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (replied(NEW, Verdict.NOT_FINAL), "not-final"),
        (NotSent(NEW, "dns"), "not-sent"),
        (NotSent(NEW, "", withdrawn=True), "withdrawn"),
    ],
)
def test_free_record_remembers_why(event: Happening, why: str) -> None:
    """Free is not absent: what happened before is there to be read."""
    change = apply(in_flight(), event, NOW)
    assert isinstance(change, Changed)
    assert isinstance(change.record, Free)
    assert change.record.why == why


# -- histories -------------------------------------------------------------------------------------------------------

_endings = st.sampled_from(ENDINGS)
_moves = st.lists(
    st.one_of(
        st.just(("claim", "", 0)),
        st.just(("lapse", "", 0)),
        st.tuples(st.just("end"), _endings, st.integers(0, 3)),
    ),
    max_size=120,
)


def played(moves: list[tuple[str, str, int]]) -> list[tuple[Record | None, Record | None]]:
    """Return each step of the history that `moves` make, as the record before and after it."""
    record: Record | None = None
    tokens: list[str] = [FOREIGN]
    steps: list[tuple[Record | None, Record | None]] = []
    for number, (kind, how, back) in enumerate(moves):
        before = record
        if kind == "claim" and (record is None or isinstance(record, Free)):
            tokens.append(f"token-{number}")
            record = claimed(record, tokens[-1])
        elif record is not None and kind != "claim":
            event = LAPSED if kind == "lapse" else ending(how, tokens[-1 - min(back, len(tokens) - 1)])
            change = apply(record, event, NOW + number)
            record = change.record if isinstance(change, Changed) else record
        steps.append((before, record))
    return steps


@given(_moves)
def test_no_history_changes_whose_record_it_is(moves: list[tuple[str, str, int]]) -> None:
    """Operation, fingerprint, call and the time of creation are what the first claim said, for ever."""
    for before, after in played(moves):
        if before is not None:
            assert after is not None
            assert (after.operation, after.fingerprint, after.call, after.created_ms) == (
                before.operation, before.fingerprint, before.call, before.created_ms,
            )  # fmt: skip


@given(_moves)
def test_no_history_leaves_completed_or_goes_back_to_absent(moves: list[tuple[str, str, int]]) -> None:
    """What completed stays so, with the same reply, whatever is said of it later; and nothing is forgotten here."""
    for before, after in played(moves):
        if isinstance(before, Completed):
            assert after is not None
            assert replace(after, history=()) == replace(before, history=())
        assert after is not None or before is None


@given(_moves)
def test_attempts_and_tokens_grow_with_claims_alone(moves: list[tuple[str, str, int]]) -> None:
    """The fence that goes down to the tool rises by one with each claim, and no token comes twice."""
    for before, after in played(moves):
        if after is None:
            continue
        assert len(set(after.tokens)) == len(after.tokens) <= TOKENS_MAX
        if before is None or (isinstance(before, Free) and isinstance(after, InFlight)):
            assert isinstance(after, InFlight)
            assert after.attempt == (before.attempt if before else 0) + 1
        else:
            assert (after.attempt, after.tokens) == (before.attempt, before.tokens)


@given(_moves)
def test_only_a_claim_puts_a_record_in_flight(moves: list[tuple[str, str, int]]) -> None:
    """Nothing but an arrival over absent or free leads to a forward."""
    for before, after in played(moves):
        if isinstance(after, InFlight) and not isinstance(before, InFlight):
            assert before is None or isinstance(before, Free)


@given(_moves)
def test_unknown_ends_by_truth_alone(moves: list[tuple[str, str, int]]) -> None:
    """An unknown becomes free only when its newest attempt proves that it did not run."""
    record: Record | None = None
    for before, after in played(moves):
        record = after
        if isinstance(before, Unknown) and isinstance(after, Free):
            assert after.why in {"not-final", "not-sent", "withdrawn"}
            assert after.history[-1].token == after.token
    assert record is None or record.attempt >= 1


def test_history_is_bounded_and_keeps_its_ends() -> None:
    """An operation that is tried for ever keeps the first claim and the newest events."""
    record = claimed(None, "t0")
    for number in range(1, 100):
        change = apply(record, NotSent(f"t{number - 1}", "refused"), number)
        assert isinstance(change, Changed)
        assert isinstance(change.record, Free)
        record = claimed(change.record, f"t{number}")
    assert len(record.history) == HISTORY_MAX
    assert (record.history[0].what, record.history[0].token) == ("claimed", "t0")
    assert record.history[-1].token == "t99"
    assert (len(record.tokens), record.token, record.attempt) == (TOKENS_MAX, "t99", 100)


@pytest.mark.parametrize("event", [Lost(NEW, "x" * 10_000), NotSent(NEW, "x" * 10_000)])
def test_long_details_are_cut(event: Happening) -> None:
    """What a hostile tool makes us say about it does not fill the store."""
    change = apply(in_flight(), event, NOW)
    assert isinstance(change, Changed)
    assert isinstance(change.record, Unknown | Free)
    assert len(change.record.detail) == len(change.record.history[-1].detail) == DETAIL_MAX


def test_repeated_events_are_harmless() -> None:
    """A settle that is sent twice has the effect of one: whatever an event made, it makes nothing more of."""
    for state, record in RECORDS.items():
        for how in ENDINGS:
            change = apply(record, ending(how, NEW), NOW)
            if isinstance(change, Changed):
                again = apply(change.record, ending(how, NEW), NOW + 1)
                assert again == Unchanged(), (state, how)
        for how in FINDINGS.keys() - {"to be asked again"}:  # that one is leased: who asks has sent it once
            change = apply(record, FINDINGS[how], NOW)
            if isinstance(change, Changed):
                assert apply(change.record, FINDINGS[how], NOW + 1) == Unchanged(), (state, how)


def test_every_event_of_the_module_is_in_the_matrix() -> None:
    """An event that is added later must be added to the matrix above as well."""
    kinds = {type(ending(how, NEW)) for how in ENDINGS} | {Lapsed} | {type(event) for event in FINDINGS.values()}
    assert kinds == {Replied, NotSent, Lost, TimedOut, Resumed, Lapsed, Asking, Probed, Ruled}
    assert set(get_args(Happening)) == kinds
