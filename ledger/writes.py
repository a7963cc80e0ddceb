"""From a record to what the store is asked to keep: leases, retention and forgetting, in one place.

| record             | lease                  | result kept for                | forgotten                     |
|--------------------|------------------------|--------------------------------|-------------------------------|
| in flight          | yes                    |                                | never                         |
| unknown, listening | yes                    | `SHARED_MS`, for joiners       | never                         |
| unknown            | no                     | `SHARED_MS`, for joiners       | never (decision 0003)         |
| completed          | no                     | `result.retention`             | `result.remember`             |
| free               | no                     | `SHARED_MS`, for joiners       | `result.remember`             |
"""

from __future__ import annotations

from ledger.records import Completed, Free, InFlight, Record, Unknown, encode
from ledger.store import Write
from policies.model import MINUTE_MS, ResultRules

SHARED_MS = MINUTE_MS
"""How long a reply that settles nothing for good (429, 500) is kept for callers who joined it on another replica; they
are woken at once, so this only has to outlast a slow wake-up."""


def write_of(record: Record, version: str, rules: ResultRules, lease_ms: int, result: bytes | None = None) -> Write:
    """Return the write that puts `record` (and `result`, if there is one to keep) in its place."""
    data = encode(record)
    match record:
        case InFlight():
            return Write(version, data, "in_flight", lease_ms=lease_ms)
        case Unknown():
            lease = lease_ms if record.listening else None
            return Write(
                version, data, "unknown", lease_ms=lease, result=result, result_ms=SHARED_MS if result else None
            )
        case Completed():
            kept = rules.retention_ms if result is not None else None
            return Write(version, data, "completed", result=result, result_ms=kept, forget_ms=rules.remember_ms)
        case Free():
            kept = SHARED_MS if result is not None else None
            return Write(version, data, "free", result=result, result_ms=kept, forget_ms=rules.remember_ms)
