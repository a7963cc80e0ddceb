"""Which primary of a cluster has which slots, and names that lie where they are needed.

What spans all scopes is kept per primary: heartbeats, and the registry of scopes. A key lies where its hash tag says,
so each of 64 equal parts of the slots has a tag of its own, a number. Parts stay when slots move or primaries do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from msgspec import Struct
from redis.crc import key_slot

from ledger.store import StoreUnavailable
from ledger.stores.redis_url import Place
from ledger.stores.redis_wire import Reply

SLOTS = 16_384
PARTS = 64
"""A primary has at least one of them whole as long as there are fewer primaries than half of this, evenly filled."""


def slot_of(scope: str) -> int:
    """Return the slot of a scope's keys: their hash tag is its name, or what of it comes before a brace."""
    return key_slot(b"{%s}" % scope.encode("utf-8", "surrogateescape"))


class Range(Struct, frozen=True, order=True):
    """Slots, both ends included, and who has them."""

    first: int
    last: int
    primary: Place


class SlotMap(Struct, frozen=True):
    """Who has which slots, in their order. `others` are further nodes, which may be asked who has."""

    ranges: tuple[Range, ...] = ()
    others: frozenset[Place] = frozenset()

    @property
    def primaries(self) -> tuple[Place, ...]:
        """Each once, in the order of their first slots."""
        return tuple(dict.fromkeys(part.primary for part in self.ranges))

    @property
    def covered(self) -> int:
        """How many slots somebody has."""
        return sum(part.last - part.first + 1 for part in self.ranges)

    def primary_of(self, slot: int) -> Place | None:
        """Return who has `slot`; None if nobody has."""
        for part in self.ranges:
            if slot <= part.last:
                return part.primary if slot >= part.first else None
        return None

    def tag_at(self, primary: Place) -> bytes:
        """Return a hash tag that lies at `primary`, which has slots: the one of a part, where a part's does."""
        own = [tag for tag in PART_TAGS if self.primary_of(key_slot(tag)) == primary]
        return own[0] if own else _first_number(lambda slot: self.primary_of(slot) == primary)

    def part_of(self, slot: int) -> bytes:
        """Return the tag of the slot's part, or of another one that lies with the same primary: what is kept for a
        scope there is to be at hand as long as the scope itself is."""
        usual = PART_TAGS[slot * PARTS // SLOTS]
        primary = self.primary_of(slot)
        if self.primary_of(key_slot(usual)) == primary:
            return usual
        return next((tag for tag in PART_TAGS if self.primary_of(key_slot(tag)) == primary), usual)


def _first_number(fits: Callable[[int], bool]) -> bytes:
    return next(tag for tag in map(b"%d".__mod__, itertools.count()) if fits(key_slot(tag)))


def _tag_of_part(part: int) -> bytes:
    return _first_number(lambda slot: slot * PARTS // SLOTS == part)


PART_TAGS = tuple(_tag_of_part(part) for part in range(PARTS))
"""The tags of the parts, in the order of their slots."""


def understood(reply: Reply, asked: Place) -> SlotMap:
    """Return what a reply to CLUSTER SLOTS says. Raises StoreUnavailable for anything else.

    A node that does not know its own address leaves it out; it is where it was asked.
    """
    ranges: list[Range] = []
    others: set[Place] = set()
    try:
        for first, last, primary, *replicas in reply:
            place = _place(primary, asked)
            if place is not None:
                ranges.append(Range(int(first), int(last), place))
            others |= {place for place in (_place(replica, asked) for replica in replicas) if place is not None}
    except (TypeError, ValueError, AttributeError) as error:
        raise StoreUnavailable(f"redis at {asked} does not say who has which slots ({reply})") from error
    return SlotMap(tuple(sorted(ranges)), frozenset(others))


def _place(node: list[Reply], asked: Place) -> Place | None:
    host, port = node[0], int(node[1])
    if host == b"?":  # it announces host names, and this node has none
        return None
    return Place(host.decode() if host else asked.host, port)
