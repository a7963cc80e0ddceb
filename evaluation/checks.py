"""What a demonstration claims, and whether it is so."""

from __future__ import annotations

from msgspec import Struct


class Check(Struct, frozen=True):
    """One claim about what happened, and whether the witnesses bear it out."""

    claim: str
    holds: bool
