"""What was done against what was meant: every effect is accounted for, whatever was done."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.replay.truth import tally
from evaluation.replay.turns import Call, Identity, Repeat, Turn
from evaluation.report.attribution import attribute
from evaluation.report.share import share_of


def turn(name: str, payload: str, kind: str = "") -> Turn:
    """Return a turn that writes a payload; as a repeat of turn `a` where it is said which."""
    repeat = Repeat("a", kind) if kind else None  # type: ignore[arg-type]
    call = Call("send_email", {"to": payload}, meant=kind in {"", "meant-again"})
    return Turn(name, 0.0, "acme", "u1", name, f"k-{name}", steps=((call,),), repeat=repeat)


SHARE = share_of([turn("a", "x"), turn("b", "x", "said-again"), turn("c", "x", "resent"), turn("d", "y")])
X, Y = turn("a", "x").planned()[0], turn("d", "y").planned()[0]
STRANGE = Identity("send_email", "acme", "u1", "nobody meant this")


def told(
    found: dict[Identity, int],
    results: dict[Identity, int] | None = None,
    moved: dict[Identity, int] | None = None,
) -> dict[str, int]:
    """Return the sums that are not 0."""
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    attribute(sums, SHARE, found, SHARE.plan, results, moved or {})
    return {name: users.total() for name, users in sums.items()}


@pytest.mark.parametrize(
    ("times", "resent", "said_again", "made"), [(1, 0, 0, 0), (2, 1, 0, 0), (3, 1, 1, 0), (5, 1, 1, 2)]
)
def test_duplicates_are_put_down_to_what_asked_for_them_first(
    times: int, resent: int, said_again: int, made: int
) -> None:
    """To a turn that was resent, then to one that was said again, each for as many as it asked for; the rest was made
    below."""
    found = told({X: times, Y: 1})
    names = ("duplicates_resent", "duplicates_said_again", "duplicates_made")
    assert tuple(found.get(name, 0) for name in names) == (resent, said_again, made)
    assert found.get("duplicates", 0) == times - 1
    assert found.get("hidden_by_plan", 0) == min(times - 1, 1), "the plan has what was said again, and nothing else"


def test_turn_that_moved_asked_for_one_more() -> None:
    """Which is put down to it before those that were resent or said again, and before what was made."""
    found = told({X: 5, Y: 2}, moved={X: 1, Y: 1})
    names = ("duplicates_resent", "duplicates_said_again", "duplicates_moved", "duplicates_made")
    assert tuple(found[name] for name in names) == (1, 1, 2, 1)
    found = told({X: 2, Y: 1}, moved={X: 1})
    assert tuple(found.get(name, 0) for name in names) == (0, 0, 1, 0)


def test_effect_that_nobody_meant_was_made_below() -> None:
    """Whatever it is of."""
    found = told({X: 1, Y: 1, STRANGE: 2})
    assert (found["duplicates"], found["duplicates_made"], found["duplicates_beyond_plan"]) == (2, 2, 2)


@pytest.mark.parametrize(("results", "silently"), [(None, 0), ({}, 0), ({Y: 1}, 1), ({X: 3}, 0)])
def test_loss_is_silent_where_a_result_was_told(results: dict[Identity, int] | None, silently: int) -> None:
    """Of that effect, and of no other; where nobody wrote down what was told, nothing is called silent."""
    found = told({X: 1}, results)
    assert (found["lost"], found["missing"], found.get("missing_silently", 0)) == (1, 1, silently)


@pytest.mark.parametrize(("times", "suppressed", "missing"), [(2, 0, 0), (1, 1, 0), (0, 0, 2)])
def test_repeat_that_was_meant_is_suppressed_where_its_like_is_there(times: int, suppressed: int, missing: int) -> None:
    """Where nothing of the kind is there, both are missing."""
    share = share_of([turn("a", "x"), turn("b", "x", "meant-again")])
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    attribute(sums, share, {X: times}, share.plan, None, {})
    assert (sums["suppressed"].total(), sums["missing"].total()) == (suppressed, missing)


@given(st.dictionaries(st.sampled_from([X, Y, STRANGE]), st.integers(1, 6)))
def test_every_effect_is_accounted_for(found: dict[Identity, int]) -> None:
    """The sums are those of the truth, and their parts make them up."""
    sums = told(found, {Y: 1})
    truth = tally(found, SHARE.meant)
    names = ("observed", "meant", "duplicates", "lost", "suppressed")
    assert tuple(sums.get(name, 0) for name in names) == (
        truth.observed,
        truth.expected,
        truth.duplicates,
        truth.lost,
        truth.suppressed,
    )
    parts = [sums.get(f"duplicates_{part}", 0) for part in ("resent", "said_again", "moved", "made")]
    assert sum(parts) == truth.duplicates
    assert sums.get("missing", 0) + truth.suppressed == truth.lost
    assert sums.get("missing_silently", 0) <= sums.get("missing", 0)
