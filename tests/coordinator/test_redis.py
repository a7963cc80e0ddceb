"""What the coordinator's Redis store adds to the contract: lost replies, lost scripts, lost groups, full servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import pytest

from coordinator.store import Astray, Delivery, Standing, Written
from coordinator.stores import redis as redis_module
from coordinator.stores.redis import RedisRunStore
from coordinator.stores.redis_scripts import ALL, BASE
from ledger.store import StoreUnavailable, UnfitStore
from tests.coordinator.run_bench import LONG_MS, SHORT_MS, Ear, a_put, idle, put, taken, there
from tests.ledger.redis_relay import Relay, relay_to
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import eventually

T = TypeVar("T")
PREFIX = BASE.decode()
DESCRIPTORS = Path("/proc/self/fd")


@contextlib.asynccontextmanager
async def store_on(url: str, deadline_ms: int = 5_000) -> AsyncIterator[RedisRunStore]:
    """Yield a started store."""
    store = RedisRunStore(url, deadline_ms=deadline_ms)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def relayed(server: RedisServer, deadline_ms: int = 5_000) -> AsyncIterator[tuple[RedisRunStore, Relay]]:
    """Yield a started store whose only way to the server is a relay."""
    async with relay_to(server.path) as relay, store_on(f"redis://127.0.0.1:{relay.port}", deadline_ms) as store:
        yield store, relay


@pytest.mark.fault(60)
async def test_runs_of_a_newer_schema_are_refused(redis: RedisServer) -> None:
    """The run store has a mark of its own, beside the ledger's."""
    redis.ask("SET", "holdfast:schema", "2")
    async with store_on(redis.url):
        pass
    redis.ask("SET", f"{PREFIX}schema", "2")
    with pytest.raises(UnfitStore, match="the run store in redis at .* has schema 2, this program knows 1"):
        await RedisRunStore(redis.url).start()


@pytest.mark.fault(36, 37, 64)
async def test_call_whose_reply_was_lost_is_sent_again_and_has_the_effect_of_one(redis: RedisServer) -> None:
    """Whatever the call: it ran, its answer was lost, and the repetition is answered as the first would have been."""
    async with relayed(redis) as (store, relay):

        async def twice(call: Awaitable[T]) -> T:
            relay.cuts = 1
            answer = await call
            assert relay.cuts == 0
            return answer

        first = a_put(owner="a", then="keep", in_ms=LONG_MS)
        assert await twice(store.swap(first, a_put("run_2"))) == Written()
        (place,) = await twice(store.take("b", 10, LONG_MS))
        assert (place.key, place.owner) == ("run_2", "b")
        assert await twice(store.renew("b", ["run_1", "run_2"], LONG_MS)) == {"run_2"}
        assert await twice(store.hear("w_1", LONG_MS, "run_1")) is True
        assert await store.hear("w_1", LONG_MS, "run_1") is False
        assert await twice(store.hurry("run_1")) is True
        assert await twice(store.post("e_1", b"1", 1)) is True
        assert await store.depth() == 1
        assert await twice(store.deliveries("c", 10, LONG_MS)) == [Delivery("e_1", b"1", 1)]
        await twice(store.bury("e_1", "why", ""))
        assert await twice(store.requeue("e_1")) is True
        assert await store.requeue("e_1") is False
        assert await store.depth() == 1
        await twice(store.bury("e_1", "why", ""))
        assert await twice(store.drop("e_1")) is True
        assert await store.drop("e_1") is False
        await store.post("e_2", b"2", 1)
        await twice(store.done(["e_2"]))
        assert await store.depth() == 0
        assert await there(store) == Standing("run_1", first.version, b"record", "a")


@pytest.mark.fault(39)
async def test_scripts_flushed_are_loaded_again(redis: RedisServer) -> None:
    """NOSCRIPT ran nothing, so the same call is repeated; a hundred at once load each script once."""
    async with relayed(redis) as (store, relay):
        redis.ask("SCRIPT", "FLUSH")
        relay.sent.clear()
        answers = await asyncio.gather(*(store.swap(a_put(f"run_{i}")) for i in range(100)))
        assert answers == [Written()] * 100
        assert relay.sent.count(b"\r\nLOAD\r\n") == 1
        assert len(await taken(store)) == 100
        assert relay.sent.count(b"\r\nLOAD\r\n") == 2


@pytest.mark.fault(45)
async def test_flushed_server_is_an_empty_one(redis: RedisServer) -> None:
    """What stood is absent, who expected it is told, the group is made anew, and all goes on."""
    async with store_on(redis.url) as store:
        await put(store, first := a_put(label="queued"))
        await store.post("e_1", b"1", 10)
        await store.deliveries("a", 10, LONG_MS)
        redis.ask("FLUSHALL")
        assert await store.swap(idle(expected=first.version)) == Astray("run_1", None)
        assert await store.counts() == {}
        assert await taken(store) == []
        assert await store.deliveries("a", 10, LONG_MS) == []
        await store.done(["e_1"])
        assert await store.post("e_1", b"1", 10) is True
        assert await store.deliveries("a", 10, LONG_MS) == [Delivery("e_1", b"1", 1)]
        await put(store, a_put(label="queued"))
        assert await store.counts() == {"queued": 1}


@pytest.mark.fault(73)
async def test_lost_consumer_group_is_made_anew_and_nothing_accepted_is_lost(redis: RedisServer) -> None:
    """All that is in the stream is delivered again; what was done with is not."""
    async with store_on(redis.url) as store:
        for index in range(4):
            await store.post(f"e_{index}", b"%d" % index, 10)
        await store.deliveries("a", 3, LONG_MS)
        await store.done(["e_0"])
        redis.ask("XGROUP", "DESTROY", f"{PREFIX}results", "coordinators")
        await store.done(["e_1"])
        await store.bury("e_2", "why", "")
        assert await store.deliveries("b", 10, LONG_MS) == [Delivery("e_3", b"3", 1)]
        redis.ask("XGROUP", "DESTROY", f"{PREFIX}results", "coordinators")
        assert [d.id for d in await store.deliveries("c", 10, 0)] == ["e_3"]
        assert await store.depth() == 1


@pytest.mark.fault(73)
async def test_lost_stream_takes_results_as_before(redis: RedisServer) -> None:
    """Somebody deleted it: what is posted again, under its old id, is there again."""
    async with store_on(redis.url) as store:
        await store.post("e_1", b"1", 10)
        await store.deliveries("a", 1, LONG_MS)
        redis.ask("DEL", f"{PREFIX}results")
        await store.bury("e_1", "why", "")
        assert await store.letters("", 1) == ([], "")
        assert await store.post("e_1", b"1", 10) is True
        assert await store.deliveries("a", 10, LONG_MS) == [Delivery("e_1", b"1", 1)]
        redis.ask("XTRIM", f"{PREFIX}results", "MAXLEN", 0)
        assert await store.deliveries("a", 10, 0) == []


@pytest.mark.fault(44)
async def test_full_server_begins_nothing_and_lets_what_is_under_way_go_on(redis: RedisServer) -> None:
    """New turns and results are refused; runs are taken, written, released, and results done with or buried."""
    async with store_on(redis.url) as store:
        await put(store, first := a_put(label="queued"))
        await store.post("e_1", b"1", 10)
        await store.post("e_2", b"2", 10)
        redis.ask("CONFIG", "SET", "maxmemory", 1)
        for call in (store.swap(a_put("run_2")), store.post("e_3", b"3", 10), store.hear("w_1", LONG_MS, "run_1")):
            with pytest.raises(StoreUnavailable, match="out of memory"):
                await call
        assert await taken(store, "a") == ["run_1"]
        assert await store.renew("a", ["run_1"], LONG_MS) == {"run_1"}
        assert await store.hurry("run_1") is True
        await put(store, a_put(expected=first.version, label="done", owner="a", then="release", forget_ms=LONG_MS))
        assert await taken(store, "b") == ["run_1"]
        assert len(await store.deliveries("a", 10, LONG_MS)) == 2
        await store.done(["e_1"])
        await store.bury("e_2", "why", "")
        assert await store.counts() == {"done": 1}
        assert await store.read("run_2") is None
        assert [letter.id for letter in (await store.letters("", 10))[0]] == ["e_2"]


async def test_server_that_may_evict_is_refused(redis: RedisServer) -> None:
    """An evicted run would be one that nobody watches: start says what to set."""
    redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnfitStore, match="set maxmemory-policy noeviction"):
        await RedisRunStore(redis.url).start()
    redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    async with store_on(redis.url) as store:
        assert store.version.startswith(("6.", "7.", "8."))
        assert any("appendonly no" in warning for warning in store.warnings)


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "foreign",
    [
        ("SET", f"{PREFIX}place:run_1", "a string"),
        ("HSET", f"{PREFIX}place:run_1", "some", "hash"),
        ("HSET", f"{PREFIX}place:run_1", "key", "run_2", "version", "v", "record", "", "label", "", "owner", ""),
        ("HSET", f"{PREFIX}place:run_1", "key", "run_1", "version", "v"),
    ],
    ids=["string", "foreign-hash", "other-place", "no-record"],
)
async def test_foreign_value_at_a_place_is_never_taken_for_absent(redis: RedisServer, foreign: tuple[str, ...]) -> None:
    """No swap, no read, no hurry; it stays as it is, and others' places are not held up by it."""
    async with store_on(redis.url) as store:
        redis.ask(*foreign)
        redis.ask("ZADD", f"{PREFIX}due", 1, "run_1")
        before = redis.ask("DUMP", f"{PREFIX}place:run_1")
        for call in (store.swap(idle("run_3"), a_put("run_1")), store.read("run_1"), store.hurry("run_1")):
            with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
                await call
        await put(store, a_put("run_2"))
        assert await taken(store) == ["run_2"]
        assert await store.read("run_3") is None
        assert redis.ask("DUMP", f"{PREFIX}place:run_1") == before


@pytest.mark.fault(47)
@pytest.mark.parametrize("name", ["due", "listed", "labels", "number", "label:new", "forget:new", "label:old"])
async def test_swap_that_meets_something_foreign_leaves_nothing_half_written(redis: RedisServer, name: str) -> None:
    """Places and indexes change together or not at all, also when one of the keys is another's."""
    async with store_on(redis.url) as store:
        await put(store, first := idle(label="old"))
        redis.ask("DEL", f"{PREFIX}{name}")
        redis.ask("HSET", f"{PREFIX}{name}", "another", "program's")
        second = a_put("run_1", first.version, label="new", forget_ms=LONG_MS)
        with pytest.raises(StoreUnavailable):
            await store.swap(a_put("run_2", label="new"), second)
        redis.ask("DEL", f"{PREFIX}{name}")
        assert (await there(store)).version == first.version
        assert await store.read("run_2") is None
        assert await taken(store) == []


async def test_what_is_forgotten_leaves_nothing_behind(redis: RedisServer) -> None:
    """The places go by themselves; counting, looking what is due, and later writes take them out of the indexes."""
    async with store_on(redis.url) as store:
        for index in range(50):
            await put(store, a_put(f"run_{index}", label="done", forget_ms=SHORT_MS))

        async def gone() -> bool:
            return not any(b":place:" in key for key in redis.ask("KEYS", "*"))

        await eventually(gone)
        assert redis.ask("ZCARD", f"{PREFIX}label:done") > 0
        await put(store, a_put("late", label="done", forget_ms=SHORT_MS))
        before = redis.ask("ZCARD", f"{PREFIX}label:done")
        await put(store, a_put("later", label="done", forget_ms=SHORT_MS))
        assert redis.ask("ZCARD", f"{PREFIX}label:done") == before - 1
        await eventually(gone)
        assert await taken(store) == []
        assert await store.counts() == {}
        assert await store.counts() == {}
        assert set(redis.ask("KEYS", "*")) == {f"{PREFIX}number".encode()}


async def test_all_keys_share_one_slot_and_one_prefix(redis: RedisServer) -> None:
    """Whatever a coordinator keeps: `holdfast:{runs}:`; what is only for a while has its end."""
    async with store_on(redis.url) as store:
        await put(store, a_put("run_1", label="queued", forget_ms=LONG_MS))
        await taken(store)
        await store.hear("w_1", LONG_MS, "run_1")
        await store.post("e_1", b"1", 10)
        await store.deliveries("a", 1, LONG_MS)
        await store.bury("e_1", "why", "")
        await store.post("e_2", b"1", 10)
        keys = redis.ask("KEYS", "*")
        assert all(key.startswith(BASE) for key in keys)
        lasting = {key.removeprefix(BASE).decode() for key in keys if redis.ask("PTTL", key) == -1}
        assert lasting == {
            "due", "number", "listed", "labels", "label:queued", "forget:queued", "results", "posted", "letter:e_1",
            "letters",
        }  # fmt: skip


async def test_consumers_that_are_gone_are_forgotten_at_a_start(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica has a new name with each life: those with nothing under way leave the group, the others stay."""
    async with store_on(redis.url) as store:
        await store.post("e_1", b"1", 10)
        for consumer in ("a", "b", "c"):
            await store.deliveries(consumer, 1, LONG_MS)
        monkeypatch.setattr(redis_module, "CONSUMER_GONE_MS", -1)
        async with store_on(redis.url):
            pass
        names = [consumer[b"name"] for consumer in redis.ask("XINFO", "CONSUMERS", f"{PREFIX}results", "coordinators")]
        assert names == [b"a"]


async def test_subscription_that_was_lost_comes_back_and_has_everybody_look(redis: RedisServer) -> None:
    """What was published meanwhile is lost without a trace: so the listener is told to look; then nudges come again."""
    async with store_on(redis.url) as store:
        ear = Ear(store, "a")
        await put(store, a_put())
        await taken(store, "a")
        await ear.hears("")
        ear.heard.clear()
        redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await ear.hears("")
        await store.hurry("run_1")
        await ear.hears("run_1")


async def test_store_without_listeners_has_no_subscription(redis: RedisServer) -> None:
    """A command that only reads keeps one connection."""
    async with store_on(redis.url) as store:
        await store.counts()
        assert redis.ask("PUBSUB", "NUMSUB", f"{PREFIX}wake")[1] == 0


async def test_server_that_was_killed_and_is_back_is_used_again(redis: RedisServer) -> None:
    """While it is away, calls fail in time; listeners registered before hear again after."""
    async with store_on(redis.url, 500) as store:
        ear = Ear(store, "a")
        redis.kill()
        with pytest.raises(StoreUnavailable):
            await store.read("run_1")
        redis.start()

        async def back() -> bool:
            with contextlib.suppress(StoreUnavailable):
                return await store.swap(a_put("run_1")) == Written()
            return False

        await eventually(back)
        ear.heard.clear()
        await taken(store, "a")

        async def nudged() -> bool:
            await store.hurry("run_1")
            return "run_1" in ear.heard

        await eventually(nudged)


@pytest.mark.loops("asyncio", "uvloop")
async def test_closed_store_leaves_no_task_and_no_descriptor_behind(redis: RedisServer) -> None:
    """Whatever befell it: lost connections, listeners, failed starts (invariant I8)."""
    async with store_on(redis.url):
        pass  # what the loop opens at first use, once, is its own
    tasks, descriptors = len(asyncio.all_tasks()), len(list(DESCRIPTORS.iterdir()))
    for _ in range(3):
        async with store_on(redis.url) as store:
            ear = Ear(store, "a")
            await ear.hears("")
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
            redis.ask("CLIENT", "KILL", "TYPE", "normal")
            await store.read("run_1")
        redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnfitStore):
            await RedisRunStore(redis.url).start()
        redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert len(asyncio.all_tasks()) == tasks
    assert len(list(DESCRIPTORS.iterdir())) == descriptors


async def test_reply_of_another_call_is_never_handed_out(redis: RedisServer) -> None:
    """Replies out of step: the connection is given up, and nobody gets another's place (invariant I3)."""
    async with relayed(redis) as (store, relay):
        await put(store, idle("run_1"), idle("run_2"))
        relay.surplus = b"*4\r\n$5\r\nrun_2\r\n$1\r\nv\r\n$0\r\n\r\n$0\r\n\r\n"
        with contextlib.suppress(StoreUnavailable):
            await store.read("run_1")
        relay.surplus = b""

        async def whole() -> bool:
            with contextlib.suppress(StoreUnavailable):
                return (await there(store, "run_1")).key == "run_1"
            return False

        await eventually(whole)


def test_every_script_is_small_enough_to_be_read() -> None:
    """Lua compares, Python judges: no script is a program."""
    for script in ALL:
        assert script.text.count(b"\n") < 250, script.name
