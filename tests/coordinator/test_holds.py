"""Holds: what writes, takings and nudges make of an owner and a due time, by case."""

from __future__ import annotations

import pytest

from coordinator.store import Put, Then
from coordinator.stores.holds import EVERYBODY, Hold, Told, after, checked, hurried

NOW = 1_000


def a_write(then: Then, owner: str = "a", in_ms: int | None = 50) -> Put:
    """Return a write of `owner`'s."""
    return Put("run_1", None, "v", b"", owner=owner, then=then, in_ms=in_ms)


@pytest.mark.parametrize(
    ("before", "put", "expected", "told"),
    [
        (Hold(), a_write("keep"), Hold("a", 1_050), None),
        (Hold("a", 1_001, nudged=True), a_write("keep"), Hold("a", 1_050, nudged=True), None),
        (Hold("b", 1_000, nudged=True), a_write("keep"), Hold("a", 1_050), None),
        (Hold("b", 1_001, nudged=True), a_write("keep"), Hold("b", 1_001, nudged=True), None),
        (Hold("b", 1_001), a_write("release"), Hold("b", 1_001), None),
        (Hold("a", 1_001), a_write("release"), Hold("", 1_050), None),
        (Hold("a", 1_001), a_write("release", in_ms=None), Hold(), None),
        (Hold("a", 1_001), a_write("release", in_ms=0), Hold("", 1_000), EVERYBODY),
        (Hold("a", 1_001, nudged=True), a_write("release", in_ms=None), Hold("", 1_000), EVERYBODY),
        (Hold("b", 1_000, nudged=True), a_write("release"), Hold("", 1_000), EVERYBODY),
        (Hold("", 900), a_write("release", owner=""), Hold("", 1_050), None),
        (Hold("b", 1_001), a_write("hurry"), Hold("b", 1_001, nudged=True), Told("b", "run_1")),
        (Hold("b", 1_000), a_write("hurry"), Hold("b", 1_000, nudged=True), EVERYBODY),
        (Hold("", 900), a_write("hurry"), Hold("", 900), EVERYBODY),
        (Hold("", 1_100), a_write("hurry"), Hold("", 1_000), EVERYBODY),
        (Hold(), a_write("hurry"), Hold("", 1_000), EVERYBODY),
    ],
)
def test_write_over_a_hold_makes_the_next_one(before: Hold, put: Put, expected: Hold, told: Told | None) -> None:
    """The table of the port's `then`: by whose visibility runs (until 1,001) or is over (at 1,000)."""
    assert after(put, before, NOW) == (expected, told)


def test_hurry_is_what_a_write_that_hurries_does() -> None:
    """The same, without the write."""
    for hold in (Hold(), Hold("b", 1_001), Hold("b", 1_000), Hold("", 1_100)):
        assert hurried("run_1", hold, NOW) == after(a_write("hurry"), hold, NOW)


def test_write_that_makes_no_sense_is_refused() -> None:
    """Nothing that a store would have to guess about."""
    for puts in ([a_write("keep", owner="")], [a_write("keep", in_ms=None)], [a_write("hurry")] * 2):
        with pytest.raises(ValueError):
            checked(puts)
    checked([a_write("keep"), Put("run_2", None, "v", b"")])
