"""Effect keys on the stores that last: the same stories over SQLite, Redis and a cluster, as two processes see them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from ledger.records import Alias, Completed
from ledger.store import Store
from ledger.stores.redis import RedisStore
from ledger.stores.redis_cluster import RedisClusterStore
from ledger.stores.sqlite import SqliteStore
from tests.proxy.conftest import RedisDatabase
from tests.proxy.elsewhere import Elsewhere, another_loop
from tests.proxy.regenerated import HOLD, OBSERVE, REFUSE, REPLAY, request
from tests.proxy.rows import EXECUTED, JOINED, REPLAYED
from tests.proxy.scripted import Answers, Cuts, Refuses
from tests.proxy.virtual import run, until
from tests.proxy.world import EPOCH_MS, World, told
from tests.redis_server import any_server
from tests.redis_topologies import Cluster, cluster

X1, X2, X3 = "call_X1", "call_X2", "call_X3"
Stores = Callable[[], tuple[Store, Store]]
Story = Callable[[World], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster of three primaries."""
    with cluster(any_server()) as made:
        yield made


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """A store, empty and not started, as two processes see it."""
    with another_loop() as there:
        if request.param == "sqlite":

            def opened() -> tuple[Store, Store]:
                one = Elsewhere(
                    SqliteStore(str(tmp_path / "ledger.db"), deadline_ms=20_000, clock=clock_ms_of()), there
                )
                return one, one
        elif request.param == "cluster":
            primaries: Cluster = request.getfixturevalue("nodes")
            for primary in primaries.primaries:
                primary.ask("FLUSHALL")

            def opened() -> tuple[Store, Store]:
                one, other = (Elsewhere(RedisClusterStore(primaries.url, deadline_ms=10_000), there) for _ in range(2))
                return one, other
        else:
            database: RedisDatabase = request.getfixturevalue("database")

            def opened() -> tuple[Store, Store]:
                one, other = (Elsewhere(RedisStore(database.url, deadline_ms=10_000), there) for _ in range(2))
                return one, other

        yield opened


def clock_ms_of() -> Callable[[], int]:
    """Return the virtual loop's clock, for a store that lives on another loop."""
    loop = asyncio.get_running_loop()
    return lambda: EPOCH_MS + round(loop.time() * 1_000)


@contextlib.asynccontextmanager
async def on(stores: Stores) -> AsyncIterator[World]:
    """Yield a world on such a store."""
    one, other = stores()
    for store in {one, other}:
        await store.start()
    made = World(one, other)
    yield made
    for process in made.processes:
        await process.close()
    for store in {one, other}:
        await store.close()


async def in_flight(story: World) -> None:
    """Duplicates on both replicas get the first one's result, and so do their retries."""
    story.tool.will(Answers(after_s=5))
    first = story.a.ask(request(X1))
    await until(1)
    others = [story.a.ask(request(X2)), story.b.ask(request(X3))]
    assert [told(await one) for one in (first, *others)] == [EXECUTED, JOINED, JOINED]
    assert [told(await story.b.answer(request(call))) for call in (X2, X3)] == [REPLAYED, REPLAYED]
    assert story.tool.dialled == 1
    assert isinstance(await story.record(request(X2)), Alias)


async def freed(story: World) -> None:
    """The first was never sent: of fifty that wait on two replicas exactly one runs."""
    story.tool.will(Refuses(after_s=5))
    first = story.a.ask(request(X1))
    await until(1)
    asked = [(story.a, story.b)[n % 2].ask(request(f"call_{n}")) for n in range(50)]
    assert told(await first) == (502, "not-sent", "not-executed")
    outcomes = [told(await one) for one in asked]
    assert outcomes.count(EXECUTED) == 1
    assert set(outcomes) <= {EXECUTED, JOINED, REPLAYED}
    assert story.tool.executed == 1


async def failed(story: World) -> None:
    """A failure holds nothing."""
    story.tool.will(Answers(404))
    await story.a.answer(request(X1))
    assert told(await story.b.answer(request(X2))) == EXECUTED


async def unknown(story: World) -> None:
    """An unknown holds without end."""
    story.tool.will(Cuts())
    await story.a.answer(request(X1))
    assert told(await story.b.answer(request(X2))) == (409, "outcome-unknown", "unknown")
    assert story.tool.executed == 1


async def refused(story: World) -> None:
    """The second is refused, and its retry too."""
    await story.a.answer(request(X1, REFUSE))
    for process in (story.b, story.a):
        assert told(await process.answer(request(X2, REFUSE))) == (409, "effect-duplicate", "refused")


async def held(story: World) -> None:
    """The second runs after the first, taking over what its success still holds; the third after the second."""
    story.tool.usual = Answers(after_s=2)
    asked = [story.a.ask(request(X1, HOLD)), story.b.ask(request(X2, HOLD)), story.a.ask(request(X3, HOLD))]
    await until(1.5)
    assert story.tool.dialled == 1
    assert [told(await one) for one in asked] == [EXECUTED] * 3


async def observed(story: World) -> None:
    """Both run, and the second holds nothing."""
    await story.a.answer(request(X1, OBSERVE))
    assert told(await story.b.answer(request(X2, OBSERVE))) == EXECUTED
    record = await story.record(request(X2))
    assert isinstance(record, Completed)
    assert record.effect is None


async def two_round_trips(story: World) -> None:
    """A claim with an effect key and its settlement cost what they cost without."""
    await story.b.answer(request(X1, REPLAY))
    assert story.b.gate.steps == ["swap", "dial", "send", "receive", "swap"]


STORIES: list[Story] = [in_flight, freed, failed, unknown, refused, held, observed, two_round_trips]


@pytest.mark.parametrize("story", STORIES, ids=[story.__name__ for story in STORIES])
def test_effect_keys_mean_the_same_on_every_store(stores: Stores, story: Story) -> None:
    """What the memory store shows in `test_effects*.py`, the others do as well."""

    async def told_there() -> None:
        async with on(stores) as made:
            await story(made)

    run(told_there())
