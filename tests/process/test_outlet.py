"""Spans leave by themselves: a collector that is slow or away holds nobody up, and what it did not get is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider

from process.outlet import QUEUE_MAX, Outlet
from tests.process.spans_kept import PATIENCE_S, Kept


class Bench:
    """An outlet that gathers for no time, and what it told."""

    def __init__(self, close_s: float = PATIENCE_S) -> None:
        self.kept = Kept()
        self.dropped: Counter[str] = Counter()
        self.away: list[str] = []
        self.outlet = Outlet(self.kept, self._drop, self.away.append, gather_s=0, close_s=close_s)
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(self.outlet)
        self._tracer = self._provider.get_tracer("test")

    def _drop(self, why: str, spans: int) -> None:
        self.dropped[why] += spans

    def spans(self, count: int) -> None:
        """Begin and end some."""
        for number in range(count):
            self._tracer.start_span(f"span {number}").end()


def until(probe: Callable[[], bool]) -> None:
    """Wait for the outlet's thread."""
    deadline = time.monotonic() + PATIENCE_S
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.001)  # another thread, which has nobody to tell


def test_spans_leave_in_their_order_and_the_last_ones_with_the_end() -> None:
    """In batches, none lost."""
    bench = Bench()
    bench.spans(1_500)
    bench.outlet.shutdown()
    assert [span.name for span in bench.kept.spans] == [f"span {number}" for number in range(1_500)]
    assert not bench.dropped
    bench.spans(2)
    assert bench.dropped == {"stopped": 2}
    bench.outlet.shutdown()


def test_collector_that_takes_nothing_holds_nobody_up_and_the_rest_is_counted() -> None:
    """Beyond what may wait, spans are dropped at once; who ends them never waits for a collector."""
    bench = Bench()
    bench.kept.taking.clear()
    bench.spans(1)
    assert bench.kept.held.wait(PATIENCE_S)
    bench.spans(QUEUE_MAX + 10)  # returns, though nothing leaves
    assert bench.dropped == {"full": 10}
    bench.kept.taking.set()
    bench.outlet.shutdown()
    assert len(bench.kept.spans) == QUEUE_MAX + 1


def test_collector_that_is_away_is_told_of_once_until_it_is_back() -> None:
    """What it did not get is counted, and not sent again: spans are not worth a memory that fills."""
    bench = Bench()
    bench.kept.failing = True
    for sent in (1, 2):
        bench.spans(1)
        until(lambda sent=sent: bench.dropped["not-taken"] == sent)  # type: ignore[misc]
    assert len(bench.away) == 1
    bench.kept.failing = False
    bench.spans(1)
    until(lambda: len(bench.kept.spans) == 1)
    bench.kept.failing = True
    bench.spans(1)
    until(lambda: bench.dropped["not-taken"] == 3)
    bench.outlet.shutdown()
    assert len(bench.away) == 2


def test_exporter_that_raises_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a collector that is away, in its own words."""
    bench = Bench()

    def broken(spans: object) -> object:
        raise RuntimeError("no such host")

    monkeypatch.setattr(bench.kept, "export", broken)
    bench.spans(1)
    until(lambda: bench.dropped["not-taken"] == 1)
    assert bench.away == ["RuntimeError('no such host')"]
    bench.outlet.shutdown()


def test_end_does_not_wait_for_a_collector_for_long() -> None:
    """What is left when its time is over is dropped, and counted."""
    bench = Bench(close_s=0.05)
    bench.kept.taking.clear()
    bench.spans(1)
    assert bench.kept.held.wait(PATIENCE_S)
    bench.spans(3)
    bench.outlet.shutdown()
    assert bench.dropped == {"stopped": 3}
    bench.kept.taking.set()
