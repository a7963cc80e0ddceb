"""What one process remembers."""

from __future__ import annotations

from evaluation.variants.lru import Lru


def test_entry_that_was_not_used_for_longest_makes_room() -> None:
    """To read an entry is to use it."""
    kept: Lru[str, int] = Lru(2, 60, lambda: 0.0)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert ("a" in kept, "b" in kept, "c" in kept) == (True, False, True)
    assert len(kept) == 2


def test_entry_lasts_for_its_time_and_no_longer() -> None:
    """The time counts from when it was put, however often it is read."""
    now = [0.0]
    kept: Lru[str, int] = Lru(2, 60, lambda: now[0])
    kept.put("a", 1)
    now[0] = 59
    assert kept.get("a") == 1
    now[0] = 60
    assert kept.get("a") is None
    assert len(kept) == 0


def test_entry_can_be_forgotten() -> None:
    """Once or twice."""
    kept: Lru[str, int] = Lru(2, 60, lambda: 0.0)
    kept.put("a", 1)
    kept.forget("a")
    kept.forget("a")
    assert kept.get("a") is None
