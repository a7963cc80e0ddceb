"""Where a listing goes on, as text: which listing it is, and the number of the last one that was listed.

Each write of a place, and each dead letter, has a number of its store's, and later ones have higher ones.
"""

from __future__ import annotations

import re

LETTERS = "dead letters"
"""The listing of dead letters."""

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


def written(listing: str, number: int) -> str:
    """Return the cursor behind `number` in `listing`."""
    return f"{number}.{listing}"


def read(listing: str, cursor: str) -> int | None:
    """Return the number of the last one that was listed; None: begin. Raises `ValueError` for a cursor of another
    listing."""
    if not cursor:
        return None
    number, dot, named = cursor.partition(".")
    if not dot or named != listing or not _NUMBER.fullmatch(number):
        raise ValueError("this cursor belongs to no listing of this kind: begin anew, without one")
    return int(number)
