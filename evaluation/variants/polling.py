"""Variant A, the seed's baseline: polling, deduplication in each instance's memory, and a correlator that guesses.

Each instance lists the waiting runs of its share, every 250 ms while there are any and ever more slowly, up to once a
second, while there are none. It looks at a waiting run, has the calls executed whose results it does not remember, and
hands their outputs in, directly. What a run asks for again under the same ids is answered from memory. What it asks for
under new ids is answered with the result of a call of the same tool and arguments that was first seen shortly before,
if there is one: right for a step that a restarted model asks for again, and as likely for another turn that says the
same.

**What it promises.** One instance executes a call once, unless it is tried again after a time-out, for as long as it
lives. Its restart forgets: what was under way or not handed in is executed again. A turn is started once for each
`client_turn_id` sent to the same instance; sent to another, it is another turn.

**When a run moves between two regions** it is another instance's, which remembers nothing of it: its calls are executed
again, while the first one may be at work, and both hand in; the API refuses the second.
"""

from __future__ import annotations

import argparse
import asyncio

from evaluation.variants.agents import ASKING, Agents, Failed, Gone, Refused, Seen
from evaluation.variants.correlating import Results
from evaluation.variants.lru import Lru
from evaluation.variants.metrics import Metrics
from evaluation.variants.process import parser, parts, run, start
from evaluation.variants.sharing import Share
from evaluation.variants.tasks import Tasks
from evaluation.variants.turn_api import TurnApi
from evaluation.variants.turns import NotStarted, Started, Turns
from evaluation.variants.workers import Workers

FAST_S = 0.25
SLOW_S = 1.0
GROWTH = 1.5
ROUNDS = 8
"""Looks at one waiting run in a row; the next poll takes it up again."""
TURNS_MAX = 20_000
TTL_S = 15 * 60


class Polling:
    """One instance."""

    def __init__(self, agents: Agents, workers: Workers, metrics: Metrics, share: Share, *, window_s: float) -> None:
        self._agents = agents
        self._metrics = metrics
        self._share = share
        self._tasks = Tasks()
        self._results = Results(workers.call, self._tasks, window_s, asyncio.get_running_loop().time)
        self._attended: set[str] = set()
        self._tracked: set[str] = set()

    async def run(self) -> None:
        """Watch, for ever; cancelling it ends what is under way."""
        try:
            await self._watch()
        finally:
            await self._tasks.end()

    async def _watch(self) -> None:
        pause_s = FAST_S
        while True:
            runs = await self._agents.waiting()
            ours = [] if isinstance(runs, Failed) else [run for run in runs if self._is_ours(run)]
            for waiting in ours:
                if waiting.run_id not in self._attended:
                    self._metrics.seen.labels("poll").inc()
                    self._go(waiting.thread_id, waiting.run_id)
            pause_s = FAST_S if ours else min(SLOW_S, pause_s * GROWTH)
            await asyncio.sleep(pause_s)

    async def ready(self) -> bool:
        """Say whether what it cannot work without is there: it needs nothing of its own."""
        return True

    def track(self, thread_id: str, run_id: str) -> None:
        """Watch a run that was made elsewhere."""
        self._tracked.add(run_id)

    def _is_ours(self, waiting: Seen) -> bool:
        return self._share.has(waiting) or waiting.run_id in self._tracked

    def _go(self, thread_id: str, run_id: str) -> None:
        self._attended.add(run_id)
        self._tasks.go(self._attend(thread_id, run_id)).add_done_callback(lambda _: self._attended.discard(run_id))

    async def _attend(self, thread_id: str, run_id: str) -> None:
        """Bring a run what it waits for, until it has it."""
        for _ in range(ROUNDS):
            seen = await self._agents.look(thread_id, run_id)
            if isinstance(seen, Gone) or (isinstance(seen, Seen) and seen.status != ASKING):
                return
            if isinstance(seen, Seen) and await self._bring(seen):
                return
            await asyncio.sleep(FAST_S)

    async def _bring(self, seen: Seen) -> bool:
        """Hand in the outputs of a step, executing what was not; say whether the API has taken them."""
        found = [self._results.of(seen, call) for call in seen.calls]
        for how, _ in found:
            self._metrics.matched.labels(how).inc()
        told = await asyncio.gather(*(output for _, output in found))
        outputs = {call.id: output for call, output in zip(seen.calls, told, strict=True)}
        match await self._agents.submit(seen.thread_id, seen.run_id, outputs):
            case Seen():
                self._metrics.submissions.labels("accepted").inc()
                return True
            case Refused():  # the run asks for something else by now, or has what it wanted: a look will tell
                self._metrics.submissions.labels("refused").inc()
            case Failed(done=done):
                self._metrics.submissions.labels("unclear" if done else "away").inc()
        return False


class OwnTurns:
    """The turns that this instance has started. See `evaluation.variants.turns.Remembered`."""

    def __init__(self) -> None:
        self._started: Lru[str, Started] = Lru(TURNS_MAX, TTL_S, asyncio.get_running_loop().time)

    async def begin(self, name: str) -> Started | NotStarted | None:
        """See there."""
        known = self._started.get(name)
        return None if known is None else Started(known.thread_id, known.run_id)

    async def began(self, name: str, started: Started) -> None:
        """See there."""
        self._started.put(name, started)

    async def gave_up(self, name: str) -> None:
        """See there: nothing was written down."""


def main(arguments: list[str] | None = None) -> None:
    """Run an instance."""
    found = parser("Variant A: polling, deduplication in memory, a correlator that guesses.")
    found.add_argument(
        "--window", type=float, default=10.0, metavar="SECONDS",
        help="how far apart equal calls may be seen to be taken for one",
    )  # fmt: skip
    start(_serve(found.parse_args(arguments)))


async def _serve(told: argparse.Namespace) -> None:
    metrics, agents, workers, share = parts(told)
    polling = Polling(agents, workers, metrics, share, window_s=told.window)
    api = TurnApi(Turns(agents, OwnTurns(), told.region), polling, metrics)
    await run(told.listen, api, polling, metrics, workers.close, agents.close)


if __name__ == "__main__":
    main()
