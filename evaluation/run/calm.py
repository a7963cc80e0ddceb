"""The latency pair: two variants on the same turns while nothing goes wrong, in slices that take turns.

A slice is sent to one, then to the other; the next one in the opposite order. So whatever else the machine does meets
both, and neither is always the first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from evaluation.assistants.script import RunRates
from evaluation.replay.outages import Outages
from evaluation.replay.plan import FaultsPlan, ToolFaults, WebhookFaults
from evaluation.replay.turns import Turn
from evaluation.run.processes import System
from evaluation.run.replaying import LEAD_S, staged, tended, wound_up

SLICE_S = 10.0
"""Of sending: long beside a turn, short beside a machine's moods."""


def calmed(faults: FaultsPlan) -> FaultsPlan:
    """Return a plan by which nothing goes wrong; the tools take as long as they do."""
    tools = faults.tools
    quiet = ToolFaults(tools.caller_limit, tools.near, tools.latency, tools.slowness)
    return replace(faults, tools=quiet, runs=RunRates(), webhooks=WebhookFaults(), outages=Outages())


def slices(turns: Sequence[Turn], pace: float) -> Iterator[tuple[float, list[Turn]]]:
    """Yield the turns slice by slice, each with the trace's time at which it begins."""
    begins_at, part = 0.0, list[Turn]()
    for turn in turns:
        if part and turn.at - begins_at >= SLICE_S * pace:
            yield begins_at, part
            part = []
        if not part:
            begins_at = turn.at
        part.append(turn)
    if part:
        yield begins_at, part


async def replay_pair(
    systems: Sequence[tuple[Path, System]], turns: Sequence[Turn], *, seed: int, limit_s: float,
    settled: Callable[[], None],
) -> None:  # fmt: skip
    """Replay turns against two systems, which run side by side, and leave the records of each in its folder. Raises as
    `replay` does."""
    spent = [0.0 for _ in systems]
    async with contextlib.AsyncExitStack() as stack:
        stages = [
            await stack.enter_async_context(
                staged(directory, system, turns, seed=seed, limit_s=limit_s, settled=settled)
            )
            for directory, system in systems
        ]
        async with contextlib.AsyncExitStack() as tending:
            for stage in stages:
                await tending.enter_async_context(tended(stage))
            pace = systems[0][1].pace
            for number, (begins_at, part) in enumerate(slices(turns, pace)):
                order = range(len(stages)) if number % 2 == 0 else reversed(range(len(stages)))
                for place in order:
                    begun = time.time()
                    await stages[place].sending.send(part, begun + LEAD_S - begins_at / pace, pace)
                    await stages[place].following.until_all_is_over()
                    spent[place] += time.time() - begun
        for (directory, _), stage, seconds in zip(systems, stages, spent, strict=True):
            await wound_up(directory, stage, seconds)
