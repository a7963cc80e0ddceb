"""Handing in a step's outputs, as variant B does: once, by one instance, and never on a guess where a look can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import assert_never

import msgspec

from evaluation.variants.agents import ASKING, Agents, Failed, Refused, Seen
from evaluation.variants.buffering import Batch
from evaluation.variants.metrics import Metrics
from evaluation.variants.shared import Shared, SharedAway, Step

TRIES = 3
RETRY_S = 0.3
OUTPUT_BYTES_MAX = 512 * 1024


class Submitting:
    """Hands in. `asked_instead` is told of a run that by now asks for something else."""

    def __init__(self, agents: Agents, shared: Shared, metrics: Metrics, asked_instead: Callable[[Seen], None]) -> None:
        self._agents = agents
        self._shared = shared
        self._metrics = metrics
        self._asked_instead = asked_instead

    async def hand_in(self, batch: Batch) -> bool:
        """Hand in a step's outputs, unless somebody else does; say whether the step is over with that."""
        step = batch.run.step
        for number in range(TRIES):
            if number:
                await asyncio.sleep(RETRY_S * 2 ** (number - 1))
            try:
                attempt = await self._shared.begin_attempt(step)
            except SharedAway:  # the API takes outputs for a step once; to stall would be the greater harm
                self._metrics.submissions.labels("unguarded").inc()
                attempt = "ours"
            if attempt == "submitted":
                return await self._drop(batch.run)
            if attempt == "other":
                return False
            if await self._submit(batch):
                return True
        with contextlib.suppress(SharedAway):  # it lapses
            await self._shared.give_up_attempt(step)
        return False

    async def _submit(self, batch: Batch) -> bool:
        """Hand in once; say whether the step is over with that."""
        run = batch.run
        match await self._agents.submit(run.thread_id, run.run_id, batch.outputs):
            case Seen():
                self._metrics.submissions.labels("accepted").inc()
                await self._settle(run.step)
                return True
            case Refused():
                self._metrics.submissions.labels("refused").inc()
            case Failed(done=True):
                self._metrics.submissions.labels("unclear").inc()
            case Failed():
                self._metrics.submissions.labels("away").inc()
                return False
            case _ as never:
                assert_never(never)
        return await self._is_over(run)

    async def _drop(self, run: Seen) -> bool:
        """Drop outputs, unless the run waits for them in spite of what stands written."""
        if await self._is_over(run):
            self._metrics.submissions.labels("dropped").inc()
            return True
        with contextlib.suppress(SharedAway):
            await self._shared.reopen(run.step)
        return False

    async def _is_over(self, run: Seen) -> bool:
        """Look whether a run still waits for these outputs; what it waits for in their place is a step of its own."""
        seen = await self._agents.look(run.thread_id, run.run_id)
        if isinstance(seen, Failed) or (isinstance(seen, Seen) and seen.step == run.step):
            return False
        await self._settle(run.step)
        if isinstance(seen, Seen) and seen.status == ASKING:
            self._asked_instead(seen)
        return True

    async def _settle(self, step: Step) -> None:
        with contextlib.suppress(SharedAway):  # whoever hands in again is refused by the API
            await self._shared.submitted(step)


def fit(output: str) -> str:
    """Return an output as the API's schema has it: JSON as text, not too much of it; an error in place of any other."""
    try:
        msgspec.json.decode(output.encode(), type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return _refused("the output is not JSON")
    if len(output.encode()) > OUTPUT_BYTES_MAX:
        return _refused(f"the output is larger than {OUTPUT_BYTES_MAX} bytes")
    return output


def _refused(why: str) -> str:
    return msgspec.json.encode({"error": {"outcome": "invalid-output", "detail": why}}).decode()
