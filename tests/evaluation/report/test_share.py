"""What a trace lets one expect, before anything is replayed."""

from __future__ import annotations

from collections import Counter

from evaluation.replay.turns import Call, Repeat, Turn
from evaluation.report.share import NOBODY, share_of, user_of


def turn(name: str, thread: str = "th1", user: str = "u1", repeat: Repeat | None = None, *, meant: bool = True) -> Turn:
    """Return a turn with one call that writes and one that reads."""
    calls = (Call("send_email", {"to": "a"}, meant=meant), Call("search_kb", {"q": "b"}, "read"))
    return Turn(name, 0.0, "acme", user, thread, f"k-{name}", steps=(calls,), repeat=repeat)


def test_turn_that_is_resent_is_no_turn_of_its_own() -> None:
    """It is counted in no denominator, and what it asks for is kept as asked for in vain."""
    resent = turn("a2", repeat=Repeat("a", "resent"), meant=False)
    share = share_of([turn("a"), resent])
    assert (share.own, share.writing) == (Counter({"acme/u1": 1}), Counter({"acme/u1": 1}))
    assert (share.meant.total(), share.plan.total(), share.resent.total(), share.said_again.total()) == (1, 1, 1, 0)
    assert set(share.turns) == {"a", "a2"}


def test_turn_that_is_said_again_is_planned_twice_and_meant_once() -> None:
    """In a thread of its own, where an orchestrator cannot know it."""
    share = share_of([turn("a"), turn("b", "th2", repeat=Repeat("a", "said-again"), meant=False)])
    assert (share.meant.total(), share.plan.total(), share.said_again.total()) == (1, 2, 1)
    assert (share.threads, share.writing_threads) == (2, 2)


def test_same_name_with_two_tenants_is_two_users() -> None:
    """And what belongs to nobody has a name of its own."""
    assert len({user_of("acme", "u"), user_of("globex", "u"), user_of("", ""), NOBODY}) == 3
    assert share_of([turn("a")]).user("no such turn") == NOBODY


def test_thread_without_writes_is_no_trial_of_writes() -> None:
    """It counts among the conversations, and not among those in which something is written."""
    reads = Turn("r", 0.0, "acme", "u2", "th9", "k", steps=((Call("search_kb", {"q": "b"}, "read"),),))
    share = share_of([turn("a"), reads])
    assert (share.threads, share.writing_threads) == (2, 1)
    assert set(share.writes) == {(one.tool, one.payload_hash) for one in share.meant}
