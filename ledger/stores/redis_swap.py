"""A swap as the command that carries it out: two of them are all that a call costs, so it is packed by hand."""

from __future__ import annotations

import functools

from ledger.store import Phase, Write
from ledger.stores.redis_resp import CRLF, SIZE, array_head, bulk
from ledger.stores.redis_scripts import CHANNEL, SWAP, ScopeKeys

_CALL = bulk(b"EVALSHA", SWAP.sha, b"4")
_PARTS = 3 + 4 + 9
"""EVALSHA, script and number of keys; keys; arguments, without the reply that comes last where there is one."""
_HEAD = CRLF.join((array_head(_PARTS), _CALL))
_HEAD_WITH_REPLY = CRLF.join((array_head(_PARTS + 1), _CALL))


@functools.lru_cache(maxsize=1_024)
def _terms(phase: Phase, lease_ms: int | None, forget_ms: int | None, result_ms: int | None) -> bytes:
    """Return what a policy repeats with each call."""
    times = [b"" if time_ms is None else b"%d" % time_ms for time_ms in (lease_ms, forget_ms, result_ms)]
    return bulk(phase.encode(), *times, CHANNEL)


def pack_swap(keys: ScopeKeys, operation: bytes, expected: bytes, version: bytes, write: Write) -> bytes:
    """Return the command that swaps `write` in at `operation`: keys and arguments as in `scripts/swap.lua`."""
    record_key, reply_key = keys.record + operation, keys.reply + operation
    record, reply = write.record, write.result
    pieces = (
        _HEAD if reply is None else _HEAD_WITH_REPLY,
        SIZE[len(record_key)], record_key,
        SIZE[len(reply_key)], reply_key,
        keys.indexes,
        SIZE[len(operation)], operation,
        SIZE[len(expected)], expected,
        SIZE[len(version)], version,
        _terms(write.phase, write.lease_ms, write.forget_ms, write.result_ms),
        SIZE[len(record)], record,
    )  # fmt: skip
    last = (b"",) if reply is None else (SIZE[len(reply)], reply, b"")
    return CRLF.join(pieces + last)
