"""Where a listing goes on, as text: for the stores of one process, which order places by two numbers.

The text is for those who hand it back, not for those who read it; what was not given out for the same listing is told
by its form.
"""

from __future__ import annotations

import re

from ledger.store import Phase

Mark = tuple[int, int]
"""The last place listed: what the listing is ordered by, and the place's own number among equals."""

START: Mark = (-1, -1)

_FORM = re.compile(r"([a-z_]+)\.(\d{1,18})\.(\d{1,18})", re.ASCII)


def written(phase: Phase | None, mark: Mark) -> str:
    """Return the cursor behind `mark` in the listing of `phase`."""
    return f"{phase or 'all'}.{mark[0]}.{mark[1]}"


def read(phase: Phase | None, cursor: str) -> Mark:
    """Return the mark behind which the listing goes on. Raises ValueError for a cursor of another make or listing."""
    if not cursor:
        return START
    form = _FORM.fullmatch(cursor)
    if form is None or form[1] != (phase or "all"):
        raise ValueError("this cursor belongs to no listing of this kind: begin anew, without one")
    return int(form[2]), int(form[3])
