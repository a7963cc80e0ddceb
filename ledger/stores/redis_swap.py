"""A swap as the command that carries it out: two of them are all that a call costs, so it is packed by hand.

hiredis's packer formats each of its arguments anew with sprintf: 31,000 instructions, half of all that a swap cost us.
Here everything that repeats is packed once, and what is left is joined with lengths from a table.
"""

from __future__ import annotations

import functools

from ledger.store import Phase, Write
from ledger.stores.redis_scripts import CHANNEL, SWAP, ScopeKeys

_PARTS = 3 + 4 + 9
"""EVALSHA, script and number of keys; keys; arguments, without the reply that comes last where there is one."""
FRAMES_MAX = 4
"""Lengths of operation ids whose frames a scope keeps: ours have one."""
_HEAD = b"*%d" % _PARTS
_HEAD_WITH_REPLY = b"*%d" % (_PARTS + 1)


class _Sizes(dict[int, bytes]):
    """What stands before a bulk string of so many bytes. The usual sizes are at hand, any other is made as needed."""

    def __missing__(self, size: int) -> bytes:
        return b"\r\n$%d\r\n" % size


_SIZE = _Sizes((size, b"\r\n$%d\r\n" % size) for size in range(2_048))


@functools.lru_cache(maxsize=1_024)
def _terms(phase: Phase, lease_ms: int | None, forget_ms: int | None, result_ms: int | None) -> bytes:
    """Return what a policy repeats with each call."""
    times = [b"" if time_ms is None else b"%d" % time_ms for time_ms in (lease_ms, forget_ms, result_ms)]
    return _bulk(phase.encode(), *times, CHANNEL)


def _bulk(*values: bytes) -> bytes:
    return b"".join([_SIZE[len(value)] + value for value in values])


def _frame(keys: ScopeKeys, length: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before the operation's id, each of the three times that a swap names it.

    It is the same for all operations of a scope whose ids have the same `length`: as a rule, for all.
    """
    frame = (
        _bulk(b"EVALSHA", SWAP.sha, b"4") + _SIZE[len(keys.record) + length] + keys.record,
        _SIZE[len(keys.reply) + length] + keys.reply,
        _bulk(keys.due, keys.unknown) + _SIZE[length],
    )
    if len(keys.swap_frames) < FRAMES_MAX:
        keys.swap_frames[length] = frame
    return frame


def pack_swap(keys: ScopeKeys, operation: bytes, expected: bytes, version: bytes, write: Write) -> bytes:
    """Return the command that swaps `write` in at `operation`: keys and arguments as in `scripts/swap.lua`."""
    length = len(operation)
    to_record, to_reply, to_argument = keys.swap_frames.get(length) or _frame(keys, length)
    record, reply = write.record, write.result
    terms = _terms(write.phase, write.lease_ms, write.forget_ms, write.result_ms)
    if reply is None:
        head, last, end = _HEAD, b"", b""
    else:
        head, last, end = _HEAD_WITH_REPLY, _SIZE[len(reply)], reply
    return b"".join(
        (head, to_record, operation, to_reply, operation, to_argument, operation,
         _SIZE[len(expected)], expected, _SIZE[len(version)], version, terms,
         _SIZE[len(record)], record, last, end, b"\r\n")
    )  # fmt: skip
