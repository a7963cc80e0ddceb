"""From a record to what the store is asked to keep: leases, retention and forgetting, in one place.

| record             | lease                  | result kept for                | forgotten                     |
|--------------------|------------------------|--------------------------------|-------------------------------|
| in flight          | yes                    |                                | never                         |
| unknown, listening | yes                    | `SHARED_MS`, for joiners       | never                         |
| unknown            | no                     | `SHARED_MS`, for joiners       | never (decision 0003)         |
| completed          | no                     | `result.retention`             | `result.remember`             |
| free               | no                     | `SHARED_MS`, for joiners       | `result.remember`             |
| alias              | no                     |                                | `result.remember`             |

An unknown one that is to be probed and that nobody listens for has a lease as well, which runs out when the next probe
is due. The effect key is held without end by what is in flight or unknown, for its window by a success, and by nothing
else (design 2.2). A conflict that is noted on a completed record restarts nothing: its effect key is not touched, and
its result has what is left of its retention; that it is remembered for longer costs nothing.
"""

from __future__ import annotations

from typing import assert_never

from ledger.records import Alias, Completed, EffectHold, Free, InFlight, Record, Unknown, encode
from ledger.store import EffectWrite, Write
from policies.model import MINUTE_MS, ResultRules

SHARED_MS = MINUTE_MS
"""How long a reply that settles nothing for good (429, 500) is kept for callers who joined it on another replica; they
are woken at once, so this only has to outlast a slow wake-up."""


def write_of(
    record: Record, version: str, rules: ResultRules, lease_ms: int, result: bytes | None = None, *, over: str = "",
    replicas: int = 0,
) -> Write:  # fmt: skip
    """Return the write that puts `record` (and `result`, if there is one to keep) in its place.

    `over` names the operation whose effect key a claim may take over.
    """
    data = encode(record)
    effect = None if record.effect is None else _effect(record, record.effect, over)
    shared_ms = None if result is None else SHARED_MS
    match record:
        case InFlight():
            return Write(version, data, "in_flight", lease_ms=lease_ms, effect=effect, replicas=replicas)
        case Completed():
            kept_ms = None if result is None else rules.retention_ms
            if record.history and record.history[-1].what == "conflict":  # that is all that is new in it
                effect = None
                if kept_ms is not None:
                    kept_ms = max(1, kept_ms - max(0, record.history[-1].at_ms - record.completed_ms))
            return Write(
                version, data, "completed", result=result, result_ms=kept_ms, forget_ms=rules.remember_ms,
                effect=effect, replicas=replicas,
            )  # fmt: skip
        case Unknown():
            return Write(
                version, data, "unknown", lease_ms=_lease(record, lease_ms), result=result, result_ms=shared_ms,
                effect=effect, replicas=replicas,
            )  # fmt: skip
        case Free():
            return Write(
                version, data, "free", result=result, result_ms=shared_ms, forget_ms=rules.remember_ms, effect=effect,
                replicas=replicas,
            )  # fmt: skip
        case Alias():
            return Write(version, data, "alias", forget_ms=rules.remember_ms, replicas=replicas)
        case _ as never:
            assert_never(never)


def _lease(record: Unknown, lease_ms: int) -> int | None:
    if record.listening:
        return lease_ms
    return None if record.probing is None else record.probing.next_ms


def _effect(record: Record, held: EffectHold, over: str) -> EffectWrite:
    match record:
        case InFlight(resent=False):
            return EffectWrite(held.key, "claim", over=over)
        case InFlight() | Unknown():
            return EffectWrite(held.key, "keep")
        case Completed() if record.succeeded:
            return EffectWrite(held.key, "window", window_ms=held.window_ms)
        case _:
            return EffectWrite(held.key, "drop")
