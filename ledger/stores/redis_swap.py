"""A swap as the command that carries it out: two of them are all that a call costs, so it is packed by hand.

hiredis's packer formats each of its arguments anew with sprintf: 31,000 instructions, half of all that a swap cost us.
Here everything that repeats is packed once, and what is left is joined with lengths from a table.
"""

from __future__ import annotations

import functools

from ledger.store import EffectWrite, Hold, Phase, Write
from ledger.stores.redis_scripts import CHANNEL, SWAP, ScopeKeys

_PARTS = 3 + 4 + 9
"""EVALSHA, script and number of keys; keys; arguments, without the reply that comes last where there is one."""
FRAMES_MAX = 4
"""Lengths of operation ids whose frames a scope keeps: ours have one."""
_EFFECT_PARTS = 1 + 3
"""What an effect key adds: its place, how it is held, its window and whose hold may be taken over."""
_HEAD = b"*%d" % _PARTS
_HEAD_WITH_REPLY = b"*%d" % (_PARTS + 1)
_EFFECT_HEAD = b"*%d" % (_PARTS + _EFFECT_PARTS)
_EFFECT_HEAD_WITH_REPLY = b"*%d" % (_PARTS + _EFFECT_PARTS + 1)


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


@functools.lru_cache(maxsize=1_024)
def _effect_terms(hold: Hold, window_ms: int) -> bytes:
    return _bulk(hold.encode(), b"%d" % window_ms)


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
    if write.effect is not None:
        return _pack_with_effect(keys, operation, expected, version, write, write.effect)
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


def _effect_frame(keys: ScopeKeys, lengths: tuple[int, int]) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the same as `_frame`, and before the operation's third time what stands before the effect key: for
    operations and effect keys of these two `lengths`."""
    length, effect_length = lengths
    frame = (
        _bulk(b"EVALSHA", SWAP.sha, b"5") + _SIZE[len(keys.record) + length] + keys.record,
        _SIZE[len(keys.reply) + length] + keys.reply,
        _bulk(keys.due, keys.unknown) + _SIZE[len(keys.effect) + effect_length] + keys.effect,
        _SIZE[length],
    )
    if len(keys.effect_frames) < FRAMES_MAX:
        keys.effect_frames[lengths] = frame
    return frame


def _pack_with_effect(
    keys: ScopeKeys, operation: bytes, expected: bytes, version: bytes, write: Write, effect: EffectWrite
) -> bytes:
    effect_key, over = effect.key.encode(), effect.over.encode()
    lengths = (len(operation), len(effect_key))
    frame = keys.effect_frames.get(lengths) or _effect_frame(keys, lengths)
    to_record, to_reply, to_effect, to_argument = frame
    record, reply = write.record, write.result
    terms = _terms(write.phase, write.lease_ms, write.forget_ms, write.result_ms)
    if reply is None:
        head, last, end = _EFFECT_HEAD, b"", b""
    else:
        head, last, end = _EFFECT_HEAD_WITH_REPLY, _SIZE[len(reply)], reply
    return b"".join(
        (head, to_record, operation, to_reply, operation, to_effect, effect_key, to_argument, operation,
         _SIZE[len(expected)], expected, _SIZE[len(version)], version, terms, _SIZE[len(record)], record,
         _effect_terms(effect.hold, effect.window_ms), _SIZE[len(over)], over, last, end, b"\r\n")
    )  # fmt: skip
