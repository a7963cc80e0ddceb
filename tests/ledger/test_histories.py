"""Random histories of two processes, three calls and one tool, on each store, held against what may never happen.

Calls arrive, the tool answers or does not, processes die, stand still and lose sight of the store, time passes. A model
of a few lines knows what the tool did and what came back to whom; from it follows what callers may be told (I1 to I6),
and, once everything has come to rest, what they must be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar, TypeVar

import pytest
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
from msgspec import Struct
from msgspec.structs import replace

from ledger.records import Alias, Completed, Free, InFlight, Record, Unknown
from policies.model import Retry, Timeouts
from proxy.answer import Answer
from proxy.forward import Lost, NotSent, Replied
from tests.effort import LONGER, TIMEOUT_S
from tests.ledger.grounds import Ground, MemoryGround, RedisGround, SqliteGround
from tests.ledger.redis_server import RedisServer
from tests.proxy.elsewhere import another_loop
from tests.proxy.scripted import Answers, Attempt, Cuts, Prompted, Refuses
from tests.proxy.virtual import VirtualLoop
from tests.proxy.world import LEASE_MS, POLICY, Process, World, arrival, told

T = TypeVar("T")
CALLS = ("call_1", "call_2", "call_3")
USUAL = replace(POLICY, retry=Retry(attempts=2), timeouts=Timeouts(upstream_ms=10_000, hold_ms=5_000, late_ms=30_000))
ANSWERED_WITHIN_S = 45.0
"""No caller waits longer: connecting, the tool's time, and the store's."""

SWEPT_WITHIN_S = 15 + 6


class Asked(Struct):
    """One arrival: of which call, at which process, when, and its answer to be."""

    call: str
    process: Process
    at_s: float
    task: asyncio.Task[Answer]
    other_body: bool
    acted_before: int
    checked: bool = False


class Histories(RuleBasedStateMachine):
    """The rules make the history; the invariants judge it."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(None)
        self.asked: list[Asked] = []
        self.standing: dict[int, float] = {}
        self.generation = 0
        self.served: dict[str, bool] = {}

    @initialize()
    def begin(self) -> None:
        """An empty store, two processes."""

        async def made() -> World:
            one, other = self.ground.open(self.loop)
            await one.start()
            if other is not one:
                await other.start()
            return World(one, other)

        self.stores_open = True
        self.world = self.play(made())
        self.world.tool.usual = Prompted()
        self.alive = [self.world.a, self.world.b]

    def play(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a piece of the history."""
        return self.loop.run_until_complete(story)

    def rest(self, seconds: float = 0.05) -> None:
        """Let everything that is under way go on for a while."""
        self.play(asyncio.sleep(seconds))

    # -- rules -------------------------------------------------------------------------------------------------------

    @rule(
        call=st.sampled_from(CALLS), index=st.integers(0, 1), other_body=st.integers(0, 9).map(lambda n: n == 0),
        patience_s=st.sampled_from([None, None, 0, 3]),
    )  # fmt: skip
    def arrive(self, call: str, index: int, other_body: bool, patience_s: float | None) -> None:
        """A caller asks, mostly with the same request."""
        process = self.alive[index]
        body = b'{"subject": "other"}' if other_body else b'{"subject": "printer"}'
        acted = self.world.tool.executions[operation_of(call)]

        async def asks() -> asyncio.Task[Answer]:
            return process.ask(arrival(call, body=body, policy=USUAL, patience_s=patience_s))

        self.asked.append(Asked(call, process, self.loop.time(), self.play(asks()), other_body, acted))
        self.rest()

    @rule(mood=st.sampled_from([Prompted(acts=True), Prompted(acts=True), Prompted(acts=False), Refuses()]))
    def tool_is(self, mood: Prompted | Refuses) -> None:
        """From now on the tool acts on what it gets, or does not, or cannot be reached."""
        self.world.tool.usual = mood

    @precondition(lambda self: self.world.tool.prompts)
    @rule(which=st.integers(0, 2), kind=st.sampled_from(["final", "neither", "cut"]))
    def tool_answers(self, which: int, kind: str) -> None:
        """One of the requests at the tool comes to its end; a final reply says what happened."""
        tool = self.world.tool
        operation = sorted(tool.prompts)[which % len(tool.prompts)]
        attempt = next(a for a in reversed(tool.attempts) if a.operation == operation)
        end: Answers | Cuts = Cuts(after_s=0)
        if kind == "final":
            end = Answers(200 if attempt.acted else 429, after_s=0)
        elif kind == "neither":
            end = Answers(500, after_s=0)

        async def prompts() -> None:
            if not tool.prompts[operation].done():
                tool.prompt(operation, end)
            else:
                del tool.prompts[operation]

        self.play(prompts())
        self.rest()

    @rule(seconds=st.sampled_from([1, 4, 11, 25, 45]))
    def time_passes(self, seconds: int) -> None:
        """Leases of those that died or stand still run out, callers lose patience, the tool's time is over."""
        if seconds > LEASE_MS / 1_000:
            for call in CALLS:
                if self.owner_is_away(call):
                    self.ground.lapse(arrival(call).ref, self.loop)
        self.rest(seconds)

    @rule(index=st.integers(0, 1))
    def process_dies(self, index: int) -> None:
        """kill -9, and another one is started in its place."""
        self.standing.pop(index, None)
        self.alive[index].die()
        self.generation += 1

        async def starts() -> Process:
            return self.world.start(f"{'ab'[index]}{self.generation}", view=index)

        self.alive[index] = self.play(starts())

    @precondition(lambda self: len(self.standing) == 0)
    @rule(index=st.integers(0, 1))
    def process_stands_still(self, index: int) -> None:
        """As far as its leases are concerned."""
        self.standing[index] = self.loop.time()
        self.play(_call(self.alive[index].stand_still))

    @precondition(lambda self: len(self.standing) > 0)
    @rule()
    def process_goes_on(self) -> None:
        """And renews again what it still holds."""
        for index in list(self.standing):
            del self.standing[index]
            self.play(_call(self.alive[index].go_on))

    @rule(index=st.integers(0, 1), away=st.booleans())
    def store_is_away(self, index: int, away: bool) -> None:
        """For one of the two processes."""
        self.alive[index].gate.outage = away

    def owner_is_away(self, call: str) -> bool:
        """Say whether the call's newest attempt belongs to somebody who does not renew."""
        attempts = [a for a in self.world.tool.attempts if a.operation == operation_of(call)]
        if not attempts:
            return True
        gate = attempts[-1].gate
        away = [self.alive[index].gate for index in self.standing]
        return gate.died.is_set() or gate.outage or gate in away or attempts[-1].ended

    # -- what may never be -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_runs_twice(self) -> None:
        """I1: a call is forwarded again only after every earlier forward provably did not act."""
        for call in CALLS:
            attempts = self.attempts(call)
            assert sum(attempt.acted for attempt in attempts) <= 1
            for earlier in attempts[:-1]:
                assert not earlier.acted
                assert earlier.ended
                assert proves_that_it_did_not_run(earlier), earlier

    @invariant()
    def answers_are_true(self) -> None:
        """I2, I3, I5: everybody gets the call's one reply, or the truth about why not."""
        for asked in self.asked:
            if not asked.task.done() or asked.checked:
                continue
            asked.checked = True
            answer = asked.task.result()
            status, problem, how = told(answer)
            if how in {"executed", "joined", "replayed"}:
                (final,) = self.finals(asked.call)
                assert (status, answer.body) == (final.status, final.body)
                assert (
                    self.served.setdefault(asked.call, asked.other_body) == asked.other_body
                )  # one request, one reply
            if how == "not-executed":
                assert asked.acted_before == 0
            if asked.acted_before:
                assert how in {"joined", "replayed", "unknown", "refused"}
            if problem == "key-reused":
                assert len({other.other_body for other in self.asked if other.call == asked.call}) == 2

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """I4: whoever asked a living process has its answer in time."""
        for asked in self.asked:
            if not asked.process.gate.died.is_set() and not asked.task.done():
                assert self.loop.time() - asked.at_s < ANSWERED_WITHIN_S

    def attempts(self, call: str) -> list[Attempt]:
        """Return the forwards of a call, oldest first."""
        return [attempt for attempt in self.world.tool.attempts if attempt.operation == operation_of(call)]

    def finals(self, call: str) -> list[Replied]:
        """Return the final replies that the tool gave to a call: one at most."""
        return [
            attempt.outcome
            for attempt in self.attempts(call)
            if isinstance(attempt.outcome, Replied) and attempt.outcome.status == 200
        ]

    # -- in the end --------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everybody comes back, everything comes to rest, and each call is asked for once more."""
        if not hasattr(self, "world"):
            self.loop.close()
            return
        try:
            self._bring_to_rest()
            for call in CALLS:
                self._ask_once_more(call)
        finally:
            self._end()

    def _bring_to_rest(self) -> None:
        for process in self.alive:
            process.gate.outage = False
        self.process_goes_on()
        for call in CALLS:
            if self.owner_is_away(call):
                self.ground.lapse(arrival(call).ref, self.loop)
        self.rest(70)
        for call in CALLS:
            if self.owner_is_away(call):
                self.ground.lapse(arrival(call).ref, self.loop)
        self.rest(SWEPT_WITHIN_S)
        self.nobody_waits_for_ever()
        self.answers_are_true()
        self.nothing_runs_twice()

    def _ask_once_more(self, call: str) -> None:
        if any(asked.other_body for asked in self.asked if asked.call == call):
            return
        record: Record | None = self.play(self.world.record(arrival(call)))
        attempts, finals = self.attempts(call), self.finals(call)
        acted = any(attempt.acted for attempt in attempts)
        self.world.tool.usual = Answers()
        answer: Answer = self.play(self.alive[1].answer(arrival(call, policy=USUAL)))
        match record:
            case InFlight():
                raise AssertionError("still in flight")  # I6
            case None | Free():
                assert not acted
                assert told(answer) == (200, "", "executed")
            case Completed():
                assert (told(answer), answer.body) == ((200, "", "replayed"), finals[0].body)
            case Unknown():
                assert told(answer) == (409, "outcome-unknown", "unknown")
            case Alias():
                raise AssertionError("an alias without an effect key")
        if finals and not any(attempt.gate.died.is_set() for attempt in attempts):
            assert isinstance(record, Completed), "a known result never reached the store"

    def _end(self) -> None:
        async def closes() -> None:
            for process in self.world.processes:
                await process.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for store in self.world.stores:
                await store.close()

        self.play(closes())
        self.loop.close()
        self.ground.over()


async def _call(action: Callable[[], None]) -> None:
    action()


def operation_of(call: str) -> str:
    """Return the operation of a call."""
    return arrival(call).ref.operation


def proves_that_it_did_not_run(attempt: Attempt) -> bool:
    """Say whether what came of an attempt rules out that the tool acted."""
    match attempt.outcome:
        case NotSent():
            return True
        case Replied(status=429):
            return True
        case Replied() | Lost() | None:
            return False


def searched(ground: Ground, examples: int) -> None:
    """Search for a history that breaks an invariant."""

    class OnThisGround(Histories):
        pass

    OnThisGround.ground = ground
    run_state_machine_as_test(
        OnThisGround,
        settings=settings(
            max_examples=examples * LONGER,
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.fixture
def there() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in real time, for the stores that need one."""
    with another_loop() as loop:
        yield loop


@pytest.mark.fault(55, 57)
@pytest.mark.search
@pytest.mark.timeout(TIMEOUT_S)
def test_no_history_on_memory_breaks_an_invariant() -> None:
    """Two replicas on the memory store."""
    searched(MemoryGround(), 40)


@pytest.mark.fault(55, 57)
@pytest.mark.search
@pytest.mark.timeout(TIMEOUT_S)
def test_no_history_on_sqlite_breaks_an_invariant(there: asyncio.AbstractEventLoop) -> None:
    """Two guards over one SQLite file, which really goes to disk."""
    searched(SqliteGround(there), 8)


@pytest.mark.fault(55, 57)
@pytest.mark.search
@pytest.mark.timeout(TIMEOUT_S)
def test_no_history_on_redis_breaks_an_invariant(there: asyncio.AbstractEventLoop, shared_redis: RedisServer) -> None:
    """Two processes' connections to one server, woken by its messages."""
    searched(RedisGround(there, shared_redis), 8)
