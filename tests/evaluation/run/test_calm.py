"""The latency pair: nothing goes wrong, and slices take turns."""

from __future__ import annotations

from evaluation.replay.outages import Outages
from evaluation.replay.plan import read_plan, runs_script, tools_script
from evaluation.replay.workload import Shape, workload
from evaluation.run.calm import SLICE_S, calmed, slices


def test_nothing_goes_wrong_and_tools_take_as_long() -> None:
    """No rate is left, no outage, and the latencies are those of the plan."""
    plan = read_plan()
    calm = calmed(plan)
    assert calm.outages == Outages()
    assert not any(getattr(runs_script(calm).rates, name) for name in runs_script(calm).rates.__struct_fields__)
    tool, before = tools_script(calm).tool("send_email"), tools_script(plan).tool("send_email")
    assert not any(tool.rates.values())
    assert tool.latency == before.latency


def test_slices_are_the_turns_in_their_order() -> None:
    """Each is as long as it may be, and none is empty."""
    turns = workload(Shape(seed=1), 600)
    found = list(slices(turns, pace=2))
    assert [turn for _, part in found for turn in part] == turns
    assert len(found) > 3
    for begins_at, part in found:
        assert part[0].at == begins_at
        assert part[-1].at - begins_at < SLICE_S * 2
    assert list(slices([], 2)) == []
