"""Effect keys on a Redis server: what stands at their places, for how long, and what happens where something else does.

What they mean is in the contract (`test_store_contract*.py`).
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.store import EffectWrite, Held, Phase, Present, StoreUnavailable, Written
from tests.ledger.redis_bench import DUE, RECORD, REPLY, relayed, store_on
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, eventually, put

EFFECT = "holdfast:{acme/create_ticket}:effect:refund 7"
CLAIM = EffectWrite("refund 7", "claim")
KEEP = EffectWrite("refund 7", "keep")
DROP = EffectWrite("refund 7", "drop")
UNKNOWN = "holdfast:{acme/create_ticket}:unknown"


async def test_effect_costs_no_further_round_trip(redis: RedisServer) -> None:
    """Claim, conflict and settle are one command each, with the effect key or without."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref("op_0"), a_write())
        relay.sent.clear()
        claim = replace(a_write(), effect=CLAIM)
        assert await store.swap(a_ref(), None, claim) == Written()
        done = a_write("completed", result=b"201", result_ms=60_000, forget_ms=90_000)
        done = replace(done, effect=EffectWrite("refund 7", "window", window_ms=50_000))
        assert await store.swap(a_ref(), claim.version, done) == Written()
        met = await store.swap(a_ref("op_2"), None, replace(a_write(), effect=CLAIM))
        assert met == Held("op_1", Present(done.version, done.record, b"201", None))
        assert relay.sent.count(b"\r\nEVALSHA\r\n") == 3
        assert redis.ask("GET", EFFECT) == b"holdfast op_1"
        assert 0 < redis.ask("PTTL", EFFECT) <= 50_000


async def test_hold_without_end_has_no_expiry_and_the_window_runs_by_the_servers_clock(redis: RedisServer) -> None:
    """A claim takes away the window of an earlier success; a window that is over leaves no key."""
    async with store_on(redis.url) as store:
        claim = replace(a_write(), effect=CLAIM)
        done = replace(a_write("completed"), effect=EffectWrite("refund 7", "window", window_ms=60_000))
        again = replace(a_write(), effect=CLAIM)
        await put(store, a_ref(), claim, done, again)
        assert redis.ask("PTTL", EFFECT) == -1
        await put(store, a_ref(), replace(a_write("unknown"), effect=KEEP))
        assert redis.ask("PTTL", EFFECT) == -1
        await put(store, a_ref(), replace(a_write("completed"), effect=EffectWrite("refund 7", "window", window_ms=5)))

        async def over() -> bool:
            return bool(redis.ask("EXISTS", EFFECT) == 0)

        await eventually(over)
        assert await store.swap(a_ref("op_2"), None, replace(a_write(), effect=CLAIM)) == Written()


async def test_window_of_no_time_at_all_holds_nothing(redis: RedisServer) -> None:
    """Zero milliseconds is no error of the server's half-way through a write."""
    async with store_on(redis.url) as store:
        done = replace(a_write("completed"), effect=EffectWrite("refund 7", "window"))
        await put(store, a_ref(), replace(a_write(), effect=CLAIM), done)
        assert redis.ask("EXISTS", EFFECT) == 0


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "foreign",
    [("SET", EFFECT, "op_2"), ("SET", EFFECT, ""), ("HSET", EFFECT, "operation", "op_2"), ("RPUSH", EFFECT, "op_1")],
    ids=["string", "empty", "hash", "list"],
)
async def test_foreign_value_at_an_effect_key_is_never_taken_for_free(
    redis: RedisServer, foreign: tuple[str, ...]
) -> None:
    """What Holdfast did not write holds nothing and frees nothing: no claim, no settlement, and it stays as it is."""
    async with store_on(redis.url) as store:
        claim = a_write()
        await put(store, a_ref(), claim)
        redis.ask(*foreign)
        before = redis.ask("DUMP", EFFECT)
        for hold in (CLAIM, KEEP, DROP, replace(CLAIM, over="op_2")):
            with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
                await store.swap(a_ref("op_3"), None, replace(a_write(), effect=hold))
            with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
                await store.swap(a_ref(), claim.version, replace(a_write("completed", result=b"r"), effect=hold))
        assert redis.ask("DUMP", EFFECT) == before
        standing = await store.read(a_ref())
        assert standing is not None
        assert (standing.version, redis.ask("EXISTS", REPLY), redis.ask("ZCARD", DUE)) == (claim.version, 0, 1)


@pytest.mark.fault(47)
@pytest.mark.parametrize("index", [DUE, UNKNOWN, REPLY])
async def test_write_that_cannot_take_place_leaves_the_effect_key_alone(redis: RedisServer, index: str) -> None:
    """Both keys or neither, also where one of the operation's other keys is another's."""
    async with store_on(redis.url) as store:
        await put(store, a_ref("op_0"), a_write())
        redis.ask("DEL", index)
        redis.ask("SET", index, "another's")
        phase: Phase = "unknown" if index == UNKNOWN else "in_flight"
        write = replace(a_write(phase, lease_ms=1_000, result=b"r"), effect=CLAIM)
        with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
            await store.swap(a_ref(), None, write)
        assert (redis.ask("EXISTS", EFFECT), await store.read(a_ref())) == (0, None)


@pytest.mark.fault(47)
async def test_holder_whose_place_is_anothers_is_not_taken_for_absent(redis: RedisServer) -> None:
    """A holder that cannot be read is an error; one that is forgotten is told as holding, with nothing there."""
    async with store_on(redis.url) as store:
        await put(store, a_ref(), replace(a_write(), effect=CLAIM))
        redis.ask("DEL", RECORD)
        assert await store.swap(a_ref("op_2"), None, replace(a_write(), effect=CLAIM)) == Held("op_1", None)
        redis.ask("SET", RECORD, "another's")
        with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
            await store.swap(a_ref("op_2"), None, replace(a_write(), effect=CLAIM))
        assert await store.read(a_ref("op_2")) is None


@pytest.mark.fault(44)
async def test_server_out_of_memory_refuses_a_claim_with_an_effect_and_takes_its_settlement(redis: RedisServer) -> None:
    """Nothing new is begun in a full server, and nothing that ended holds its effect longer than it should."""
    async with store_on(redis.url) as store:
        claims = {op: replace(a_write(), effect=EffectWrite(op, "claim")) for op in ("op_1", "op_2", "op_3")}
        for operation, claim in claims.items():
            await put(store, a_ref(operation), claim)
        redis.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await store.swap(a_ref("op_4"), None, replace(a_write(), effect=EffectWrite("op_4", "claim")))
        settled = {
            "op_1": replace(a_write("completed", result=b"r"), effect=EffectWrite("op_1", "window", window_ms=60_000)),
            "op_2": replace(a_write("unknown"), effect=EffectWrite("op_2", "keep")),
            "op_3": replace(a_write("free"), effect=EffectWrite("op_3", "drop")),
        }
        for operation, settle in settled.items():
            assert await store.swap(a_ref(operation), claims[operation].version, settle) == Written()
        effects = [redis.ask("PTTL", f"holdfast:{{acme/create_ticket}}:effect:op_{n}") for n in (1, 2, 3, 4)]
        assert 0 < effects[0] <= 60_000
        assert effects[1:] == [-1, -2, -2]
        assert redis.ask("EXISTS", RECORD.replace("op_1", "op_4")) == 0


@pytest.mark.fault(36, 37)
async def test_repetition_of_a_claim_is_written_and_leaves_a_later_hold_alone(redis: RedisServer) -> None:
    """A claim whose answer was lost is asked again, once, with its effect key: one hold."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref("op_0"), a_write())
        relay.cuts = 1
        claim = replace(a_write(), effect=CLAIM)
        assert await store.swap(a_ref(), None, claim) == Written()
        assert relay.sent.count(claim.version.encode()) == 2
        assert await store.swap(a_ref(), None, claim) == Written()
        assert redis.ask("GET", EFFECT) == b"holdfast op_1"
        standing = await store.read(a_ref())
        assert standing is not None
        assert standing.version == claim.version
