"""Truth: what was planted is found, what was meant is no error, and the order of the audit does not matter."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from evaluation.replay.truth import (
    Executions,
    Tally,
    against_both,
    executions,
    identity_of,
    intended,
    observed,
    planned,
    tallies,
    tally,
)
from evaluation.replay.turns import Identity
from evaluation.replay.workload import Shape, workload
from tests.evaluation.replay.audits import effect, identity

A, B, C = identity("a"), identity("b"), identity("c", user="u2")

identities = st.sampled_from([A, B, C, identity("a", tenant="other"), identity("a", tool="send_email")])
multisets = st.dictionaries(identities, st.integers(1, 4)).map(Counter)


def test_errors_are_told_apart() -> None:
    """One effect too many is a duplicate, one that is not there at all is missing, and one that is there for another
    turn only is suppressed; what nobody meant is a duplicate too."""
    meant = Counter({A: 1, B: 2, C: 1})
    stray = identity("nobody meant this")
    found = tally(Counter({A: 2, B: 1, stray: 1}), meant)
    assert found == Tally(expected=4, observed=4, duplicates=2, lost=2, suppressed=1)
    assert (found.missing, found.ratio) == (1, 1.0)


def test_nothing_has_no_ratio() -> None:
    """Where nothing is expected there is nothing to divide by."""
    assert tally({}, {}) == Tally()
    assert Tally().ratio is None


@given(found=multisets, meant=multisets)
def test_effects_are_conserved(found: Counter[Identity], meant: Counter[Identity]) -> None:
    """What is there is what was meant, and the duplicates, without the lost; and no group keeps anything to itself."""
    whole = tally(found, meant)
    assert whole.observed == whole.expected + whole.duplicates - whole.lost
    assert (whole.observed, whole.expected) == (found.total(), meant.total())
    assert 0 <= whole.suppressed <= whole.lost
    assert sum(tallies(found, meant, lambda one: one.user).values(), Tally()) == whole


@given(found=st.lists(identities), meant=multisets, data=st.data())
def test_order_of_the_audit_does_not_matter(
    found: list[Identity], meant: Counter[Identity], data: st.DataObject
) -> None:
    """Any permutation of the effects gives the same truth."""
    effects = [effect(one, at=place, call=f"call_{place % 3}") for place, one in enumerate(found)]
    shuffled = data.draw(st.permutations(effects))
    assert tally(observed(shuffled), meant) == tally(observed(effects), meant)
    assert executions(shuffled) == executions(effects)


@given(seed=st.integers(0, 1000), place=st.integers(0, 10**6))
def test_planted_duplicate_is_found(seed: int, place: int) -> None:
    """In an audit of exactly what was meant one effect more is one duplicate, with the user who has it twice."""
    turns = workload(Shape(seed=seed), 60)
    meant = intended(turns)
    effects = [effect(one) for one in meant.elements()]
    assert tally(observed(effects), meant).duplicates == 0
    twice = effects[place % len(effects)]
    found = tallies(observed([*effects, twice]), meant, lambda one: one.user)
    assert {user: told.duplicates for user, told in found.items() if told.duplicates} == {twice.user_id: 1}


def test_plan_hides_what_was_planned_twice() -> None:
    """A design that runs every turn as it is planned has a ratio of 1 to the plan, and yet does everything twice that
    was said twice."""
    turns = workload(Shape(seed=4, resent=0.05, said_again=0.05), 1_000)
    plan, meant = planned(turns), intended(turns)
    told = against_both(plan, meant, plan)
    said_twice = sum(len(turn.planned()) for turn in turns if turn.repeat and turn.repeat.kind != "meant-again")
    assert (told.plan.ratio, told.plan.duplicates) == (1.0, 0)
    assert told.intent.duplicates == told.hidden == said_twice > 0


def test_suppressing_every_repeat_loses_those_that_were_meant() -> None:
    """A design that does each effect once ever has no duplicates, and its price is told."""
    turns = workload(Shape(seed=5), 2_000)
    meant = intended(turns)
    found = tally(dict.fromkeys(meant, 1), meant)
    again = sum(len(turn.intended()) for turn in turns if turn.repeat)
    assert (found.duplicates, found.suppressed, found.missing) == (0, again, 0)
    assert again > 0


def test_executions_are_counted_by_call() -> None:
    """A call is its operation, whatever its tool calls are called; else its run and tool call; what has neither is
    counted apart. Another tenant's is another."""
    effects = [
        effect(A, call="call_1", operation="op_1"),
        effect(A, call="call_2", operation="op_1"),
        effect(B, call="call_3"),
        effect(identity("b", tenant="other"), call="call_3"),
        effect(C),
    ]
    found = executions(effects)
    assert found == Executions({1: 2, 2: 1}, unkeyed=1)
    assert found.repeated == 1


def test_identity_is_what_the_turn_says_it_is() -> None:
    """Turns and audits call the same effect by the same name."""
    (turn, *_) = (turn for turn in workload(Shape(), 50) if turn.intended())
    assert [identity_of(effect(one)) for one in turn.intended()] == list(turn.intended())
