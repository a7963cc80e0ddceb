"""Claiming a key: what it costs, and what is made of whatever stands there."""

from __future__ import annotations

import pytest

from ledger.records import Completed, Free
from tests.proxy.scripted import Refuses
from tests.proxy.virtual import in_virtual_time
from tests.proxy.world import told, world


@in_virtual_time
async def test_claim_of_a_new_key_is_one_round_trip() -> None:
    """Nothing is read before: the claim itself says whether something stands there."""
    async with world() as story:
        await story.a.answer()
        assert story.a.gate.steps == ["swap", "dial", "send", "receive", "swap"]
        assert isinstance(await story.record(), Completed)


@pytest.mark.fault(19)
@in_virtual_time
async def test_claim_over_a_free_key_is_two_round_trips() -> None:
    """The first shows what stands there, the second claims over it."""
    async with world() as story:
        story.tool.will(Refuses())
        await story.a.answer()
        assert isinstance(await story.record(), Free)
        assert told(await story.b.answer()) == (200, "", "executed")
        assert story.b.gate.steps == ["swap", "swap", "dial", "send", "receive", "swap"]
