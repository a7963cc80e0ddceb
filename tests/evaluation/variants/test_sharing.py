"""Which runs an instance watches."""

from __future__ import annotations

from evaluation.variants.agents import Seen
from evaluation.variants.sharing import Share


def run(number: int, region: str = "r1") -> Seen:
    """Return a run."""
    return Seen(f"thread_{number}", f"run_{number}", "requires_action", (), {"region": region})


def test_each_run_of_a_region_is_one_instances() -> None:
    """Whoever asks; and none has all of them."""
    shares = [Share("r1", number, 3) for number in range(3)]
    owners = [[number for number, share in enumerate(shares) if share.has(run(one))] for one in range(60)]
    assert {len(owner) for owner in owners} == {1}
    assert {owner[0] for owner in owners} == {0, 1, 2}


def test_runs_of_another_region_are_not_watched() -> None:
    """They are somebody else's, also where there is one instance alone."""
    assert not Share("r1", 0, 1).has(run(1, "r2"))
    assert Share("", 0, 1).has(Seen("thread_1", "run_1", "queued", (), {}))
