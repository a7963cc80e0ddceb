"""What the store is asked to keep of each record, and for how long."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.records import Completed, Event, decode
from ledger.store import EffectWrite, Write
from ledger.writes import SHARED_MS, write_of
from policies.model import ResultRules
from tests.ledger.samples import HOLD, OPERATION, PROBING, RECORDS, completed, free, in_flight, unknown

RULES = ResultRules(retention_ms=1_000, remember_ms=5_000)
LEASE_MS = 15_000
RESULT = b"a stored reply"

KEPT = {
    "in flight": ("in_flight", LEASE_MS, None, None),
    "unknown": ("unknown", None, SHARED_MS, None),
    "unknown, listening": ("unknown", LEASE_MS, SHARED_MS, None),
    "completed": ("completed", None, 1_000, 5_000),
    "free": ("free", None, SHARED_MS, 5_000),
    "unknown, probing": ("unknown", PROBING.next_ms, SHARED_MS, None),
    "unknown, resent, listening": ("unknown", LEASE_MS, SHARED_MS, None),
    "alias": ("alias", None, None, 5_000),
}
"""Phase, lease, how long a result is kept, and when all is forgotten; milliseconds, None for never."""


def write(state: str, result: bytes | None) -> Write:
    """Return the write that puts a sample in its place."""
    return write_of(RECORDS[state], "v1", RULES, LEASE_MS, result)


@pytest.mark.parametrize("state", KEPT)
def test_record_goes_to_the_store_with_the_times_of_its_state(state: str) -> None:
    """The record itself is what was meant, and its phase, lease, retention and end are what the table says."""
    phase, lease_ms, _, forget_ms = KEPT[state]
    made = write(state, None)
    assert decode(made.record, OPERATION) == RECORDS[state]
    assert (made.version, made.phase, made.lease_ms, made.forget_ms) == ("v1", phase, lease_ms, forget_ms)
    assert (made.result, made.result_ms) == (None, None)


@pytest.mark.parametrize("state", [state for state in KEPT if state not in ("in flight", "alias")])
def test_result_is_kept_as_long_as_its_state_says(state: str) -> None:
    """For retention if it settles the call, else just long enough for whoever joined on another replica."""
    made = write(state, RESULT)
    assert (made.result, made.result_ms) == (RESULT, KEPT[state][2])


@pytest.mark.parametrize("state", ["in flight", "alias"])
def test_what_brought_nothing_has_no_result(state: str) -> None:
    """What has not ended has no reply yet, and what only points to another operation has none of its own."""
    assert write(state, RESULT).result is None


def test_conflict_that_is_noted_restarts_neither_retention_nor_window() -> None:
    """The result has what is left, a millisecond at least; the effect key is not touched. A later event is one of its
    own again."""
    done = replace(completed(), effect=HOLD)
    lines = done.history
    for after_ms, left_ms in ((0, 1_000), (400, 600), (5_000, 1), (-70, 1_000)):
        noted = replace(done, history=(*lines, Event(done.completed_ms + after_ms, "conflict", "t9", "500 final")))
        made = write_of(noted, "v1", RULES, LEASE_MS, RESULT)
        assert (made.result_ms, made.forget_ms, made.effect) == (left_ms, 5_000, None)
        assert write_of(noted, "v1", RULES, LEASE_MS).result_ms is None
        other = replace(noted, history=(*noted.history, Event(done.completed_ms + 1, "joined")))
        assert write_of(other, "v1", RULES, LEASE_MS, RESULT).result_ms == 1_000


def test_unknown_is_never_forgotten() -> None:
    """An unknown outcome that was forgotten would be executed again: it waits for the truth, however long."""
    for record in (unknown(), unknown(listening=True), in_flight()):
        assert write_of(record, "v", RULES, LEASE_MS).forget_ms is None


EFFECTS = {
    "in flight": EffectWrite("e1", "claim"),
    "in flight, resent": EffectWrite("e1", "keep"),
    "unknown": EffectWrite("e1", "keep"),
    "unknown, listening": EffectWrite("e1", "keep"),
    "unknown, probing": EffectWrite("e1", "keep"),
    "completed": EffectWrite("e1", "window", window_ms=90_000),
    "completed by a probe": EffectWrite("e1", "window", window_ms=90_000),
    "completed by a ruling": EffectWrite("e1", "window", window_ms=90_000),
    "free": EffectWrite("e1", "drop"),
}


@pytest.mark.parametrize("state", EFFECTS)
def test_effect_is_held_while_it_may_have_happened_and_for_a_window_after_it_did(state: str) -> None:
    """A resend claims nothing that it does not hold, so that nobody can stand in its way."""
    record = replace(RECORDS[state], effect=HOLD)
    assert write_of(record, "v", RULES, LEASE_MS).effect == EFFECTS[state]
    assert write_of(RECORDS[state], "v", RULES, LEASE_MS).effect is None


@pytest.mark.parametrize("failed", [replace(completed(), failed=True), replace(completed(), status=422)], ids=str)
def test_failure_holds_no_effect(failed: Completed) -> None:
    """What the tool refused to do, or says it failed to, may be asked for under another key."""
    assert write_of(replace(failed, effect=HOLD), "v", RULES, LEASE_MS).effect == EffectWrite("e1", "drop")


def test_claim_names_whose_effect_it_may_take_over() -> None:
    """The store compares it in the same step."""
    made = write_of(replace(in_flight(), effect=HOLD), "v", RULES, LEASE_MS, over="op_0")
    assert made.effect == EffectWrite("e1", "claim", over="op_0")


@pytest.mark.parametrize("state", KEPT)
def test_every_write_names_how_many_replicas_must_have_it(state: str) -> None:
    """A claim that must survive a failover is no more worth than its settlement."""
    assert write_of(RECORDS[state], "v", RULES, LEASE_MS, replicas=2).replicas == 2


def test_only_who_is_alive_has_a_lease() -> None:
    """A lease on what nobody works on would only bring sweeps that find nothing to do."""
    for record in (unknown(), completed(), free()):
        assert write_of(record, "v", RULES, LEASE_MS).lease_ms is None
