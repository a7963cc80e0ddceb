"""What all work of one coordinator shares."""

from __future__ import annotations

import pytest

from coordinator.means import Limits
from tests.coordinator.house import house
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


def test_limits_leave_time_for_what_they_bound() -> None:
    """A run is renewed several times before it lapses, and an error can be handed in before its run expires."""
    limits = Limits()
    assert limits.flush_ms * 5 < limits.visibility_ms
    assert 0 < limits.margin_ms < 600_000
