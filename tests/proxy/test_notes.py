"""What happened around a call is in its history: written with its next change, and never in a round trip of its own."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from ledger.records import Record
from policies.model import Retry
from tests.proxy.scripted import Answers, Hangs, Refuses
from tests.proxy.virtual import in_virtual_time, until
from tests.proxy.world import POLICY, World, arrival, world


async def history(story: World) -> list[tuple[str, str]]:
    """Return the words and details of the call's history."""
    record: Record | None = await story.record()
    assert record is not None
    return [(line.what, line.detail) for line in record.history]


@in_virtual_time
async def test_joins_and_a_caller_that_went_are_lines_of_the_history() -> None:
    """In the same two round trips that a call without them costs."""
    async with world() as story:
        story.tool.will(Answers(after_s=3))
        gone = asyncio.Event()
        first = story.a.ask(arrival(gone=gone))
        await until(0.5)
        others = [story.a.ask() for _ in range(3)]
        await until(1)
        gone.set()
        await asyncio.gather(first, *others)
        lines = await history(story)
        assert lines == [("claimed", ""), ("joined", "3 more"), ("caller-gone", ""), ("replied", "200 final")]
        assert [step for step in story.a.gate.steps if step in {"swap", "read", "watch"}] == ["swap", "swap"]


@in_virtual_time
async def test_tries_of_one_claim_are_lines_of_the_history() -> None:
    """Why each was repeated is told as well."""
    policy = replace(POLICY, retry=Retry(attempts=3, backoff_base_ms=10, backoff_max_ms=10))
    async with world() as story:
        story.tool.will(Refuses(), Refuses(), Answers())
        await story.a.answer(arrival(policy=policy))
        assert await history(story) == [
            ("claimed", ""), ("retried", "not-sent: refused"), ("retried", "not-sent: refused"),
            ("replied", "200 final"),
        ]  # fmt: skip


@in_virtual_time
async def test_what_has_been_written_is_not_written_again() -> None:
    """A time-out writes it down, and the late end does not. Who has been answered has not gone."""
    async with world() as story:
        story.tool.will(Hangs())
        first, second = story.a.ask(), story.a.ask()
        await asyncio.gather(first, second)
        await until(80)
        words = [what for what, _ in await history(story)]
        assert words == ["claimed", "joined", "timed-out", "lost"]


@in_virtual_time
async def test_notes_of_a_write_that_failed_go_with_the_next() -> None:
    """The store refuses the time-out's write: what it would have told is told at the end."""
    async with world() as story:
        story.tool.will(Answers(after_s=20))
        first, second = story.a.ask(), story.a.ask()
        await until(9)
        story.a.gate.outage = True
        await asyncio.gather(first, second)
        assert [what for what, _ in await history(story)] == ["claimed"]
        story.a.gate.outage = False
        await until(30)
        assert ("joined", "1 more") in await history(story)
