"""Cases that a policy must stand: requests, a tool that does as scripted, and what is expected. Values only."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from policies.faults import Place

State = Literal["in-flight", "unknown", "completed", "tombstone", "free", "alias"]
"""What the ledger can hold of an operation; a tombstone is a completed one without its result."""

Fields = tuple[tuple[str, str], ...]


class Expected(Struct, frozen=True):
    """What a caller is to get; what is None (or unset) is not looked at. A body is compared as JSON if it is any."""

    place: Place
    status: int | None = None
    outcome: str | None = None
    problem: str | None = None
    late: bool | None = None
    headers: Fields = ()
    body: Any = UNSET


class Asked(Struct, frozen=True):
    """A request. `at_ms` is from the case's beginning; None: once the request before it has been answered.

    patience_ms  what the caller says that it waits (`Prefer: wait`).
    hang_up_ms   when the caller hangs up without saying so, from its request.
    """

    place: Place
    method: str
    target: str
    headers: Fields
    body: bytes
    at_ms: int | None
    patience_ms: int | None
    hang_up_ms: int | None
    expected: Expected | None


class Reply(Struct, frozen=True):
    """What the tool does with a request that reaches it, `after_ms` from its first byte.

    fails    `lost`: the connection is cut. `hangs`: it never says anything. `not-sent`: it cannot be reached.
    streams  the body comes as an event stream, piece after piece.
    """

    status: int = 200
    headers: Fields = ()
    body: bytes = b""
    after_ms: int = 50
    fails: Literal["", "lost", "hangs", "not-sent"] = ""
    streams: bool = False


class Outcome(Struct, frozen=True):
    """What is to be true in the end: how often the tool was called and probed, and what stands in the ledger, for each
    operation in the order of their first requests."""

    place: Place
    calls: int | None = None
    probes: int | None = None
    states: tuple[State, ...] | None = None


class Case(Struct, frozen=True):
    """One story. The tool takes `replies` in order, to calls and to probes apart; the last of them is repeated."""

    place: Place
    name: str
    asked: tuple[Asked, ...]
    replies: tuple[Reply, ...]
    probes: tuple[Reply, ...]
    until_ms: int | None
    outcome: Outcome


def encoded(body: Any) -> bytes:
    """Return a body as it goes over the wire: text as it is, anything else as JSON."""
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)
