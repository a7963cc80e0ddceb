"""The copies of completed records that a process keeps near: right until their time is over, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.records import Completed
from ledger.result import Result
from proxy.replays import ENTRIES_MAX, ENTRY_BYTES, Replays
from tests.ledger.samples import completed


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def record(operation: str) -> Completed:
    """Return a completed record of `operation`."""
    return replace(completed(), operation=operation)


def result(size: int = 10) -> Result:
    """Return a reply with a body of `size`."""
    return Result(200, b"OK", ((b"ETag", b'"1"'),), b"x" * size)


def test_kept_result_is_there_until_its_retention_is_over() -> None:
    """Not a moment longer than the store would give it out."""
    clock = Clock()
    replays = Replays(clock)
    replays.put(record("op_1"), result(), 5_000)
    kept = replays.get("op_1")
    assert kept is not None
    assert (kept.record, kept.result) == (record("op_1"), result())
    clock.now = 104.999
    assert replays.get("op_1") is not None
    clock.now = 105.0
    assert replays.get("op_1") is None
    assert replays._bytes == 0


def test_least_recently_used_makes_room() -> None:
    """What is asked for stays, what nobody asks for goes."""
    weight = ENTRY_BYTES + 100 + len(b"ETag") + len(b'"1"')
    replays = Replays(Clock(), bytes_max=4 * weight)
    for name in "abcd":
        replays.put(record(name), result(100), 1_000)
    assert replays.get("a") is not None
    replays.put(record("e"), result(100), 1_000)
    assert [name for name in "abcde" if replays.get(name)] == ["a", "c", "d", "e"]


def test_one_large_result_does_not_drive_out_the_rest() -> None:
    """What would take more than a quarter is left to the store."""
    replays = Replays(Clock(), bytes_max=100_000)
    replays.put(record("small"), result(), 1_000)
    replays.put(record("large"), result(30_000), 1_000)
    assert replays.get("large") is None
    assert replays.get("small") is not None


def test_entries_are_bounded_too() -> None:
    """Empty bodies cost memory all the same."""
    replays = Replays(Clock(), bytes_max=2**40)
    for number in range(ENTRIES_MAX + 5):
        replays.put(record(str(number)), result(0), 1_000)
    assert replays.get("4") is None
    assert replays.get("5") is not None
    assert len(replays._kept) == ENTRIES_MAX


def test_put_again_replaces_and_weighs_once() -> None:
    """The sum stays right."""
    replays = Replays(Clock())
    for size in (10, 1_000, 5):
        replays.put(record("op"), result(size), 1_000)
    assert replays._bytes == ENTRY_BYTES + 5 + 7
    kept = replays.get("op")
    assert kept is not None
    assert len(kept.result.body) == 5


@pytest.mark.fault(8)
def test_nothing_is_found_under_another_operation() -> None:
    """The operation is the whole key (I3)."""
    replays = Replays(Clock())
    replays.put(record("op_1"), result(), 1_000)
    assert replays.get("op_") is None
    assert replays.get("op_2") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3_000), st.integers(0, 2)), max_size=60))
def test_bytes_are_counted_right_whatever_happens(moves: list[tuple[str, int, int]]) -> None:
    """Puts, hits and endings in any order: the sum is what is kept, and never above the bound."""
    clock = Clock()
    replays = Replays(clock, bytes_max=20_000)
    for name, size, seconds in moves:
        if size % 3:
            replays.put(record(name), result(size), 1_500)
        else:
            replays.get(name)
        clock.now += seconds
        assert replays._bytes == sum(kept.weight for kept in replays._kept.values()) <= 20_000
