"""Variant B, the seed's proposal: notifications with polling as the fallback, shared deduplication at submission, a
strict correlator, and a buffer between the tools and the API.

Any instance takes any notification, looks at the run, and has the step's calls executed. Beside that each instance
lists the waiting runs of its share once a second, and takes those that have waited for the same outputs for
`fallback_s`: their notification was lost, or whoever took it is gone. That time is a compromise. Nobody knows whether
another instance is at work, since what they share is written at submission; the no-stall objective leaves 5 s for a
step.

A step's outputs are checked, put into the buffer, and handed in once: an attempt is written down in Redis before it is
made, and an answer that was lost is cleared up by a look at the run. The correlator is strict: outputs belong to the
calls, by thread, run and call id, that they were made for. If the run asks for other ids by then, they are dropped,
and the calls that it asks for are new ones.

**What it promises.** Outputs are handed in once for each step, by whichever instance. A turn is started once for each
`client_turn_id`, by whichever instance of a region. It does not promise that a call is executed once: a call that is
tried again after a time-out, that two instances see, that was under way when its instance died, or that comes again
under a new id, is executed again.

**When a run moves between two regions** nothing of that holds: each region has its own Redis. Both may hand in, and the
API refuses the second; both may execute; a turn that is sent to the other region is another turn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

import msgspec

from evaluation.variants.agents import ASKING, Agents, Failed, Gone, Refused, Seen
from evaluation.variants.buffering import Batch, Buffer
from evaluation.variants.exchange import HttpExchange
from evaluation.variants.lru import Lru
from evaluation.variants.metrics import Metrics
from evaluation.variants.notices import Notices
from evaluation.variants.process import parser, run, start
from evaluation.variants.shared import RedisShared, Shared, SharedAway, Step
from evaluation.variants.sharing import Share
from evaluation.variants.tasks import Tasks
from evaluation.variants.turn_api import TurnApi
from evaluation.variants.turns import Turns
from evaluation.variants.workers import Patience, Workers

POLL_S = 1.0
LOOKS = 4
LOOK_S = 0.25
"""The seed's fast poll: a notification that the run does not bear out yet is looked into so often."""
TRIES = 3
RETRY_S = 0.3
OUTPUT_BYTES_MAX = 512 * 1024
STEPS_MAX = 20_000
KEEP_S = 15 * 60


class Hybrid:
    """One instance. `shared` is its region's Redis; `notices` reads notifications, if there are any."""

    def __init__(
        self, agents: Agents, workers: Workers, shared: Shared, metrics: Metrics, share: Share,
        notices: Notices | None, *, fallback_s: float,
    ) -> None:  # fmt: skip
        self._agents = agents
        self._workers = workers
        self._shared = shared
        self._metrics = metrics
        self._share = share
        self._notices = notices
        self._fallback_s = fallback_s
        now = asyncio.get_running_loop().time
        self._now = now
        self._steps: Lru[Step, Batch | bool] = Lru(STEPS_MAX, KEEP_S, now)
        """Steps that this instance has taken: True while they are under way or in the buffer, then what was handed in.
        """
        self._tracked: dict[str, str] = {}
        self._waits_since: dict[Step, float] = {}
        self._tasks = Tasks()
        self._buffer = Buffer(self._hand_in, lambda batch: self._steps.forget(batch.run.step), self._tasks)

    async def run(self) -> None:
        """Watch and hand in, for ever; cancelling it ends what is under way."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll())
                group.create_task(self._buffer.run())
        finally:
            await self._tasks.end()

    async def ready(self) -> bool:
        """Say whether what it cannot work without is there."""
        return await self._shared.answers()

    def track(self, thread_id: str, run_id: str) -> None:
        """Watch a run that was made elsewhere."""
        self._tracked[run_id] = thread_id
        self._go(thread_id, run_id, "told", looks=1)

    async def notified(self, fields: Mapping[str, str], body: bytes) -> bool:
        """Take a notification. Raises `BadNotice`."""
        assert self._notices is not None
        notice = self._notices.read(fields, body)
        if notice.status != ASKING:
            return False
        with contextlib.suppress(SharedAway):  # at worst it is looked at twice
            if not await self._shared.is_news(notice.id):
                return False
        self._go(notice.thread_id, notice.run_id, "webhook", looks=LOOKS)
        return True

    # -- noticing ------------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        while True:
            runs = await self._agents.waiting()
            if not isinstance(runs, Failed):
                ours = [run for run in runs if self._share.has(run) or run.run_id in self._tracked]
                now = self._now()
                self._waits_since = {run.step: self._waits_since.get(run.step, now) for run in ours}
                for run in ours:
                    if now - self._waits_since[run.step] >= self._fallback_s:
                        self._take(run)
            await asyncio.sleep(POLL_S)

    def _take(self, run: Seen) -> None:
        """Take a run that nobody seems to take. One that still waits for what was handed in gets it once more: the look
        that said that it was taken was an old one."""
        known = self._steps.get(run.step)
        if known is None:
            self._go(run.thread_id, run.run_id, "poll", looks=1)
        elif isinstance(known, Batch):
            self._steps.put(run.step, True)
            self._tasks.go(self._buffer.put(known))

    def _go(self, thread_id: str, run_id: str, how: str, *, looks: int) -> None:
        self._tasks.go(self._attend(thread_id, run_id, how, looks))

    async def _attend(self, thread_id: str, run_id: str, how: str, looks: int) -> None:
        """Look at a run and, if it waits for outputs that nobody here has in hand, bring them."""
        for number in range(looks):
            if number:
                await asyncio.sleep(LOOK_S)
            run = await self._agents.look(thread_id, run_id)
            if isinstance(run, Seen) and run.status == ASKING and run.step not in self._steps:
                self._metrics.seen.labels(how).inc()
                await self._bring(run)
                return
            if isinstance(run, Gone):
                return

    async def _bring(self, run: Seen) -> None:
        """Have a step's calls executed, and put their outputs into the buffer."""
        self._steps.put(run.step, True)
        self._metrics.matched.labels("executed").inc(len(run.calls))
        told = await asyncio.gather(*(self._workers.call(run, call) for call in run.calls))
        outputs = {call.id: fit(output) for call, output in zip(run.calls, told, strict=True)}
        await self._buffer.put(Batch(run, outputs))

    # -- handing in ----------------------------------------------------------------------------------------------

    async def _hand_in(self, batch: Batch) -> bool:
        """See `evaluation.variants.buffering.HandIn`."""
        over = await self._try(batch)
        if over:
            self._steps.put(batch.run.step, batch)
        return over

    async def _try(self, batch: Batch) -> bool:
        """Hand in, once nobody else does; say whether the step is over with that."""
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
        if isinstance(seen, Seen) and seen.status == ASKING and seen.step not in self._steps:
            self._go(run.thread_id, run.run_id, "refused", looks=1)
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


def main(arguments: list[str] | None = None) -> None:
    """Run an instance."""
    found = parser("Variant B: notifications and polling, deduplication in Redis at submission.")
    found.add_argument("--redis", required=True, metavar="URL", help="what the instances of the region share")
    found.add_argument("--webhook-secret-file", type=Path, metavar="FILE", help="what notifications are signed with")
    found.add_argument("--attempt-ttl", type=float, default=12.0, metavar="SECONDS", help="of a submission attempt")
    found.add_argument(
        "--fallback", type=float, default=2.5, metavar="SECONDS",
        help="how long a run of its share waits for outputs before polling takes it",
    )  # fmt: skip
    start(_serve(found.parse_args(arguments)))


async def _serve(told: argparse.Namespace) -> None:
    metrics = Metrics()
    agents = Agents(told.assistants, HttpExchange(told.workers * 4))
    patience = Patience(limit_s=told.limit)
    workers = Workers(told.tools, HttpExchange(told.workers), metrics, workers=told.workers, patience=patience)
    shared = RedisShared(told.redis, secrets.token_hex(8), attempt_s=told.attempt_ttl)
    notices = None if told.webhook_secret_file is None else Notices(told.webhook_secret_file)
    share = Share(told.region, told.instance, told.of)
    hybrid = Hybrid(agents, workers, shared, metrics, share, notices, fallback_s=told.fallback)
    turns = Turns(agents, shared, told.region)
    api = TurnApi(turns, hybrid, metrics, None if notices is None else hybrid.notified)
    await run(told.listen, api, hybrid, metrics, workers.close, agents.close, shared.close)


if __name__ == "__main__":
    main()
