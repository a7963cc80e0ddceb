"""What is wrong with a folder of policies: every fault at once, each with its place and its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

SHOWN_MAX: Final = 50
"""How many faults the exception's own text lists; `PolicyErrors.faults` has all of them."""


QUOTED_MAX: Final = 60


def quoted(text: str) -> str:
    """Quote somebody's text for a message: escapes made visible, and no longer than a line."""
    return repr(text if len(text) <= QUOTED_MAX else text[:QUOTED_MAX] + "…")


class Place(Struct, frozen=True, order=True):
    """Where something is written. Lines and columns count from one, columns in characters."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Fault(Struct, frozen=True, order=True):
    """One mistake. `field` is its path (`timeouts.hold`, `key.from[0][1]`), empty where a whole document is meant."""

    place: Place
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """`file:line:column: field: message. remedy`, the form that editors jump by."""
        where = f"{self.place.file}:{self.place.line}:{self.place.column}"
        what = f"{self.field}: {self.message}" if self.field else self.message
        return f"{where}: {what}. {self.remedy}"


class PolicyErrors(Exception):
    """The folder cannot be used. `faults` holds everything that is wrong with it, in the order of reading."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: Final = tuple(sorted(set(faults)))
        assert self.faults, "a folder without a fault is not refused"
        lines = [str(fault) for fault in self.faults[:SHOWN_MAX]]
        if len(self.faults) > SHOWN_MAX:
            lines.append(f"and {len(self.faults) - SHOWN_MAX} more")
        super().__init__("\n".join(lines))
