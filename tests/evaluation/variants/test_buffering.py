"""Outputs that wait to be handed in."""

from __future__ import annotations

import asyncio

from evaluation.variants.agents import Seen
from evaluation.variants.buffering import DEPTH_MAX, LATERS_MAX, Batch, Buffer
from evaluation.variants.tasks import Tasks
from tests.proxy.virtual import in_virtual_time, now, settled


def batch(thread: str, number: int) -> Batch:
    """Return a step's outputs."""
    return Batch(Seen(thread, f"run_{number}", "requires_action", (), {}), {f"call_{number}": "{}"})


class HandIn:
    """Notes what is handed in, in order, and how many are at a time. While `shut`, it takes no end; `refuses` so many
    times that this is the end of it."""

    def __init__(self, refuses: int = 0) -> None:
        self.done: list[str] = []
        self.together = 0
        self.given_up = asyncio.Event()
        self._at_work = 0
        self._refuses = refuses
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, one: Batch) -> bool:
        """Hand in."""
        self._at_work += 1
        self.together = max(self.together, self._at_work)
        await self.open.wait()
        await asyncio.sleep(0.1)
        self._at_work -= 1
        if self._refuses:
            self._refuses -= 1
            return False
        self.done.append(one.run.run_id)
        return True


def buffer_of(hand_in: HandIn) -> Buffer:
    """Return a buffer."""
    return Buffer(hand_in, lambda _: hand_in.given_up.set(), Tasks())


@in_virtual_time
async def test_batches_of_one_thread_are_handed_in_one_after_the_other_in_order() -> None:
    """Those of other threads go beside them."""
    hand_in = HandIn()
    buffer = buffer_of(hand_in)
    running = asyncio.ensure_future(buffer.run())
    for number in range(5):
        await buffer.put(batch("thread_1", number))
    await asyncio.sleep(1)
    assert hand_in.done == [f"run_{number}" for number in range(5)]
    assert hand_in.together == 1
    for number in range(5):
        await buffer.put(batch(f"thread_{number}", number))
    await asyncio.sleep(1)
    assert hand_in.together > 1
    running.cancel()


@in_virtual_time
async def test_who_brings_more_than_there_is_room_for_waits() -> None:
    """That is the back-pressure: nothing is dropped, and nothing piles up."""
    hand_in = HandIn()
    hand_in.open.clear()
    buffer = buffer_of(hand_in)
    running = asyncio.ensure_future(buffer.run())
    bringing = [asyncio.ensure_future(buffer.put(batch("thread_1", number))) for number in range(DEPTH_MAX + 3)]
    await settled(DEPTH_MAX * 3)
    assert sum(not one.done() for one in bringing) == 2
    hand_in.open.set()
    await asyncio.gather(*bringing)
    await asyncio.sleep(10)
    assert len(hand_in.done) == DEPTH_MAX + 3
    running.cancel()


@in_virtual_time
async def test_batch_that_is_not_over_lets_others_pass_and_comes_again() -> None:
    """Half a second later, behind the others of its thread."""
    hand_in = HandIn(refuses=1)
    buffer = buffer_of(hand_in)
    running = asyncio.ensure_future(buffer.run())
    await buffer.put(batch("thread_1", 1))
    await buffer.put(batch("thread_1", 2))
    await asyncio.sleep(2)
    assert hand_in.done == ["run_2", "run_1"]
    running.cancel()


@in_virtual_time
async def test_batch_that_is_never_over_is_given_up() -> None:
    """After half a minute; then polling may take its run again."""
    hand_in = HandIn(refuses=LATERS_MAX + 1)
    buffer = buffer_of(hand_in)
    running = asyncio.ensure_future(buffer.run())
    await buffer.put(batch("thread_1", 1))
    await hand_in.given_up.wait()
    assert now() >= 30
    assert hand_in.done == []
    running.cancel()
