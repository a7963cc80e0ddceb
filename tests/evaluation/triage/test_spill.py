"""Where events are kept."""

from __future__ import annotations

import sqlite3

import pytest

from evaluation.triage.event import Event
from evaluation.triage.spill import Spill, SpillFull


def test_events_come_back_in_the_order_of_their_times() -> None:
    """Whatever the order in which they were kept."""
    with Spill(1 << 24) as spill:
        for at in (5, 3, 4):
            spill.add(Event(kind="sent", at=at, request="r"))
        spill.complete()
        assert [event.at for event in spill.events("request = ? AND request <> ''", "r", by="by_request")] == [3, 4, 5]


def test_more_than_its_room_is_refused() -> None:
    """The bound is one on disk; what waited is not half there and called whole."""
    with Spill(256 * 1024) as spill, pytest.raises(SpillFull):  # noqa: PT012  # some event does not fit
        for number in range(20_000):
            spill.add(Event(kind="sent", at=number, text="x" * 200))


def test_condition_that_its_index_does_not_serve_is_an_error() -> None:
    """A look-up never turns into a scan of everything unnoticed."""
    with Spill(1 << 24) as spill:
        spill.complete()
        with pytest.raises(sqlite3.OperationalError, match="no query solution"):
            list(spill.events("request = ?", "r", by="by_request"))
