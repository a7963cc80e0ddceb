"""What became of turns: read from the API's truth as runs end, and written down as it comes.

One request for a page of ended runs, twice a second, is all that following costs, however many turns are open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from msgspec import Struct

from evaluation.assistants.truth import Page, RunTruth
from evaluation.replay.records import CALLS, OUTCOMES, STEPS, Call, Outcome, Status, Step
from evaluation.run.client import Asked

LOOK_S = 0.5

_pages = msgspec.json.Decoder(Page)


class Sent(Struct, frozen=True):
    """A turn that has been sent and named a run, or was refused."""

    turn: str
    sent_at: float
    asked: Asked
    moved: bool


class Records:
    """The files of outcomes, steps and calls, written line by line. `names` gives the turn's id for what its run is
    called by, its `client_turn_id`."""

    def __init__(self, directory: Path, names: Mapping[str, str]) -> None:
        self._names = names
        self._encoder = msgspec.json.Encoder()
        self._files = {name: (directory / name).open("wb") for name in (OUTCOMES, STEPS, CALLS)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def outcome(self, outcome: Outcome) -> None:
        """Write down what became of a turn."""
        self._write(OUTCOMES, outcome)

    def run(self, run: RunTruth) -> None:
        """Write down a run's steps and calls."""
        turn = self._names.get(run.turn, "")
        for number, step in enumerate(run.steps):
            self._write(STEPS, Step(
                turn, run.run_id, step.step_id, number, step.asked_at, step.taken_at, step.attempts, step.without_id,
                step.regenerated,
            ))  # fmt: skip
            for call in step.calls:
                self._write(CALLS, Call(
                    turn, run.run_id, step.step_id, call.tool_call_id, call.tool, call.payload_hash, call.told,
                ))  # fmt: skip

    def _write(self, name: str, record: Outcome | Step | Call) -> None:
        self._files[name].write(self._encoder.encode(record) + b"\n")


class Following:
    """Follows the turns that it is told of to their ends, or for `limit_s` from when they were sent. `settled` is told
    of each that is over."""

    def __init__(
        self, session: aiohttp.ClientSession, api: str, records: Records, limit_s: float, now: Callable[[], float],
        settled: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._session = session
        self._api = api
        self._records = records
        self._limit_s = limit_s
        self._now = now
        self._settled = settled
        self._since = 0
        self._ended: dict[str, tuple[Status, float]] = {}
        self._open: dict[str, list[Sent]] = {}

    def add(self, sent: Sent) -> None:
        """Follow a turn."""
        asked = sent.asked
        if not asked.run_id:
            self._over(sent, "refused", None)
        elif asked.run_id in self._ended:
            self._over(sent, *self._ended[asked.run_id])
        else:
            self._open.setdefault(asked.run_id, []).append(sent)

    async def until_all_is_over(self) -> None:
        """Return once no turn is open, of those that were added, while somebody follows."""
        while self._open:  # noqa: ASYNC110  # each look may be the last
            await asyncio.sleep(LOOK_S)

    async def follow(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Write down what has ended since the last look, and give up what is open for too long. Raises
        `aiohttp.ClientError`."""
        while (page := await self._page(f"since={self._since}")).runs:
            self._since = page.next
            for run in page.runs:
                self._has_ended(run)
        late = self._now() - self._limit_s
        for run_id in [run_id for run_id, those in self._open.items() if any(one.sent_at < late for one in those)]:
            for sent in self._given_up(run_id, late):
                self._over(sent, "open", None)

    async def close(self) -> None:
        """Write down the runs that have not ended, and those that have since the last look."""
        await self.look()
        for run in (await self._page("open=true")).runs:
            self._records.run(run)

    def _has_ended(self, run: RunTruth) -> None:
        assert run.ended_at is not None
        self._records.run(run)
        status = _ended_as(run)
        self._ended[run.run_id] = status, run.ended_at
        for sent in self._open.pop(run.run_id, ()):
            self._over(sent, status, run.ended_at)

    def _given_up(self, run_id: str, late: float) -> Iterator[Sent]:
        those = self._open.pop(run_id)
        if kept := [sent for sent in those if sent.sent_at >= late]:
            self._open[run_id] = kept
        yield from (sent for sent in those if sent.sent_at < late)

    def _over(self, sent: Sent, status: Status, ended_at: float | None) -> None:
        asked = sent.asked
        self._records.outcome(Outcome(
            sent.turn, sent.sent_at, asked.accepted_at, ended_at, status, asked.run_id, asked.instance, asked.sends,
            asked.busy, sent.moved, asked.detail,
        ))  # fmt: skip
        self._settled()

    async def _page(self, query: str) -> Page:
        async with self._session.get(f"{self._api}/_simulator/runs?{query}", raise_for_status=True) as answer:
            return _pages.decode(await answer.read())


def _ended_as(run: RunTruth) -> Status:
    match run.status:
        case "completed" | "failed" | "cancelled" | "expired" | "incomplete":
            return run.status
        case _:
            raise AssertionError(f"{run.run_id} has ended and is {run.status}")
