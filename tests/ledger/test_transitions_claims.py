"""Claims, resends and aliases: what each makes of what stood there, and what it takes along."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.events import Asking, Lapsed, Lost, NotSent, Probed, Ruled, TimedOut
from ledger.records import (
    DETAIL_MAX,
    HISTORY_MAX,
    RULING_MAX,
    TOKENS_MAX,
    Alias,
    Completed,
    Event,
    Free,
    InFlight,
    Probing,
    Record,
    Unknown,
)
from ledger.transitions import Changed, Unchanged, alias, apply, claim, resend
from policies.model import Verdict
from tests.ledger.samples import (
    CALL,
    DIGEST,
    FINDINGS,
    FINGERPRINT,
    HOLD,
    NEW,
    OLD,
    OPERATION,
    PLAN,
    PROBING,
    RECORDS,
    claimed,
    completed,
    free,
    in_flight,
    replied,
    unknown,
)
from tests.ledger.samples import alias as an_alias

THIRD = "token-third"


def changed(record: Record, event: object) -> Record:
    """Return what becomes of `record`, where something must."""
    change = apply(record, event, 100)  # type: ignore[arg-type]
    assert isinstance(change, Changed)
    return change.record


# -- claims ----------------------------------------------------------------------------------------------------------


def test_claim_of_an_absent_key_is_its_first_attempt() -> None:
    """Nothing is known before it."""
    record = claimed(None, NEW)
    assert (record.attempt, record.tokens, record.token, record.created_ms) == (1, (NEW,), NEW, 100)


@pytest.mark.parametrize("over", [free(), an_alias()], ids=["free", "alias"])
def test_claim_over_a_record_goes_on_from_it(over: Free | Alias) -> None:
    """The attempt grows, the tokens and the history are kept, and the creation's time is the first one's."""
    record = claimed(over, THIRD)
    assert (record.attempt, record.tokens, record.created_ms) == (3, (OLD, NEW, THIRD), 1)
    assert record.history == (*over.history, Event(100, "claimed", THIRD))
    assert not record.resent


def test_claim_over_an_alias_that_never_had_a_token_is_its_first_attempt() -> None:
    """An alias made of nothing counted no attempt."""
    made = alias(None, "op_0", operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, now_ms=50)
    assert (made.attempt, made.tokens, made.token) == (0, (), "")
    record = claimed(made, NEW)
    assert (record.attempt, record.tokens, record.created_ms) == (1, (NEW,), 50)


@pytest.mark.parametrize("token", [OLD, NEW])
@pytest.mark.parametrize("over", [free(), an_alias()], ids=["free", "alias"])
def test_token_that_was_used_never_claims_again(over: Free | Alias, token: str) -> None:
    """A claim's identity is good for one claim."""
    with pytest.raises(ValueError, match="has claimed op_1 before"):
        claimed(over, token)


def test_claim_takes_effect_plan_and_principal_from_the_request_at_hand() -> None:
    """What an earlier request asked for is not held on to: a policy may have changed meanwhile."""
    before = replace(free(), effect=replace(HOLD, key="e0"), principal="p0")
    record = claim(
        before, operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, token=THIRD, now_ms=100, effect=HOLD,
        plan=PLAN, principal="p1",
    )  # fmt: skip
    assert (record.effect, record.plan, record.principal) == (HOLD, PLAN, "p1")
    assert claimed(before, THIRD).effect is None


# -- resends ---------------------------------------------------------------------------------------------------------


def test_resend_is_one_more_attempt_of_the_same_call() -> None:
    """Everything that the record holds goes on; from now on only a final reply settles it."""
    before = replace(unknown(), effect=HOLD, plan=PLAN, principal="p1")
    record = resend(before, THIRD, 100)
    assert (record.attempt, record.tokens, record.resent) == (3, (OLD, NEW, THIRD), True)
    assert (record.effect, record.plan, record.principal, record.created_ms) == (HOLD, PLAN, "p1", 1)
    assert record.history[-1] == Event(100, "resent", THIRD)


@pytest.mark.parametrize("token", [OLD, NEW])
def test_token_that_was_used_never_resends(token: str) -> None:
    """A resend is a claim."""
    with pytest.raises(ValueError, match="has claimed op_1 before"):
        resend(unknown(), token, 100)


def test_resends_keep_the_newest_tokens() -> None:
    """However often it is tried, the record stays bounded."""
    record = unknown()
    for number in range(100):
        record_then = resend(record, f"t{number}", 100)
        lost = changed(record_then, Lost(f"t{number}", "reset"))
        assert isinstance(lost, Unknown)
        record = lost
    assert (len(record.tokens), record.token, record.attempt) == (TOKENS_MAX, "t99", 102)
    assert record.resent


@pytest.mark.parametrize(
    "event", [NotSent(NEW, "refused"), replied(NEW, Verdict.NOT_FINAL), Lost(NEW, "reset"), Lapsed()], ids=str
)
def test_resend_that_brings_nothing_final_leaves_it_unknown(event: object) -> None:
    """It was not sent, or the tool is busy: that says nothing about the attempts before it."""
    record = changed(in_flight(resent=True), event)
    assert isinstance(record, Unknown)
    assert record.resent


@pytest.mark.parametrize("token", [OLD, NEW])
def test_either_attempt_of_a_resent_call_settles_it(token: str) -> None:
    """They carried one key: whichever reply comes first is the call's."""
    record = changed(in_flight(resent=True), replied(token))
    assert isinstance(record, Completed)
    assert record.resent
    assert record.late is (token == OLD)
    for repeated in (OLD, NEW):
        assert apply(record, replied(repeated), 101) == Unchanged()


def test_unknown_does_not_grow_younger_by_a_resend_that_was_not_sent() -> None:
    """Told late, it changes nothing."""
    assert apply(unknown(resent=True), NotSent(NEW, "refused"), 100) == Unchanged()


# -- aliases ---------------------------------------------------------------------------------------------------------


def test_alias_over_a_free_record_remembers_it() -> None:
    """Its tokens may still be heard of, and its history tells what came before."""
    record = alias(free(), "op_0", operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, now_ms=100, principal="p1")
    assert (record.of, record.attempt, record.tokens, record.created_ms) == ("op_0", 2, (OLD, NEW), 1)
    assert record.history == (*free().history, Event(100, "aliased", "", "op_0"))
    assert (record.principal, record.effect) == ("p1", None)


def test_alias_whose_own_attempt_did_run_after_all_is_completed() -> None:
    """The truth about this key is above what another one's effect says of it."""
    record = changed(an_alias(), replied(NEW))
    assert isinstance(record, Completed)
    assert (record.late, record.digest) == (True, DIGEST)


# -- what is found out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [Lost(NEW, "reset"), Lapsed(), TimedOut(NEW), replied(NEW, Verdict.NEITHER)], ids=str)
def test_unknown_with_a_plan_is_to_be_probed_from_its_first_moment(event: object) -> None:
    """Whoever finds it knows when to ask first; without a plan, nobody asks."""
    record = changed(replace(in_flight(), plan=PLAN), event)
    assert isinstance(record, Unknown)
    assert record.probing == Probing(0, 0, PLAN.after_ms)
    without = changed(in_flight(), event)
    assert isinstance(without, Unknown)
    assert without.probing is None


def test_probing_goes_on_where_it_was_when_nobody_listens_any_more() -> None:
    """A process that dies while it listens takes none of the asking with it."""
    record = changed(unknown(listening=True, probing=PROBING), Lapsed())
    assert isinstance(record, Unknown)
    assert (record.listening, record.probing) == (False, PROBING)
    assert apply(unknown(probing=PROBING), Lapsed(), 100) == Unchanged()


def test_asking_is_counted_and_leased() -> None:
    """While one process asks, what it swapped in keeps the others off."""
    record = changed(unknown(probing=PROBING), FINDINGS["asking"])
    assert isinstance(record, Unknown)
    assert record.probing == Probing(2, 7_000, 3_000)
    assert apply(record, FINDINGS["asking"], 101) == Unchanged()


def test_probe_that_says_nothing_is_followed_by_the_next_or_by_none() -> None:
    """How many there were, and for how long, is kept; after the last, the outcome is unknown for good."""
    again = changed(unknown(probing=PROBING), FINDINGS["to be asked again"])
    assert isinstance(again, Unknown)
    assert again.probing == Probing(1, 2_000, 5_000)
    last = changed(unknown(probing=PROBING), FINDINGS["the last probe"])
    assert isinstance(last, Unknown)
    assert last.probing is None


def test_probe_that_found_it_completes_with_what_it_found() -> None:
    """The answer is built from the probe's, and says so."""
    found = Probed(
        applied=True, free=False, next_ms=None, detail="x" * 10_000, status=200, digest="d", audit_id="T-7",
        head=((b"Content-Type", b"a/b"),),
    )  # fmt: skip
    record = changed(replace(unknown(probing=PROBING), effect=HOLD, plan=PLAN, principal="p"), found)
    assert isinstance(record, Completed)
    assert (record.source, record.late) == ("probe", True)
    assert (record.status, record.digest, record.audit_id) == (200, "d", "T-7")
    assert (record.head, record.effect, record.principal) == (found.head, HOLD, "p")
    assert len(record.history[-1].detail) == DETAIL_MAX


def test_late_reply_that_agrees_with_a_probe_is_no_contradiction() -> None:
    """It has another form than what the probe brought; that it succeeded is what both say."""
    assert apply(completed("probe"), replied(NEW, digest="another form"), 100) == Unchanged()


def test_late_failure_after_a_probe_found_it_is_a_contradiction() -> None:
    """One says that it is there, the other that it was refused: somebody has to look."""
    refusal = replace(replied(NEW, digest="no"), status=422)
    change = apply(completed("probe"), refusal, 100)
    assert isinstance(change, Changed)
    assert change.conflict


def test_probe_about_an_earlier_attempt_frees_nothing() -> None:
    """It was asked before the resend that is unknown now: that one may have run since."""
    before = unknown(resent=True, probing=PROBING)
    assert apply(before, FINDINGS["about an earlier attempt"], 100) == Unchanged()
    record = changed(before, replace(FINDINGS["applied"], token=OLD))
    assert isinstance(record, Completed)  # that it did happen stays true


def test_trusted_probe_frees_what_was_resent_too() -> None:
    """It speaks of the call, not of one attempt."""
    record = changed(unknown(resent=True, probing=PROBING), FINDINGS["not applied"])
    assert isinstance(record, Free)
    assert record.why == "probe"


def test_ruling_is_written_down_with_who_and_why() -> None:
    """Executed, with a result to replay or without; or not, and the key is free."""
    done = changed(unknown(), FINDINGS["ruled executed"])
    assert isinstance(done, Completed)
    assert (done.source, done.status, done.digest, done.unkept) == ("ruling", 201, "d-ruled", "")
    assert done.history[-1] == Event(100, "ruled", "", "executed, says ann: seen it")
    bare = changed(unknown(), Ruled(executed=True, by="ann", reason="r" * 10_000))
    assert isinstance(bare, Completed)
    assert (bare.status, bare.unkept, len(bare.history[-1].detail)) == (0, "never-known", RULING_MAX)
    freed = changed(unknown(), FINDINGS["ruled not executed"])
    assert isinstance(freed, Free)
    assert (freed.why, freed.detail) == ("ruling", "looked it up")


@pytest.mark.parametrize("kind", ["free", "alias", "claimed", "unknown"])
def test_ruling_holds_for_the_attempts_before_it_whatever_came_after(kind: str) -> None:
    """An old attempt's reply after a person's word is a contradiction; attempts that were made on that word speak for
    themselves."""
    ruled = changed(unknown(), FINDINGS["ruled not executed"])
    assert isinstance(ruled, Free)
    record: Record = ruled
    if kind == "alias":
        record = alias(ruled, "op_0", operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, now_ms=101)
    elif kind in {"claimed", "unknown"}:
        record = claimed(ruled, THIRD)
        if kind == "unknown":
            record = changed(record, Lost(THIRD, "reset"))
        assert isinstance(changed(record, replied(THIRD)), Completed)
    for token in (OLD, NEW):
        change = apply(record, replied(token), 102)
        assert isinstance(change, Changed)
        assert change.conflict


# -- notes -----------------------------------------------------------------------------------------------------------

NOTES = (Event(50, "joined"), Event(60, "caller gone"))


@pytest.mark.parametrize("state", RECORDS)
def test_notes_go_before_the_line_of_what_changed(state: str) -> None:
    """Joins and callers that have gone are told with what became of the call, or not at all: they are no reason to
    write."""
    for event in (replied(NEW), Lapsed(), TimedOut(NEW), *FINDINGS.values()):
        without = apply(RECORDS[state], event, 100)
        noted = apply(RECORDS[state], event, 100, NOTES)
        if isinstance(without, Unchanged):
            assert noted == Unchanged()
            continue
        assert isinstance(noted, Changed)
        before, after = RECORDS[state].history, without.record.history[len(RECORDS[state].history) :]
        assert noted.record.history == (*before, *NOTES, *after)
        assert replace(noted.record, history=()) == replace(without.record, history=())
        assert noted.conflict == without.conflict


def test_many_notes_leave_the_first_claim_and_the_newest_lines() -> None:
    """A burst of joiners does not fill the record."""
    notes = tuple(Event(number, "joined") for number in range(500))
    record = apply(in_flight(), replied(NEW), 1_000, notes)
    assert isinstance(record, Changed)
    history = record.record.history
    assert (len(history), history[0].what, history[-1].what) == (HISTORY_MAX, "claimed", "replied")
    assert history[1:-1] == notes[-HISTORY_MAX + 2 :]


def test_asking_takes_its_notes_along() -> None:
    """It has no line of its own, but is a write like any other."""
    change = apply(unknown(probing=PROBING), Asking(1, 0, 1), 100, NOTES)
    assert isinstance(change, Changed)
    assert change.record.history[-2:] == NOTES


def test_record_in_flight_is_not_found_out() -> None:
    """While it runs, its own attempt speaks: neither probes nor people end it."""
    for event in FINDINGS.values():
        assert apply(in_flight(), event, 100) == Unchanged()
    assert isinstance(in_flight(), InFlight)
