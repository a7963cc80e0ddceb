"""The coordinator's bench: what it measures against real processes, and what it makes of the figures."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from evaluation.bench.coordinated import coordinated
from evaluation.bench.coordinator import (
    STEPS,
    THINK_S,
    Costs,
    Effort,
    Found,
    at_once,
    costed,
    paced,
    tables,
    targets,
    verdicts,
)
from evaluation.bench.report import NOT_MEASURED
from evaluation.bench.systems import choose_cores
from evaluation.bench.turns import Delays

NOTHING = Found(Delays((), ()), {}, {})
CHEAP = Costs(trips=7.0, own_trips=6.0, proxy_trips=2.0, cpu_us=9_000.0, proxy_cpu_us=1_000.0)


@pytest.mark.timeout(200)
async def test_coordinator_is_measured_from_outside_and_by_its_own_account(tmp_path: Path) -> None:
    """One paced turn, two turns for their cost, two runs at once: every step of theirs is in the figures."""
    async with (
        aiohttp.ClientSession() as session,
        coordinated(session, tmp_path / "stand", choose_cores(), THINK_S, notified=True) as now,
    ):
        found = await paced(now, 1)
        assert len(found.delays.dispatch) == len(found.delays.submit) == STEPS - 1
        assert sum(found.dispatch.values()) == STEPS
        costs = await costed(now, 2, STEPS)
        assert costs.trips >= costs.own_trips
        assert costs.proxy_trips >= 2
        assert costs.cpu_us > 0
        stalls = await at_once(now, 2, STEPS + 2)
        assert sum(stalls.values()) == 6


def test_figures_are_put_to_their_targets() -> None:
    """A median is told by its bucket's bound; a step that waited too long misses; what was not measured is neither."""
    found = Found(Delays((0.01,), (0.03, 0.06, 0.07)), {0.01: 1.0, 0.02: 5.0}, {0.001: 6.0})
    told = {one.name.split(",")[0]: one.verdict for one in targets(found, CHEAP, {5.0: 3.0, 6.0: 1.0})}
    assert told == {
        "look that shows a step to its first call": "met",
        "last effect to the outputs' being taken": "missed",
        "coordinator's store round trips per turn": "met",
        "steps that waited for longer than 5 s": "missed",
    }
    assert [row[4] for row in verdicts(targets(NOTHING, CHEAP, {})).rows] == [
        "not measured", "not measured", "met", "met",
    ]  # fmt: skip


def test_tables_show_what_was_found_and_a_dash_for_what_was_not() -> None:
    """Milliseconds by the percentile; round trips of coordinator and proxy apart; buckets that hold something."""
    found = Found(Delays((0.01, 0.02), (0.03,)), {0.02: 1.0}, {0.0025: 1.0})
    waits, spent, held = tables(Effort(), found, NOTHING, CHEAP, {0.5: 3.0, 1.0: 0.0, 2.0: 1.0})
    assert waits.rows[0][0] == "notifications"
    assert waits.rows[0][3:] == ("30.0", "30.0", "20", "2.5")
    assert waits.rows[1][1:] == (NOT_MEASURED,) * 6
    assert spent.rows[0] == ("store round trips", "6.00", "2.00")
    assert held.rows == (("0.5", "3"), ("2", "1"))
