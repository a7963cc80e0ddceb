"""Settlements that the store could not take wait here, bounded, and reach it when it is back, or are given up
loudly."""

from __future__ import annotations

import asyncio
import os

import pytest

from ledger.events import NotSent, Replied
from ledger.records import Completed, CorruptRecord, Free
from ledger.result import Result
from ledger.store import StoreUnavailable
from policies.model import ResultRules, Verdict
from proxy.execution import Execution
from proxy.log import Log
from proxy.metrics import Metrics
from proxy.outbox import BYTES_MAX, ENTRY_BYTES, PAUSE_MAX_S, Outbox, Pending
from proxy.outcomes import Told
from tests.ledger.samples import in_flight
from tests.proxy.gate import Wrong
from tests.proxy.scripted import Answers, Refuses
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import arrival, told, world

SILENT = Log(os.open(os.devnull, os.O_WRONLY))


class Delivery:
    """Takes settlements down as they are delivered; raises while `away`, and for ever for those in `refused`."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[str] = set()
        self.spoiled: set[str] = set()
        self.delivered: list[str] = []
        self.done: list[str] = []
        self.metrics = Metrics()
        self.outbox = Outbox(self.deliver, self.metrics, SILENT)

    async def deliver(self, pending: Pending) -> None:
        """Stand in for what carries a settlement to the store."""
        call = pending.ref.operation
        if self.away or call in self.refused:
            raise StoreUnavailable("away")
        if call in self.spoiled:
            raise CorruptRecord(call)
        self.delivered.append(call)

    def put(self, call: str, body: bytes | None = b"x") -> bool:
        """Give the outbox a result to keep, or without a body a withdrawn claim."""
        event: Replied | NotSent = NotSent("t", "", withdrawn=True)
        result = None
        if body is not None:
            event, result = Replied("t", Verdict.FINAL, 200, "d"), Result(200, b"", (), body)
        ref = arrival(call).ref
        named = type(ref)(ref.scope, call)
        return self.outbox.put(
            Pending(named, Told(event, result), in_flight(), ResultRules(), lambda: self.done.append(call))
        )

    def count(self, name: str, **labels: str) -> float:
        """Return a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.fault(35)
@in_virtual_time
async def test_settlements_are_delivered_when_the_store_is_back() -> None:
    """Tried with growing pauses; all of them arrive, each is done once, and nothing is held any more."""
    box = Delivery()
    box.away = True
    for call in ("one", "two", "three"):
        assert box.put(call)
    await until(30)
    assert (box.delivered, box.done, len(box.outbox)) == ([], [], 3)
    assert box.count("holdfast_pending_settlement_bytes") == 3 * (ENTRY_BYTES + 1)
    box.away = False
    await until(30 + PAUSE_MAX_S + 0.1)
    assert sorted(box.delivered) == sorted(box.done) == ["one", "three", "two"]
    assert len(box.outbox) == 0
    assert box.count("holdfast_pending_settlement_bytes") == 0
    assert box.put("four")
    await until(40)
    assert box.done[-1] == "four"


@in_virtual_time
async def test_settlement_that_the_store_keeps_refusing_does_not_hold_up_the_others() -> None:
    """What is wrong with one place is not the others' business."""
    box = Delivery()
    box.refused = {"refused"}
    for call in ("refused", "one", "two"):
        box.put(call)
    await until(20)
    assert sorted(box.done) == ["one", "two"]
    assert len(box.outbox) == 1
    box.refused = set()
    await until(30)
    assert len(box.outbox) == 0


@pytest.mark.fault(47)
@in_virtual_time
async def test_settlement_onto_a_record_that_cannot_be_read_is_over() -> None:
    """Trying again would not make it readable; it is told, and not kept for ever."""
    box = Delivery()
    box.spoiled = {"spoiled"}
    box.put("spoiled")
    box.put("one")
    await until(1)
    assert box.done == ["spoiled", "one"]


@in_virtual_time
async def test_outbox_that_is_full_gives_up_loudly() -> None:
    """Bounded in bytes: what does not fit is refused, counted, and its record stays in flight until its lease
    lapses."""
    box = Delivery()
    box.away = True
    large = b"x" * (BYTES_MAX // 2)
    assert box.put("one", large)
    assert not box.put("two", large)
    assert box.put("small")
    assert box.count("holdfast_settlements_given_up_total", why="overflow") == 1
    box.away = False
    await until(1)
    assert sorted(box.done) == ["one", "small"]


@in_virtual_time
async def test_withdrawn_claims_leave_room_for_results() -> None:
    """A store that is away makes one for every refused call; a result that is known must not be given up for them."""
    box = Delivery()
    box.away = True
    kept = 0
    while box.put(f"withdrawn_{kept}", None):
        kept += 1
    assert kept > 1_000
    assert box.count("holdfast_settlements_given_up_total", why="withdrawn") == 1
    assert box.count("holdfast_settlements_given_up_total", why="overflow") == 0
    assert box.put("result", b"x" * (BYTES_MAX // 2))
    await box.outbox.close(0.1)


@pytest.mark.fault(56)
@in_virtual_time
async def test_closing_gives_the_store_one_more_chance_at_once() -> None:
    """The pause has grown to seconds by then; a store that is back is not missed for it."""
    box = Delivery()
    box.away = True
    box.put("one")
    await until(12)
    box.away = False
    start = now()
    await box.outbox.close(3.0)
    assert box.done == ["one"]
    assert now() - start < 0.1


@pytest.mark.fault(56)
@in_virtual_time
async def test_closing_ends_in_time_and_says_what_is_lost() -> None:
    """With the store still away, every settlement is given up by name."""
    box = Delivery()
    box.away = True
    box.put("one")
    box.put("two")
    start = now()
    await box.outbox.close(3.0)
    assert now() - start <= 3.0
    assert box.count("holdfast_settlements_given_up_total", why="shutdown") == 2
    assert len(box.outbox) == 0


@in_virtual_time
async def test_closing_an_outbox_that_was_never_needed_is_nothing() -> None:
    """Most processes end that way."""
    start = now()
    await Delivery().outbox.close(3.0)
    assert now() == start


@pytest.mark.fault(34, 35)
@in_virtual_time
async def test_what_waits_for_the_store_keeps_no_request() -> None:
    """Thousands may wait; what each holds is its result, which is weighed, and not the body that it was asked with."""
    async with world() as story:
        body = b'"' + b"x" * 50_000 + b'"'
        first = story.a.ask(arrival(body=body))
        await until(0.02)
        story.a.gate.outage = True
        await first
        await story.a.answer(arrival("call_2", body=body))
        waiting = list(story.a.works.joints.values())
        assert len(waiting) == 2
        assert [joint.arrival.request.body for joint in waiting if isinstance(joint, Execution)] == [b"", b""]
        story.a.gate.outage = False


# -- what is delivered -----------------------------------------------------------------------------------------------


@pytest.mark.fault(35)
@in_virtual_time
async def test_settlement_meets_whatever_stands_by_then() -> None:
    """A lease that lapsed meanwhile made it unknown, and the result ends that, as late."""
    async with world() as story:
        story.a.ask()
        await until(0.02)
        story.a.gate.outage = True
        await until(40)
        story.a.gate.outage = False
        await until(50)
        record = await story.record()
        assert isinstance(record, Completed)
        assert [event.what for event in record.history] == ["claimed", "lapsed", "replied"]


@pytest.mark.fault(35)
@in_virtual_time
async def test_not_final_reply_during_an_outage_frees_the_key_in_the_end() -> None:
    """Retries meanwhile are held, because the store still says in flight; then they are forwarded."""
    async with world() as story:
        story.tool.will(Answers(429))
        first = story.a.ask()
        await until(0.02)
        story.a.gate.outage = True
        assert told(await first) == (429, "", "not-executed")
        await until(3)
        story.a.gate.outage = False
        assert told(await story.a.answer()) in {(200, "", "executed"), (429, "", "not-executed")}
        await until(10)
        assert told(await story.b.answer())[2] in {"executed", "replayed"}
        assert story.tool.executed == 1


@pytest.mark.fault(36)
@in_virtual_time
async def test_withdrawn_claim_of_which_nothing_stands_leaves_nothing() -> None:
    """The claim had never reached the store: there is no record to free, and none is made."""
    async with world() as story:
        process = story.start("c", {1: Wrong.FAILS_BEFORE})
        await process.answer()
        await until(2)
        assert await story.record() is None
        assert len(process.works.outbox) == 0


@pytest.mark.fault(36)
@in_virtual_time
async def test_withdrawn_claim_that_stood_is_free_and_keeps_its_history() -> None:
    """The claim had reached the store, its answer had not reached us."""
    async with world() as story:
        process = story.start("c", {1: Wrong.FAILS_AFTER})
        await process.answer()
        await until(2)
        record = await story.record()
        assert isinstance(record, Free)
        assert record.why == "withdrawn"


@pytest.mark.fault(36)
@in_virtual_time
async def test_withdrawn_claim_does_not_touch_anothers() -> None:
    """Somebody else has claimed the key in the meantime: theirs stands."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        process = story.start("c", {1: Wrong.FAILS_BEFORE})
        await process.answer()
        first = story.b.ask()
        await until(4)
        assert len(process.works.outbox) == 0
        assert told(await first) == (200, "", "executed")


@pytest.mark.fault(37)
@pytest.mark.parametrize("end", [Answers(), Answers(429), Answers(500), Refuses()])
@in_virtual_time
async def test_settlement_of_any_kind_whose_answer_was_lost_has_the_effect_of_one(end: Answers | Refuses) -> None:
    """Delivered again, it finds itself."""
    async with world() as story:
        process = story.start("c", {5 if isinstance(end, Answers) else 3: Wrong.FAILS_AFTER})
        story.tool.will(end)
        await process.answer()
        assert process.gate.steps[-1] == "swap"
        before = await story.record()
        await until(3)
        assert await story.record() == before
        assert len(process.works.outbox) == 0


@in_virtual_time
async def test_delivery_that_is_interrupted_by_closing_is_counted_as_given_up() -> None:
    """Nothing disappears between the list and the store."""
    box = Delivery()
    hung = asyncio.Event()

    async def hang(_: Pending) -> None:
        hung.set()
        await asyncio.Event().wait()

    box.outbox = Outbox(hang, box.metrics, SILENT)
    box.put("one")
    await hung.wait()
    await box.outbox.close(1.0)
    assert box.count("holdfast_settlements_given_up_total", why="shutdown") == 1


def test_what_is_given_up_is_shown_as_zero_before_the_first_time() -> None:
    """Of a counter that begins with one, Prometheus sees no increase."""
    value = Delivery().metrics.registry.get_sample_value
    for why in ("overflow", "withdrawn", "shutdown"):
        assert value("holdfast_settlements_given_up_total", {"why": why}) == 0
