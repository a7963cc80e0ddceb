"""The packed swap: byte for byte what a general packer would have sent."""

from __future__ import annotations

import pytest

from ledger.store import EffectWrite, Write
from ledger.stores.redis_scripts import CHANNEL, SWAP, keys_of
from ledger.stores.redis_swap import pack_swap
from ledger.stores.redis_wire import pack

KEYS = keys_of("acme/create_ticket")

WRITES = {
    "claim": Write("v1", b"record", "in_flight", lease_ms=15_000),
    "settle": Write("v2", b"record", "completed", result=b"201", result_ms=60_000, forget_ms=90_000),
    "empty reply": Write("v3", b"record", "completed", result=b"", result_ms=0, forget_ms=0),
    "empty record": Write("v4", b"", "unknown"),
    "large": Write("v" * 5_000, b"\r\n" * 5_000, "free", result=b"\0$1\r\n" * 5_000, result_ms=2**40),
    "claim of an effect": Write("v6", b"record", "in_flight", lease_ms=15_000, effect=EffectWrite("e" * 40, "claim")),
    "claim over another": Write("v7", b"record", "in_flight", effect=EffectWrite("e", "claim", over="op_2")),
    "window": Write("v8", b"record", "completed", result=b"", effect=EffectWrite("e" * 40, "window", window_ms=90_000)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("expected", [b"", b"v0"], ids=["claim", "swap"])
def test_packed_swap_is_the_script_with_its_keys_and_arguments(write: Write, expected: bytes) -> None:
    """Each argument stands in its place with its own length, whatever bytes it holds; a reply comes last, if at all."""
    operation, version = b"op_1", write.version.encode()
    times = (b"" if ms is None else ms for ms in (write.lease_ms, write.forget_ms, write.result_ms))
    keys = [KEYS.record + operation, KEYS.reply + operation, KEYS.due, KEYS.unknown]
    hold: tuple[str | int, ...] = ()
    if write.effect is not None:
        keys.append(KEYS.effect + write.effect.key.encode())
        hold = (write.effect.hold, write.effect.window_ms, write.effect.over)
    reply = () if write.result is None else (write.result,)
    by_hiredis = pack(
        (
            b"EVALSHA",
            SWAP.sha,
            len(keys),
            *keys,
            operation,
            expected,
            version,
            write.phase,
            *times,
            CHANNEL,
            write.record,
            *hold,
            *reply,
        )
    )
    assert pack_swap(KEYS, operation, expected, version, write) == by_hiredis
