"""Watching an operation that is another process's: what is published, when it ends, and that nothing is left of it."""

from __future__ import annotations

import pytest

from ledger.records import Completed, InFlight
from proxy.watch import POLL_S, Watch
from tests.proxy.scripted import Answers
from tests.proxy.virtual import in_virtual_time, now, settled
from tests.proxy.world import arrival, world


@in_virtual_time
async def test_watch_publishes_each_change_and_ends_with_the_operation() -> None:
    """Who waits sees the call in flight, then its result, as soon as the other process has written it."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask()
        await settled()
        watch = Watch(story.b.works, arrival().ref)
        watch.held = 1
        await watch.changed(None)
        assert isinstance(watch.record, InFlight)
        while not watch.ended:
            await watch.changed(None)
        assert isinstance(watch.record, Completed)
        assert watch.result is not None
        assert watch.result.body == (await first).body
        assert 5 < now() < 5 + POLL_S / 2
        await watch.task
        assert story.b.works.joints == {}


@in_virtual_time
async def test_watch_of_nothing_ends_at_once() -> None:
    """There is no record: that is published, and nobody waits for one to appear."""
    async with world() as story:
        watch = Watch(story.b.works, arrival().ref)
        await watch.changed(None)
        assert (watch.ended, watch.record) == (True, None)


@in_virtual_time
async def test_watch_that_nobody_waits_at_ends() -> None:
    """The last waiter has gone: no process polls for nobody."""
    async with world() as story:
        story.tool.will(Answers(after_s=8))
        first = story.a.ask()
        await settled()
        watch = Watch(story.b.works, arrival().ref)
        await watch.task
        assert now() < 3 * POLL_S
        assert story.b.works.joints == {}
        await first


@in_virtual_time
async def test_watch_ends_when_the_process_stops() -> None:
    """Told to give up, it publishes what it knows last."""
    async with world() as story:
        story.tool.will(Answers(after_s=8))
        first = story.a.ask()
        await settled()
        watch = Watch(story.b.works, arrival().ref)
        await watch.changed(None)
        watch.give_up("the proxy stops")
        await watch.changed(None)
        assert watch.ended
        assert isinstance(watch.record, InFlight)
        await first


@pytest.mark.fault(47)
@in_virtual_time
async def test_watch_of_what_cannot_be_read_says_so() -> None:
    """A record of another version is neither absent nor free."""
    async with world() as story:
        await story.spoil()
        watch = Watch(story.b.works, arrival().ref)
        await watch.changed(None)
        assert watch.ended
        assert watch.foreign
