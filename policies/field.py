"""What a field of a policy file is: a leaf with a value, a group of fields, or one that belongs elsewhere."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from policies import kinds
from policies.kinds import Kind
from policies.model import DAY_MS

TIMER_MAX_MS: Final = DAY_MS
"""No call and no wait takes longer than a day; what does is a typing error."""

KEPT_MAX_MS: Final = 366 * DAY_MS


class Leaf(Struct, frozen=True):
    """A field with a value. `target` is its place in the model, or what `policies.merge` folds into one."""

    doc: str
    kind: Kind
    target: str


class Group(Struct, frozen=True):
    """A field that holds fields."""

    doc: str
    fields: dict[str, Field]


class Elsewhere(Struct, frozen=True):
    """A field of the other kind of document."""

    message: str
    remedy: str


Field = Leaf | Group | Elsewhere


def timer(at_least_ms: int = 0) -> Kind:
    """A duration that somebody waits for."""
    return kinds.duration(at_least_ms, TIMER_MAX_MS)


def leaves(fields: dict[str, Field], above: str = "") -> dict[str, Leaf]:
    """Return every leaf by its path, such as `retry.backoff.base`."""
    found: dict[str, Leaf] = {}
    for name, field in fields.items():
        if isinstance(field, Leaf):
            found[above + name] = field
        elif isinstance(field, Group):
            found |= leaves(field.fields, f"{above}{name}.")
    return found
