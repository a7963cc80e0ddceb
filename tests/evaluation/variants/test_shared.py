"""What a region's instances share: the same of the records in Redis and of their twin in memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from evaluation.variants.shared import RedisShared, Shared, SharedAway
from evaluation.variants.turns import NotStarted, Started
from tests.evaluation.variants.shared_twin import Records, SharedTwin
from tests.redis_server import redis_server

STEP = ("run_1", ("call_1", "call_2"))
Make = Callable[[float], Shared]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis of this file's own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(params=["redis", "twin"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Make instances that share the records of one region, given for how long an attempt lasts."""
    numbers, records = itertools.count(), Records()
    port = request.getfixturevalue("server") if request.param == "redis" else 0
    opened: list[RedisShared] = []

    def made(attempt_s: float) -> Shared:
        owner = f"{request.node.name} {next(numbers)}"
        if request.param == "twin":
            return SharedTwin(records, owner, attempt_s)
        opened.append(RedisShared(f"redis://127.0.0.1:{port}/0", owner, attempt_s=attempt_s))
        return opened[-1]

    yield made
    for one in opened:
        await one._redis.flushdb()
        await one.close()


async def test_one_instance_at_a_time_hands_in(make: Make) -> None:
    """It may try again; the others are told that somebody is at it, and in the end that it is done."""
    first, second = make(60), make(60)
    assert [await first.begin_attempt(STEP), await first.begin_attempt(STEP)] == ["ours", "ours"]
    assert await second.begin_attempt(STEP) == "other"
    await first.submitted(STEP)
    assert [await first.begin_attempt(STEP), await second.begin_attempt(STEP)] == ["submitted", "submitted"]


async def test_attempt_that_is_given_up_is_anybodys(make: Make) -> None:
    """By whoever made it, and by nobody else."""
    first, second = make(60), make(60)
    await first.begin_attempt(STEP)
    await second.give_up_attempt(STEP)
    assert await second.begin_attempt(STEP) == "other"
    await first.give_up_attempt(STEP)
    assert await second.begin_attempt(STEP) == "ours"


async def test_step_that_stands_as_submitted_and_still_waits_is_anybodys(make: Make) -> None:
    """One that somebody hands in at the moment is not."""
    first, second = make(60), make(60)
    await first.submitted(STEP)
    await second.reopen(STEP)
    assert await second.begin_attempt(STEP) == "ours"
    await first.reopen(STEP)
    assert await first.begin_attempt(STEP) == "other"


async def test_attempt_of_an_instance_that_died_lapses(make: Make) -> None:
    """Then another makes it."""
    first, second = make(0.05), make(60)
    await first.begin_attempt(STEP)
    async with asyncio.timeout(30):
        while await second.begin_attempt(STEP) == "other":  # noqa: ASYNC110  Redis says nothing of what lapses
            await asyncio.sleep(0.01)


async def test_steps_are_told_apart_by_run_and_calls(make: Make) -> None:
    """A step that is asked for again under new ids is another one."""
    first, second = make(60), make(60)
    await first.begin_attempt(STEP)
    for other in (("run_2", STEP[1]), ("run_1", ("call_1",)), ("run_1", ("call_3", "call_4"))):
        assert await second.begin_attempt(other) == "ours"


async def test_notification_is_news_once(make: Make) -> None:
    """For all instances together."""
    first, second = make(60), make(60)
    assert [await first.is_news("msg_1"), await second.is_news("msg_1"), await second.is_news("msg_2")] == [
        True, False, True,
    ]  # fmt: skip


async def test_turn_is_begun_by_one_and_known_to_all(make: Make) -> None:
    """Who asks meanwhile waits for the one that began."""
    first, second = make(60), make(60)
    assert await first.begin("t1/a") is None
    waiting = asyncio.ensure_future(second.begin("t1/a"))
    await first.began("t1/a", Started("thread_1", "run_1", anew=True))
    assert await waiting == Started("thread_1", "run_1")
    assert await first.begin("t1/a") == Started("thread_1", "run_1")


async def test_turn_that_was_given_up_is_begun_by_the_next(make: Make) -> None:
    """Whoever that is."""
    first, second = make(60), make(60)
    await first.begin("t1/a")
    await first.gave_up("t1/a")
    assert await second.begin("t1/a") is None


async def test_redis_that_is_away_is_told_of(tmp_path: Path) -> None:
    """A submission goes on without it; a turn does not begin."""
    with redis_server(tmp_path) as port:
        shared = RedisShared(f"redis://127.0.0.1:{port}/0", "a", attempt_s=60)
        assert await shared.answers()
        assert await shared.begin("t1/a") is None
    assert not await shared.answers()
    for asked in (shared.begin_attempt(STEP), shared.is_news("msg_1"), shared.submitted(STEP)):
        with pytest.raises(SharedAway):
            await asked
    told = await shared.begin("t1/b")
    assert isinstance(told, NotStarted)
    assert told.why == "store-unavailable"
    await shared.began("t1/a", Started("thread_1", "run_1"))
    await shared.gave_up("t1/a")
    with contextlib.suppress(SharedAway):
        await shared.close()
