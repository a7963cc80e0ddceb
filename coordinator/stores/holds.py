"""Who owns a place, when it falls due, and what a write, a taking and a nudge make of that.

For the stores that decide in this process (memory, SQLite); `scripts/holds.lua` says the same to Redis. Times are
moments of the store's clock, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from coordinator.store import Put


class Hold(Struct, frozen=True):
    """A place's owner, who stays its owner past `due_ms` until somebody else takes it. `nudged`: its owner was nudged
    since it took the place."""

    owner: str = ""
    due_ms: int | None = None
    nudged: bool = False

    def live(self, now: int) -> str:
        """Return the owner whose visibility is not over; empty for none."""
        return self.owner if self.due_ms is not None and self.due_ms > now else ""


class Told(Struct, frozen=True):
    """Whom to tell, and of which place; an empty `owner`: everybody, that something is due or posted."""

    owner: str = ""
    key: str = ""


EVERYBODY = Told()


def checked(puts: Sequence[Put]) -> None:
    """Raise `ValueError` for writes that contradict themselves or each other."""
    if len({put.key for put in puts}) < len(puts):
        raise ValueError("two writes of one swap are for the same place")
    for put in puts:
        if put.then == "keep" and (not put.owner or put.in_ms is None):
            raise ValueError("who keeps a place says who it is, and for how long")
        if "\x00" in put.owner:
            raise ValueError("an owner's name has no NUL")


def after(put: Put, hold: Hold, now: int) -> tuple[Hold, Told | None]:
    """Return what a place's hold is once `put` is written over it, and who is to be told."""
    if put.then == "hurry":
        return hurried(put.key, hold, now)
    if hold.live(now) not in {"", put.owner}:
        return hold, None
    due_ms = None if put.in_ms is None else now + put.in_ms
    if put.then == "keep":
        return Hold(put.owner, due_ms, hold.nudged and hold.owner == put.owner), None
    if hold.nudged:
        due_ms = now
    return Hold("", due_ms), EVERYBODY if due_ms is not None and due_ms <= now else None


def hurried(key: str, hold: Hold, now: int) -> tuple[Hold, Told]:
    """Return what a nudge makes of a hold: due now, but for an owner whose visibility is not over; and who is told."""
    live = hold.live(now)
    due_ms = hold.due_ms if live or (hold.due_ms is not None and hold.due_ms <= now) else now
    return Hold(hold.owner, due_ms, bool(hold.owner)), Told(live, key) if live else EVERYBODY
