"""Variant B, the seed's proposal: notifications with polling as the fallback, shared deduplication at submission, a
strict correlator, and a buffer between the tools and the API.

Any instance takes any notification, looks at the run, and has the step's calls executed; if another region started the
run, it passes the notification on to that one. Beside that each instance lists the waiting runs of its share once a
second, and takes those that have waited for the same outputs for `fallback_s`: their notification was lost, or whoever
took it is gone. That time is a compromise. Nobody knows whether another instance is at work, since what they share is
written at submission; the no-stall objective leaves 5 s for a step.

A step's outputs are checked, put into the buffer, and handed in once: an attempt is written down in Redis before it is
made, and an answer that was lost is cleared up by a look at the run. The correlator is strict: outputs belong to the
calls, by thread, run and call id, that they were made for. If the run asks for other ids by then, they are dropped,
and the calls that it asks for are new ones.

**What it promises.** Outputs are handed in once for each step, by whichever instance. A turn is started once for each
`client_turn_id`, by whichever instance of a region. It does not promise that a call is executed once: a call that is
tried again after a time-out, that two instances see, that was under way when its instance died, or that comes again
under a new id, is executed again.

**When a run moves between two regions** nothing of that holds: each region has its own Redis. Both may hand in, and the
API refuses the second; both may execute; a turn that is sent to the other region is another turn there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from evaluation.variants.agents import ASKING, Agents, Failed, Gone, Seen
from evaluation.variants.buffering import Batch, Buffer
from evaluation.variants.exchange import HttpExchange
from evaluation.variants.lru import Lru
from evaluation.variants.metrics import Metrics
from evaluation.variants.notices import Notices
from evaluation.variants.process import parser, parts, run, start
from evaluation.variants.relaying import Relay, by_region, read_peer
from evaluation.variants.shared import RedisShared, Shared, SharedAway, Step
from evaluation.variants.sharing import Share
from evaluation.variants.submitting import Submitting, fit
from evaluation.variants.tasks import Tasks
from evaluation.variants.turn_api import TurnApi
from evaluation.variants.turns import Turns
from evaluation.variants.workers import Workers

POLL_S = 1.0
LOOKS = 4
LOOK_S = 0.25
"""The seed's fast poll: a notification that the run does not bear out yet is looked into so often."""
STEPS_MAX = 20_000
KEEP_S = 15 * 60

PassOn = Callable[[str], Awaitable[bool]]
"""Passes what was heard on to a region."""


class Hybrid:
    """One instance. `shared` is its region's Redis; `notices` reads notifications, if there are any, and `relay` passes
    on those of other regions' runs."""

    def __init__(
        self, agents: Agents, workers: Workers, shared: Shared, metrics: Metrics, share: Share,
        notices: Notices | None, relay: Relay, *, fallback_s: float,
    ) -> None:  # fmt: skip
        self._agents = agents
        self._workers = workers
        self._shared = shared
        self._submitting = Submitting(agents, shared, metrics, self._asked_instead)
        self._metrics = metrics
        self._share = share
        self._notices = notices
        self._relay = relay
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
        passed = functools.partial(self._relay.pass_on, fields=fields, body=body)
        self._tasks.go(self._attend(notice.thread_id, notice.run_id, "webhook", LOOKS, passed))
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

    async def _attend(
        self, thread_id: str, run_id: str, how: str, looks: int, pass_on: PassOn | None = None
    ) -> None:  # fmt: skip
        """Look at a run and, if it waits for outputs that nobody here has in hand, bring them. One of another region is
        passed on; if nobody takes it there, that region's polling does when it is back."""
        for number in range(looks):
            if number:
                await asyncio.sleep(LOOK_S)
            run = await self._agents.look(thread_id, run_id)
            if pass_on is not None and isinstance(run, Seen) and not self._is_home(run):
                await pass_on(run.marks["region"])
                return
            if isinstance(run, Seen) and run.status == ASKING and run.step not in self._steps:
                self._metrics.seen.labels(how).inc()
                await self._bring(run)
                return
            if isinstance(run, Gone):
                return

    def _is_home(self, run: Seen) -> bool:
        """Say whether a run was started in this region, or moved here."""
        return run.marks.get("region", "") == self._share.region or run.run_id in self._tracked

    async def _bring(self, run: Seen) -> None:
        """Have a step's calls executed, and put their outputs into the buffer."""
        self._steps.put(run.step, True)
        self._metrics.matched.labels("executed").inc(len(run.calls))
        told = await asyncio.gather(*(self._workers.call(run, call) for call in run.calls))
        outputs = {call.id: fit(output) for call, output in zip(run.calls, told, strict=True)}
        await self._buffer.put(Batch(run, outputs))

    async def _hand_in(self, batch: Batch) -> bool:
        """See `evaluation.variants.buffering.HandIn`."""
        over = await self._submitting.hand_in(batch)
        if over:
            self._steps.put(batch.run.step, batch)
        return over

    def _asked_instead(self, run: Seen) -> None:
        """Take what a run asks for in place of what was to be handed in."""
        if run.step not in self._steps:
            self._go(run.thread_id, run.run_id, "refused", looks=1)


def main(arguments: list[str] | None = None) -> None:
    """Run an instance."""
    found = parser("Variant B: notifications and polling, deduplication in Redis at submission.")
    found.add_argument("--redis", required=True, metavar="URL", help="what the instances of the region share")
    found.add_argument("--webhook-secret-file", type=Path, metavar="FILE", help="what notifications are signed with")
    found.add_argument(
        "--peer",
        type=read_peer,
        action="append",
        default=[],
        metavar="REGION=URL",
        help="an instance of another region",
    )
    found.add_argument("--attempt-ttl", type=float, default=12.0, metavar="SECONDS", help="of a submission attempt")
    found.add_argument(
        "--fallback", type=float, default=2.5, metavar="SECONDS",
        help="how long a run of its share waits for outputs before polling takes it",
    )  # fmt: skip
    start(_serve(found.parse_args(arguments)))


async def _serve(told: argparse.Namespace) -> None:
    metrics, agents, workers, share = parts(told)
    shared = RedisShared(told.redis, secrets.token_hex(8), attempt_s=told.attempt_ttl)
    notices = None if told.webhook_secret_file is None else Notices(told.webhook_secret_file)
    relay = Relay(by_region(told.peer), HttpExchange(told.workers))
    hybrid = Hybrid(agents, workers, shared, metrics, share, notices, relay, fallback_s=told.fallback)
    turns = Turns(agents, shared, told.region)
    api = TurnApi(turns, hybrid, metrics, None if notices is None else hybrid.notified)
    await run(told.listen, api, hybrid, metrics, workers.close, agents.close, shared.close, relay.close)


if __name__ == "__main__":
    main()
