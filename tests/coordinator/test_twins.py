"""Random calls on each store that lasts and on the memory store beside it: the answers are the same, and what stands.

The memory store is the model: it says what the port means in its plainest form. Where a store's clock is the server's,
times are either over at once or never over, so that no answer hangs on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from coordinator.store import Letter, Put, RunStore, Standing, Then
from coordinator.stores.memory import MemoryRunStore
from coordinator.stores.redis import RedisRunStore
from coordinator.stores.sqlite import SqliteRunStore
from tests.coordinator.run_bench import LONG_MS
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import SteppedClock

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
KEYS = ("run_1", "run_2", "turn_1")
LABELS = ("", "queued", "done")
OWNERS = ("a", "b")
IDS = ("e_1", "e_2", "e_3", "e_4")

keys = st.sampled_from(KEYS)
owners = st.sampled_from(OWNERS)
ids = st.sampled_from(IDS)
limits = st.integers(1, 4)
writes = st.fixed_dictionaries(
    {
        "expects": st.sampled_from(["what stands"] * 6 + ["nothing", "v0"]),
        "label": st.sampled_from(LABELS),
        "owner": st.sampled_from(["who owns it"] * 2 + list(OWNERS)),
        "then": st.sampled_from(["keep", "release", "hurry"]),
        "time": st.integers(0, 2),
        "forget": st.integers(0, 3),
    }
)


class Ground(Protocol):
    """Where one kind of store is compared."""

    times: tuple[int, int, int]
    """The milliseconds that calls name."""
    forgets: tuple[int | None, ...]
    """In how many places are forgotten."""
    exact: bool
    """Whether its clock is the model's."""

    def open(self, clock: SteppedClock) -> RunStore:
        """Return an empty store, not started yet."""

    def over(self) -> None:
        """The example has ended, and its store is closed."""


class SqliteGround:
    """A file of its own for each example, by the model's clock."""

    times = (0, 10, LONG_MS)
    forgets: tuple[int | None, ...] = (None, None, 10, LONG_MS)
    exact = True

    def open(self, clock: SteppedClock) -> RunStore:
        """See `Ground.open`."""
        self._folder = tempfile.TemporaryDirectory(prefix="twins-")
        return SqliteRunStore(str(Path(self._folder.name) / "coordinator.db"), deadline_ms=20_000, clock=clock)

    def over(self) -> None:
        """See `Ground.over`."""
        self._folder.cleanup()


class RedisGround:
    """One server, emptied for each example, with a clock of its own."""

    times = (0, LONG_MS, LONG_MS)
    forgets: tuple[int | None, ...] = (None, None, LONG_MS, LONG_MS)
    exact = False

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def open(self, clock: SteppedClock) -> RunStore:
        """See `Ground.open`."""
        self._server.ask("FLUSHALL")
        return RedisRunStore(self._server.url, deadline_ms=20_000)

    def over(self) -> None:
        """See `Ground.over`."""


class Twins(RuleBasedStateMachine):
    """Each rule asks both; what they answer, and what stands afterwards, is the same."""

    ground: ClassVar[Ground]
    loop: ClassVar[asyncio.AbstractEventLoop]

    @initialize()
    def begin(self) -> None:
        """Two empty stores."""
        self.clock = SteppedClock()
        self.versions = itertools.count(1)
        self.sent: list[tuple[Put, ...]] = []
        self.model = MemoryRunStore(self.clock)
        self.store = self.ground.open(self.clock)
        self.loop.run_until_complete(asyncio.wait_for(self._start(), 20))

    async def _start(self) -> None:
        await self.model.start()
        await self.store.start()

    def both(self, call: Callable[[RunStore], Awaitable[Any]]) -> Any:
        """Ask both the same; return their one answer."""
        if not self.ground.exact:
            self.clock.now_ms += 1

        async def asked() -> tuple[Any, Any]:
            return await call(self.model), await call(self.store)

        expected, answer = self.loop.run_until_complete(asked())
        assert answer == expected
        return answer

    # -- places ----------------------------------------------------------------------------------------------------

    @rule(puts=st.dictionaries(keys, writes, min_size=1, max_size=3))
    def swap(self, puts: dict[str, dict[str, Any]]) -> None:
        """Write one place or some."""
        self._swap(tuple(self._put(key, **terms) for key, terms in puts.items()))

    def _put(self, key: str, expects: str, label: str, owner: str, then: Then, time: int, forget: int) -> Put:
        standing: Standing | None = self.both(lambda store: store.read(key))
        versions = {"what stands": standing.version if standing else None, "nothing": None, "v0": "v0"}
        number, in_ms = next(self.versions), self.ground.times[time]
        if owner == "who owns it":
            owner = (standing.owner if standing else "") or OWNERS[0]
        return Put(
            key, versions[expects], f"v{number}", b"%d" % number, label, owner, then, in_ms, self.ground.forgets[forget]
        )

    def _swap(self, puts: tuple[Put, ...]) -> None:
        self.sent.append(puts)
        self.both(lambda store: store.swap(*puts))

    @precondition(lambda self: self.sent)
    @rule(back=st.integers(1, 3))
    def swap_again(self, back: int) -> None:
        """Send an earlier swap once more."""
        puts = self.sent[-min(back, len(self.sent))]
        self.both(lambda store: store.swap(*puts))

    @rule(owner=owners, limit=limits, time=st.integers(0, 2))
    def take(self, owner: str, limit: int, time: int) -> None:
        """Take what is due."""
        self._take(owner, limit, time)

    def _take(self, owner: str, limit: int, time: int) -> list[str]:
        """Take what is due: where times are not the model's, all of it, in any order."""
        limit = limit if self.ground.exact else len(KEYS)

        async def taken(store: RunStore) -> list[tuple[str, str, bytes]]:
            places = await store.take(owner, limit, self.ground.times[time])
            told = [(place.key, place.version, place.record) for place in places]
            return told if self.ground.exact else sorted(told)

        return [key for key, *_ in self.both(taken)]

    @rule(owner=owners, nudged=st.sets(keys, max_size=2), then=st.sampled_from(["keep", "release"]))
    def work(self, owner: str, nudged: set[str], then: Then) -> None:
        """Take what can be made due and write it, with nudges in between, as an owner does."""
        for key in KEYS:
            self.both(partial(_hurry, key=key))
        own = self._take(owner, len(KEYS), 2)
        for key in sorted(nudged):
            self.both(partial(_hurry, key=key))
        for key in own:
            self._swap((self._put(key, "what stands", "queued", owner, then, 2, 0),))

    @rule(owner=owners, some=st.sets(keys), time=st.integers(0, 2))
    def renew(self, owner: str, some: set[str], time: int) -> None:
        """Extend some visibilities."""
        self.both(lambda store: store.renew(owner, sorted(some), self.ground.times[time]))

    @rule(key=keys)
    def hurry(self, key: str) -> None:
        """Nudge."""
        self.both(lambda store: store.hurry(key))

    @rule(webhook=st.sampled_from(("w_1", "w_2")), key=keys, forgotten=st.booleans())
    def hear(self, webhook: str, key: str, forgotten: bool) -> None:
        """A notification comes, maybe again."""
        keep_ms = 10 if forgotten and self.ground.exact else LONG_MS
        self.both(lambda store: store.hear(webhook, keep_ms, key))

    @precondition(lambda self: self.ground.exact)
    @rule(ms=st.sampled_from((1, 9, 10, 11)))
    def time_passes(self, ms: int) -> None:
        """By the one clock of both."""
        self.clock.now_ms += ms

    # -- results -----------------------------------------------------------------------------------------------------

    @rule(entry_id=ids, depth_max=st.integers(1, 4))
    def post(self, entry_id: str, depth_max: int) -> None:
        """Post a result."""
        entry = b"%d" % next(self.versions)
        self.both(lambda store: store.post(entry_id, entry, depth_max))

    @rule(consumer=owners, limit=limits, idle=st.integers(0, 2))
    def deliveries(self, consumer: str, limit: int, idle: int) -> None:
        """Ask for results."""
        self.both(lambda store: store.deliveries(consumer, limit, self.ground.times[idle]))

    @rule(some=st.sets(ids))
    def done(self, some: set[str]) -> None:
        """Have done with some."""
        self.both(lambda store: store.done(sorted(some)))

    @rule(entry_id=ids)
    def bury(self, entry_id: str) -> None:
        """Bury one."""
        self.both(lambda store: store.bury(entry_id, f"why {entry_id}", "detail"))

    @rule(entry_id=ids)
    def requeue(self, entry_id: str) -> None:
        """Requeue one."""
        self.both(lambda store: store.requeue(entry_id))

    @rule(entry_id=ids)
    def drop(self, entry_id: str) -> None:
        """Drop one."""
        self.both(lambda store: store.drop(entry_id))

    # -- what stands ---------------------------------------------------------------------------------------------------

    @invariant()
    def places_are_the_same(self) -> None:
        """By reading, counting and listing."""

        async def seen(store: RunStore) -> list[Any]:
            read = [await store.read(key) for key in KEYS]
            listed = [await _all_places(store, label) for label in LABELS]
            return [read, await store.counts(), listed]

        self.both(seen)

    @invariant()
    def results_are_the_same(self) -> None:
        """In the queue and among the dead letters."""
        self.both(lambda store: store.depth())
        self.both(_all_letters)

    def teardown(self) -> None:
        """What is due in the end is the same; then both are closed."""
        if hasattr(self, "store"):
            self._take("c", len(KEYS), 2)
            self.loop.run_until_complete(self.store.close())
            self.ground.over()


async def _hurry(store: RunStore, key: str) -> bool:
    return await store.hurry(key)


async def _all_places(store: RunStore, label: str) -> list[list[Standing]]:
    pages, cursor = [], ""
    while True:
        page = await store.scan(label, cursor, 2)
        pages.append(page.places)
        cursor = page.cursor
        if not cursor:
            return pages


async def _all_letters(store: RunStore) -> list[tuple[str, bytes, str, str]]:
    letters: list[Letter] = []
    cursor = ""
    while True:
        page, cursor = await store.letters(cursor, 2)
        letters += page
        if not cursor:
            return [(letter.id, letter.entry, letter.reason, letter.detail) for letter in letters]


def compared(there: Ground, on_loop: asyncio.AbstractEventLoop, examples: int) -> None:
    """Search for calls that the two answer differently."""

    class OnThisGround(Twins):
        ground = there
        loop = on_loop

    run_state_machine_as_test(
        OnThisGround,
        settings=settings(
            max_examples=examples * 70 if NIGHTLY else examples,
            stateful_step_count=40,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.fixture
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs when a rule asks something."""
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.timeout(3_600 if NIGHTLY else 60)
def test_sqlite_answers_as_memory_does(own_loop: asyncio.AbstractEventLoop) -> None:
    """To the millisecond: one clock for both."""
    compared(SqliteGround(), own_loop, 15)


@pytest.mark.timeout(3_600 if NIGHTLY else 60)
def test_redis_answers_as_memory_does(own_loop: asyncio.AbstractEventLoop, shared_redis: RedisServer) -> None:
    """Scripts and model agree on every answer."""
    compared(RedisGround(shared_redis), own_loop, 15)


@pytest.mark.system
@pytest.mark.timeout(3_600 if NIGHTLY else 60)
def test_system_redis_answers_as_memory_does(
    own_loop: asyncio.AbstractEventLoop, shared_system_redis: RedisServer
) -> None:
    """The same on Debian's Redis."""
    compared(RedisGround(shared_system_redis), own_loop, 15)
