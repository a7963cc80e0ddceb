"""The table of variants: what is compared, and what each consists of."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Coordinator = Literal["reference-a", "reference-b", "holdfast"]


class Variant(Struct, frozen=True):
    """One system that turns are replayed against.

    coordinator  whose process takes the turns: `polling`, `hybrid`, or ours.
    proxy        whether each of its instances calls tools through a `holdfast proxy` of its own.
    effect_keys  whether the proxies' policies have effect keys.
    bug          the planted bug, None for a system that is meant to be right. How it is planted is its test's business.
    """

    name: str
    sentence: str
    coordinator: Coordinator
    proxy: bool = False
    effect_keys: bool = False
    bug: str | None = None

    @property
    def notified(self) -> bool:
        """Whether the API is to notify it of its runs."""
        return self.coordinator != "reference-a"

    @property
    def stored(self) -> bool:
        """Whether its instances share a Redis."""
        return self.proxy or self.coordinator != "reference-a"


VARIANTS = (
    Variant(
        "A", "polling, deduplication in each instance's memory, a correlator that guesses; tools called directly",
        "reference-a",
    ),
    Variant(
        "B", "notifications and polling, deduplication in Redis at submission, a strict correlator, a buffer; tools "
        "called directly", "reference-b",
    ),
    Variant("C", "B, its tools behind Holdfast's proxy", "reference-b", proxy=True),
    Variant("D", "C, with effect keys", "reference-b", proxy=True, effect_keys=True),
    Variant(
        "E", "Holdfast whole: its coordinator, its proxy, and effect keys", "holdfast", proxy=True, effect_keys=True
    ),
)  # fmt: skip


def by_name(name: str) -> Variant:
    """Return a variant. Raises `KeyError`."""
    return {variant.name: variant for variant in VARIANTS}[name]
