"""What all work of one coordinator shares."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from coordinator.means import Limits
from tests.coordinator.house import house
from tests.coordinator.telling import TICKET, asked_of_proxy, started
from tests.proxy.virtual import in_virtual_time


@pytest.mark.parametrize(
    ("named", "elsewhere"), [({"create_ticket"}, (True, False)), ({"*"}, (True, True)), (set(), (False, False))]
)
@in_virtual_time
async def test_tools_that_a_gateway_executes_are_named_or_all(named: set[str], elsewhere: tuple[bool, bool]) -> None:
    """`*` stands for all of them."""
    async with house() as now:
        means = now.replica(elsewhere=frozenset(named)).means
        assert (means.is_elsewhere("create_ticket"), means.is_elsewhere("send_email")) == elsewhere


@in_virtual_time
async def test_store_that_is_away_is_told_once_in_a_while(tmp_path: Path) -> None:
    """Twenty runs meet it, each several times a second: a handful of lines, which say how often."""
    with (tmp_path / "log").open("ab") as log:
        async with house(log_fd=log.fileno()) as now:
            now.tools.takes_s["create_ticket"] = 1.0
            replica = now.replica()
            for number in range(20):
                await started(now, [TICKET], turn=f"turn-{number}")
            await asked_of_proxy(now, 20)
            replica.weather.becomes("away")
            await asyncio.sleep(25)
    lines = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    told = [line for line in lines if line["event"] == "store.unavailable"]
    assert 2 <= len(told) <= 4
    assert told[0]["times"] == 1
    assert sum(line["times"] for line in told) > 20


def test_limits_leave_time_for_what_they_bound() -> None:
    """A run is renewed several times before it lapses, and an error can be handed in before its run expires."""
    limits = Limits()
    assert limits.flush_ms * 5 < limits.visibility_ms
    assert 0 < limits.margin_ms < 600_000
