"""What variants A and B do alike, in virtual time."""

from __future__ import annotations

from typing import Literal

import pytest

from evaluation.assistants.script import Rates
from tests.evaluation.variants.world import World, at_work
from tests.proxy.virtual import in_virtual_time


@in_virtual_time
@pytest.mark.parametrize("variant", ["polling", "hybrid"])
async def test_submissions_that_fail_are_made_again_from_memory(variant: Literal["polling", "hybrid"]) -> None:
    """The run does not stall, and nothing is executed for it."""
    world = World(rates=Rates(submit_refused_503=0.6, fail_read=0.3))
    async with at_work(world.polling() if variant == "polling" else world.hybrid()):
        _, run_id = await world.run(["create_ticket"], ["send_email"], ["refund_payment"])
        assert await world.ended(run_id) == "completed"
    assert len(world.effects()) == 3
