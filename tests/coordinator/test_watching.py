"""Which runs a process owns: taken, adopted, renewed, lost, and let go of at the end."""

from __future__ import annotations

import asyncio

import pytest

from coordinator import transitions
from coordinator.means import Limits
from coordinator.records import encode, run_key
from coordinator.store import Put, Written
from coordinator.turns import Started, TurnAsk
from tests.coordinator.house import House, house, looked_for, now_ms
from tests.coordinator.telling import MAIL, TICKET, asked_of_proxy, asks, executed, let_go, posted, started
from tests.proxy.virtual import in_virtual_time, settled
from tests.proxy.virtual import now as moment

ELSEWHERE = frozenset({"create_ticket"})
RUNS = 200
TOOL_S = 0.1
POLLING_S = 1.3


async def tracked(now: House, *steps: list[object]) -> str:
    """Have a run made by somebody else written down, due now; return its id."""
    thread = now.life.create_thread(now.api.now(), {})
    run = now.life.create_run(thread, "asst_1", [list(step) for step in steps], now.api.now())  # type: ignore[arg-type]
    record = encode(transitions.begun("assistants", thread.id, run.id, now_ms()))
    assert await now.store.swap(Put(run_key("assistants", run.id), None, f"v-{run.id}", record)) == Written()
    return run.id


@pytest.mark.fault(56)
@in_virtual_time
async def test_replica_that_stops_hands_its_runs_to_another_at_once() -> None:
    """Calls in flight go on at the proxy; the next owner joins them, and nothing is executed or waited for twice."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 3.0
        first = now.replica("first")
        runs = [await started(now, [TICKET], turn=f"turn-{number}") for number in range(20)]
        await asked_of_proxy(now, 20)
        await first.watching.stop(12.0)
        assert len(first.watching) == 0
        began = moment()
        second = now.replica("second")
        await settled()
        assert len(second.watching) == 20
        for run_id in runs:
            assert (await now.ended(run_id)).status == "completed"
        assert moment() - began < 3 + POLLING_S
        assert executed(now) == ["create_ticket"] * 20
        assert len(now.tools.asked) == 40
        assert len(now.api.accepted) == 20
        assert first.asked.count("submit") == 0


@pytest.mark.fault(56)
@in_virtual_time
async def test_replica_that_stops_while_it_submits_waits_for_the_answer() -> None:
    """The answer is written down before the run is let go, so that nobody has to ask for it."""
    async with house() as now:
        first = now.replica("first")
        run_id = await started(now, [TICKET])

        async def submitting() -> bool:
            return "submit" in now.api.asked

        await looked_for(submitting, 0.001)
        await first.watching.stop(12.0)
        record = await now.record(run_id)
        assert record.steps[0].state == "submitted"
        assert record.steps[0].attempts[-1].end == "accepted"


@pytest.mark.fault(56)
@in_virtual_time
async def test_run_that_another_writes_as_its_owner_stops_is_let_go_all_the_same() -> None:
    """A result that is posted in that moment makes the owner's last write go astray: it is written anew."""
    async with house() as now:
        first = now.replica("first", ELSEWHERE)
        other = now.replica("other", ELSEWHERE)
        run_id = await started(now, [TICKET, MAIL])
        step = await asks(now, run_id)
        await asyncio.sleep(1)
        await other.inbox.accept(posted(now, run_id, step.calls[0].id))
        for task in other.tasks[:1]:
            task.cancel()  # it takes no runs for now
        stopping = asyncio.ensure_future(first.watching.stop(12.0))
        await stopping
        standing = await now.store.read(run_key("assistants", run_id))
        assert standing is not None
        assert standing.owner == ""


@pytest.mark.fault(56)
@in_virtual_time
async def test_run_that_is_taken_as_its_taker_stops_is_let_go() -> None:
    """The store's answer to a taking comes after the stop has begun: what it brings is handed on, not sat upon."""
    async with house() as now:
        run_id = await tracked(now, [TICKET])
        first = now.replica("first")
        first.weather.next["take"] = ["slow"]
        await settled()
        stopping = asyncio.ensure_future(first.watching.stop(12.0))
        await settled()
        first.tasks[0].cancel()
        await stopping
        now.replica("second")
        assert (await now.ended(run_id, 10)).status == "completed"


@pytest.mark.fault(56)
@in_virtual_time
async def test_turn_that_starts_as_its_replica_stops_leaves_its_run_to_another() -> None:
    """The run is made and nobody keeps it here any more: it is due at once for who does."""
    async with house() as now:
        first = now.replica("first")
        now.api.plans["plan"] = [[TICKET]]
        turn = asyncio.ensure_future(first.turns.start(TurnAsk("turn-1", "plan", "asst_1")))
        await asyncio.sleep(0.005)
        await first.watching.stop(12.0)
        second = now.replica("second")
        told = await turn
        assert isinstance(told, Started)
        assert (await now.ended(told.run_id, 10)).status == "completed"
        assert second.asked.count("submit") == 1


@in_virtual_time
async def test_run_that_lapsed_and_was_taken_by_its_keeper_again_goes_on_with_what_was_posted() -> None:
    """The store was away for longer than the visibility, and a result was posted through another replica: the keeper
    takes the run anew, and with it the news, though nobody nudged it."""
    async with house() as now:
        keeper = now.replica("keeper", ELSEWHERE)
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        await asyncio.sleep(1)
        keeper.weather.becomes("away")
        await asyncio.sleep(16)
        other = now.replica("other", ELSEWHERE)
        for task in other.tasks[:2]:
            task.cancel()
        assert await other.inbox.accept(posted(now, run_id, step.calls[0].id)) == "accepted"
        await asyncio.sleep(0.1)
        keeper.weather.becomes("fine")
        assert (await now.ended(run_id, 6)).status == "completed"


@in_virtual_time
async def test_run_that_is_nudged_as_it_is_let_go_is_kept_again() -> None:
    """A late result is posted between the release and its answer: the place falls due, and its keeper, which has not
    heard that it let go, takes it again; it is let go again soon, not when the visibility is over."""
    async with house() as now:
        replica = now.replica()
        replica.weather.slow_s["swap"] = 0.3
        run_id = await started(now, [TICKET])
        await now.ended(run_id)
        await now.store.hurry(run_key("assistants", run_id))
        await asyncio.sleep(3)
        standing = await now.store.read(run_key("assistants", run_id))
        assert standing is not None
        assert standing.owner == ""
        assert len(replica.watching) == 0


@in_virtual_time
async def test_record_that_cannot_be_read_is_left_alone_and_the_others_go_on() -> None:
    """A record of another version falls due again and again; it is told, never overwritten, and holds up nobody."""
    async with house() as now:
        await now.store.swap(Put(run_key("assistants", "run_x"), None, "v-x", b"\xc1 not a run"))
        run_id = await tracked(now, [TICKET])
        replica = now.replica()
        assert (await now.ended(run_id)).status == "completed"
        await asyncio.sleep(40)
        standing = await now.store.read(run_key("assistants", "run_x"))
        assert standing is not None
        assert standing.record == b"\xc1 not a run"
        await let_go(replica)


@in_virtual_time
async def test_run_whose_keeper_fails_is_taken_again() -> None:
    """An error that nobody foresaw ends one run's keeping, and no other's; the run falls due, and is done."""
    async with house() as now:
        replica = now.replica()
        now.tools.output["create_ticket"] = "x"
        bad, good = await started(now, [TICKET], turn="bad"), await started(now, [MAIL], turn="good")
        now.api.faults["look"] = ["bug"]
        assert (await now.ended(good)).status == "completed"
        assert (await now.ended(bad)).status == "completed"
        assert moment() > 15
        assert len(now.api.accepted) == 2
        await let_go(replica)


@in_virtual_time
async def test_process_keeps_no_more_runs_than_it_may() -> None:
    """The others wait in the due-queue, and are taken as there is room."""
    async with house(Limits(runs_max=5)) as now:
        runs = [await tracked(now, [TICKET]) for _ in range(12)]
        replica = now.replica()
        most = 0
        while not all([(await now.record(run_id)).over for run_id in runs]):
            most = max(most, len(replica.watching))
            await asyncio.sleep(0.01)
        assert most == 5
        assert len(now.api.accepted) == 12


@in_virtual_time
async def test_longest_wait_is_that_of_the_step_that_was_seen_first() -> None:
    """Of the runs kept here; it is over with the last of them."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 60.0
        replica = now.replica()
        assert replica.watching.longest_wait_s() == 0
        first = await started(now, [TICKET], turn="turn-1")
        await asked_of_proxy(now, 1)
        await asyncio.sleep(20)
        second = await started(now, [TICKET], turn="turn-2")
        await asked_of_proxy(now, 2)
        assert 20 <= replica.watching.longest_wait_s() < 25
        await now.ended(first)
        assert 35 <= replica.watching.longest_wait_s() < 45
        await now.ended(second)
        assert replica.watching.longest_wait_s() == 0


@in_virtual_time
async def test_two_hundred_runs_at_once_stall_nowhere() -> None:
    """No step waits for longer than its tools take and a second of polling; afterwards nothing is kept and no task is
    left."""
    async with house() as now:
        waits: dict[str, float] = {}
        begun: dict[str, float] = {}

        def changed(run: object) -> None:
            step = run.steps[-1].id if run.steps else ""  # type: ignore[attr-defined]
            if run.status == "requires_action":  # type: ignore[attr-defined]
                begun[step] = moment()
            elif step in begun:
                waits.setdefault(step, moment() - begun[step])

        now.life._changed = changed
        replica = now.replica()
        await asyncio.sleep(2)
        tasks = len(asyncio.all_tasks())
        plan = [[TICKET, MAIL], [TICKET], [MAIL]]
        runs = await asyncio.gather(*(started(now, *plan, turn=f"turn-{number}") for number in range(RUNS)))
        for run_id in runs:
            assert (await now.ended(run_id, look_s=0.5)).status == "completed"
        await let_go(replica)
        await settled()
        assert len(waits) == RUNS * 3
        assert max(waits.values()) < TOOL_S + POLLING_S
        assert len(now.tools.executed) == RUNS * 4
        assert len(now.api.accepted) == RUNS * 3
        assert len(asyncio.all_tasks()) == tasks
        assert not replica.watching._keepings
        assert not replica.turns._under_way
