"""Cursors of listings are told from what only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.store import Phase
from ledger.stores import cursors

PHASES: tuple[Phase | None, ...] = (None, "in_flight", "unknown", "completed", "free", "alias")


@given(st.sampled_from(PHASES), st.integers(0, 2**53), st.integers(0, 2**53))
def test_cursor_is_read_as_it_was_written(phase: Phase | None, moment: int, number: int) -> None:
    """Every place can be the last one of a page."""
    assert cursors.read(phase, cursors.written(phase, (moment, number))) == (moment, number)


def test_no_cursor_is_before_every_place() -> None:
    """A listing without one begins with the first place there can be."""
    assert cursors.read("unknown", "") < (0, 0)


@given(st.text(min_size=1))
def test_any_other_text_is_a_value_error(text: str) -> None:
    """Nothing is guessed at, and nothing else is raised."""
    with pytest.raises(ValueError, match="cursor"):
        cursors.read(None, text)


def test_cursor_of_another_phase_is_a_value_error() -> None:
    """Its numbers would mean something else there."""
    with pytest.raises(ValueError, match="cursor"):
        cursors.read("free", cursors.written("unknown", (1, 2)))
