"""Records in, records out, every round trip timed and counted."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from ledger import result as results
from ledger.records import CorruptRecord, InFlight
from ledger.result import Result
from ledger.store import StoreUnavailable, Write
from ledger.stores.memory import MemoryStore
from ledger.transitions import claim
from policies.model import ResultRules
from proxy.books import Books, Standing
from proxy.metrics import Metrics
from tests.ledger.samples import completed
from tests.proxy.gate import Gate, Hub, View
from tests.proxy.virtual import in_virtual_time, settled
from tests.proxy.world import LEASE_MS, arrival, clock_ms

RULES = ResultRules()
REF = arrival().ref


class Desk:
    """Books over a memory store, with a gate that can fail."""

    def __init__(self) -> None:
        self.store = MemoryStore(clock_ms)
        self.gate = Gate()
        self.metrics = Metrics()
        ids = iter(f"id-{number}" for number in range(1_000))
        self.view = View(self.store, Hub(self.store), self.gate)
        self.books = Books(self.view, self.metrics, lambda: next(ids), LEASE_MS)

    def count(self, name: str, **labels: str) -> float:
        """Return a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def desk() -> Desk:
    """Return an open one."""
    made = Desk()
    await made.store.start()
    return made


def a_claim(token: str = "t1") -> InFlight:
    """Return the claim of an absent key."""
    asked = arrival()
    return claim(None, operation=REF.operation, fingerprint=asked.fingerprint, call=asked.call, token=token, now_ms=1)


@in_virtual_time
async def test_swap_returns_the_new_version() -> None:
    """The one that was asked for, or a new one."""
    at = await desk()
    assert await at.books.swap("claim", REF, None, a_claim(), RULES, version="t1") == "t1"
    assert await at.books.swap("settle", REF, "t1", a_claim(), RULES) == "id-0"


@in_virtual_time
async def test_swap_that_met_another_returns_what_stands() -> None:
    """Read, with its lease and its result as it is kept."""
    at = await desk()
    await at.books.swap("claim", REF, None, a_claim(), RULES, version="t1")
    met = await at.books.swap("claim", REF, None, a_claim("t2"), RULES, version="t2")
    assert isinstance(met, Standing)
    assert (met.version, met.record, met.stored, met.result) == ("t1", a_claim(), None, None)
    assert met.lease_left_ms is not None
    assert 0 < met.lease_left_ms <= LEASE_MS
    assert await at.books.swap("settle", REF, "t0", a_claim(), RULES) == met


@in_virtual_time
async def test_swap_that_met_nothing_returns_none() -> None:
    """The store forgot what was expected."""
    at = await desk()
    assert await at.books.swap("settle", REF, "t1", a_claim(), RULES) is None
    assert await at.books.read(REF) is None


@in_virtual_time
async def test_result_is_read_when_it_is_asked_for() -> None:
    """And written back unread where only the record changes."""
    at = await desk()
    kept = Result(200, b"OK", (), b"body")
    record = replace(completed(), operation=REF.operation)
    await at.books.swap("settle", REF, None, record, RULES, stored=results.encode(kept))
    standing = await at.books.read(REF)
    assert standing is not None
    assert (standing.record, standing.result, standing.lease_left_ms) == (record, kept, None)
    spoiled = replace(standing, stored=b"\xc1")
    with pytest.raises(CorruptRecord):
        _ = spoiled.result


@pytest.mark.fault(47)
@in_virtual_time
async def test_record_that_cannot_be_read_raises_wherever_it_is_met() -> None:
    """It is never handed on as nothing; the store itself is up."""
    at = await desk()
    await at.store.swap(REF, None, Write("v", b"\xc1", "in_flight", lease_ms=1_000))
    for meeting in (at.books.read(REF), at.books.watch(REF), at.books.swap("claim", REF, None, a_claim(), RULES)):
        with pytest.raises(CorruptRecord):
            await meeting
    assert at.count("holdfast_store_up") == 1


@in_virtual_time
async def test_renewal_holds_only_for_the_version_that_stands() -> None:
    """Somebody else's lease is not ours to extend."""
    at = await desk()
    await at.books.swap("claim", REF, None, a_claim(), RULES, version="t1")
    assert await at.books.renew(REF, "t1")
    assert not await at.books.renew(REF, "t0")
    await asyncio.sleep(LEASE_MS / 1_000 + 1)
    assert await at.books.due(10) == [REF]
    assert await at.books.unknowns() == []


@pytest.mark.fault(34)
@in_virtual_time
async def test_failed_round_trip_is_counted_and_shows_that_the_store_is_down() -> None:
    """Until it answers again."""
    at = await desk()
    await at.books.read(REF)
    assert at.count("holdfast_store_up") == 1
    at.gate.outage = True
    with pytest.raises(StoreUnavailable):
        await at.books.read(REF)
    assert at.count("holdfast_store_up") == 0
    assert at.count("holdfast_store_errors_total", op="read") == 1
    at.gate.outage = False
    await at.books.read(REF)
    assert at.count("holdfast_store_up") == 1
    assert at.count("holdfast_store_duration_seconds_count", op="read") == 2


@pytest.mark.fault(38)
@in_virtual_time
async def test_round_trip_that_was_given_up_is_no_failure_of_the_store() -> None:
    """A process that stops cancels what it waits for; that says nothing about the store."""
    at = await desk()
    await at.books.read(REF)
    at.view.pause_s = 5
    waiting = asyncio.create_task(at.books.watch(REF))
    await settled()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert at.count("holdfast_store_up") == 1
    assert at.count("holdfast_store_errors_total", op="watch") == 0
