"""Listings of a shared server: in order over all scopes, whole over many pages, and past what is not ours.

What a listing is for every store is in the contract (`test_store_contract*.py`).
"""

from __future__ import annotations

import asyncio
import base64

import pytest

from ledger.key import Ref
from ledger.store import Listed, Phase
from ledger.stores import redis_listing
from ledger.stores.redis import RedisStore
from tests.ledger.redis_bench import DUE, RECORD, store_on
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, put

UNKNOWN = "holdfast:{acme/create_ticket}:unknown"


async def listed(store: RedisStore, phase: Phase | None, limit: int) -> list[Listed]:
    """Return all pages of a listing."""
    places: list[Listed] = []
    cursor = ""
    while True:
        page = await store.scan(phase, cursor, limit)
        places += page.places
        cursor = page.cursor
        if not cursor:
            return places


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
async def test_unknown_places_come_longest_first_over_all_scopes_whatever_the_page(
    redis: RedisServer, limit: int
) -> None:
    """Also where several have been unknown since the same millisecond, in one scope and in many."""
    async with store_on(redis.url) as store:
        moments = {f"op_{scope}{n}": (n // 3, f"acme/{scope}") for scope in "abc" for n in range(6)}
        for operation, (moment, scope) in moments.items():
            await put(store, Ref(scope, operation), a_write("unknown"))
            redis.ask("ZADD", f"holdfast:{{{scope}}}:unknown", 1_700_000_000_000 + moment, operation)
        found = [place.ref for place in await listed(store, "unknown", limit)]
        by_moment = sorted(moments.items(), key=lambda item: (*item[1], item[0]))
        assert found == [Ref(scope, operation) for operation, (_, scope) in by_moment]


async def test_places_in_flight_come_by_the_end_of_their_leases(redis: RedisServer) -> None:
    """Unknown ones that are leased (listened for, to be probed) are not in flight, though they are in that index."""
    async with store_on(redis.url) as store:
        for number, scope in enumerate(("acme/b", "acme/a", "acme/c")):
            await put(store, Ref(scope, "op_1"), a_write(lease_ms=10_000 - 1_000 * number))
            await put(store, Ref(scope, "op_2"), a_write("unknown", lease_ms=5_000))
        found = await listed(store, "in_flight", 2)
        assert [place.ref.scope for place in found] == ["acme/c", "acme/a", "acme/b"]
        assert all(0 < (place.lease_left_ms or 0) <= 10_000 for place in found)


async def test_all_phases_are_found_by_looking_through_the_keys(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many pages, few of them full: each place once, while nothing changes; what is asked for and nothing else."""
    monkeypatch.setattr(redis_listing, "KEYS_MAX", 20)
    monkeypatch.setattr(redis_listing, "SCANS_MAX", 2)
    async with store_on(redis.url) as store:
        phases: tuple[Phase, ...] = ("completed", "free", "unknown", "alias", "in_flight")
        writes = {
            a_ref(f"op_{n}", f"acme/{n % 7}"): a_write(phases[n % 5], result=b"r" if n % 2 else None)
            for n in range(200)
        }
        await asyncio.gather(*(store.swap(ref, None, write) for ref, write in writes.items()))
        for phase in (None, *phases):
            found = await listed(store, phase, 15)
            expected = {ref: write for ref, write in writes.items() if phase in (None, write.phase)}
            assert len(found) == len(expected)
            assert {(place.ref, place.version, place.record, place.has_result) for place in found} == {
                (ref, write.version, write.record, write.result is not None) for ref, write in expected.items()
            }


async def test_more_scopes_than_are_merged_at_once_are_all_listed(redis: RedisServer) -> None:
    """Of very many scopes, some are merged at a time; nothing is missed."""
    async with store_on(redis.url) as store:
        refs = {Ref(f"acme/tool{i}", "op_1") for i in range(1_500)}
        await asyncio.gather(*(store.swap(ref, None, a_write("unknown")) for ref in refs))
        found = await listed(store, "unknown", 400)
        assert (len(found), {place.ref for place in found}) == (1_500, refs)


@pytest.mark.fault(47)
async def test_listing_goes_on_past_what_is_not_ours_or_was_forgotten(redis: RedisServer) -> None:
    """A place that cannot be read is not listed, and keeps no other from being listed."""
    async with store_on(redis.url) as store:
        await put(store, a_ref(), a_write("unknown"))
        await put(store, a_ref("op_2"), a_write("unknown", result=b"r"))
        await put(store, a_ref("op_3"), a_write("completed"))
        redis.ask("DEL", RECORD)
        redis.ask("SET", RECORD, "another's")
        redis.ask("HDEL", RECORD.replace("op_1", "op_3"), "record")
        redis.ask("ZADD", UNKNOWN, 1, "op_4")
        redis.ask("ZADD", DUE, 1, "op_4")
        await store.watch(a_ref("op_5"))
        for phase in ("unknown", None):
            assert [place.ref for place in await listed(store, phase, 1)] == [a_ref("op_2")]
        assert await listed(store, "in_flight", 1) == []


async def test_cursor_whose_place_is_gone_misses_nothing(redis: RedisServer) -> None:
    """A place that was settled between two pages takes none of its moment with it."""
    async with store_on(redis.url) as store:
        for number in range(4):
            await put(store, a_ref(f"op_{number}"), a_write("unknown"))
            redis.ask("ZADD", UNKNOWN, 1, f"op_{number}")
        page = await store.scan("unknown", "", 2)
        assert [place.ref.operation for place in page.places] == ["op_0", "op_1"]
        for number in (0, 1):
            await put(store, a_ref(f"op_{number}"), a_write("completed"))
        page = await store.scan("unknown", page.cursor, 2)
        assert [place.ref.operation for place in page.places] == ["op_2", "op_3"]


async def test_cursor_that_is_not_this_listings_is_a_value_error(redis: RedisServer) -> None:
    """What came from elsewhere, was cut, or belongs to a listing of another phase is told as such, never guessed at."""
    async with store_on(redis.url) as store:
        for number in range(3):
            await put(store, a_ref(f"op_{number}"), a_write("unknown"))
        cursor = (await store.scan("unknown", "", 1)).cursor
        forged = base64.urlsafe_b64encode(b'["unknown",0,"-inf FOO","",""]').decode()
        for wrong in ("17", "ünsinn", cursor[:-4], cursor + "!", "AAAA", forged):
            with pytest.raises(ValueError, match="cursor"):
                await store.scan("unknown", wrong, 1)
        for phase in ("in_flight", "free", None):
            with pytest.raises(ValueError, match="cursor"):
                await store.scan(phase, cursor, 1)
