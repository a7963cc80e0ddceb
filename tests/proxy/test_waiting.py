"""How long callers wait, and how many may."""

from __future__ import annotations

import contextlib

import pytest
from msgspec.structs import replace

from proxy import waiting
from proxy.joint import Joint
from proxy.waiting import LOOK_S, Patience, Room, patience_of
from tests.proxy.virtual import START_S, in_virtual_time
from tests.proxy.world import POLICY, arrival


@in_virtual_time
async def test_patience_is_the_callers_within_the_policys() -> None:
    """A caller that says nothing waits for its own forward to the end, and for others' as long as the policy holds."""
    look = START_S + LOOK_S
    assert patience_of(arrival(), START_S) == Patience(None, START_S + 30, look)
    assert patience_of(arrival(patience_s=5), START_S) == Patience(START_S + 5, START_S + 5, look)
    assert patience_of(arrival(patience_s=90), START_S) == Patience(START_S + 90, START_S + 30, look)
    assert patience_of(replace(arrival(), deferrable=True), START_S) == Patience(START_S + 30, START_S + 30, look)


@pytest.mark.fault(2)
async def test_room_is_bounded_for_each_place_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves, by whatever way, makes room."""
    monkeypatch.setattr(waiting, "WAITERS_MAX", 3)
    policy = replace(POLICY, limits=replace(POLICY.limits, waiters_per_key=2))
    room, one, other = Room(), Joint(), Joint()
    with room.at(one), room.at(one):
        assert (room.is_full(one, policy), room.is_full(other, policy)) == (True, False)
        with contextlib.suppress(ValueError), room.at(other):
            assert room.is_full(other, policy)
            raise ValueError("gone")
        assert not room.is_full(other, policy)
    assert (room.waiting, one.held, other.held) == (0, 0, 0)
