"""How many calls are under way at a time: whose time is over gives its slot to those that somebody waits for."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.means import Limits
from tests.coordinator.house import House, Replica, house
from tests.coordinator.telling import MAIL, TICKET, executed, let_go, lines, outcomes, started
from tests.proxy.virtual import in_virtual_time, settled

DEADLINE_S = 120.0
"""What a call has where no policy says otherwise."""
RUN = Limits(margin_ms=1_000)


def narrow(now: House, *, slots: int, late: int) -> Replica:
    """Start a replica with room for few calls."""
    replica = now.replica()
    replica.means.slots, replica.means.late = asyncio.Semaphore(slots), asyncio.Semaphore(late)
    return replica


@pytest.mark.fault(74)
@in_virtual_time
async def test_call_whose_time_is_over_leaves_its_slot_to_one_that_is_waited_for() -> None:
    """One slot, and a tool that works for five minutes: another run's call gets the slot at the first one's deadline,
    and the late truth is written down all the same."""
    async with house(RUN) as now:
        now.tools.takes_s["create_ticket"] = 300.0
        replica = narrow(now, slots=1, late=1)
        slow = await started(now, [TICKET], turn="slow")
        await asyncio.sleep(DEADLINE_S / 2)
        quick = await started(now, [MAIL], turn="quick")
        assert (await now.ended(quick, DEADLINE_S)).status == "completed"
        assert executed(now) == ["send_email"]
        assert (await now.ended(slow, DEADLINE_S)).status == "completed"
        await let_go(replica)
        assert "late" in lines(await now.record(slow))
        assert replica.means.slots._value == replica.means.late._value == 1


@in_virtual_time
async def test_late_truths_are_waited_for_as_far_as_there_is_room() -> None:
    """Two calls are late and there is a place for one: the other is given up, and its run let go of at once."""
    async with house(RUN) as now:
        now.tools.takes_s["create_ticket"] = 300.0
        replica = narrow(now, slots=2, late=1)
        runs = [await started(now, [TICKET], turn=f"turn-{number}") for number in range(2)]
        for run_id in runs:
            assert (await now.ended(run_id, DEADLINE_S * 1.5)).status == "completed"
        await let_go(replica)
        late = [lines(await now.record(run_id)).count("late") for run_id in runs]
        assert sorted(late) == [0, 1]
        await asyncio.sleep(1)
        assert executed(now) == ["create_ticket"] * 2


@in_virtual_time
async def test_call_that_gets_no_slot_in_time_is_never_asked_for() -> None:
    """The run was told that there was no time; to act after that would surprise everybody."""
    async with house(RUN) as now:
        replica = narrow(now, slots=0, late=1)
        run_id = await started(now, [TICKET])
        assert (await now.ended(run_id, DEADLINE_S * 1.5)).status == "completed"
        assert outcomes(now) != ["result"]
        replica.means.slots.release()
        await settled()
        await let_go(replica)
        assert now.tools.asked == []


@in_virtual_time
async def test_replica_that_stops_waits_for_no_late_truth() -> None:
    """Cancelled with the keeping of its run; slots and places are free again."""
    async with house(RUN) as now:
        now.tools.takes_s["create_ticket"] = 300.0
        replica = narrow(now, slots=1, late=1)
        await started(now, [TICKET])
        await asyncio.sleep(DEADLINE_S * 1.2)
        assert replica.means.late.locked()
        await replica.watching.stop(12.0)
        await settled()
        assert not replica.means.slots.locked()
        assert not replica.means.late.locked()
