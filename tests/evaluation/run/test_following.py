"""Turns are followed to their ends in the API's truth, and their records are written as they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from evaluation.assistants.truth import CallTruth, Page, RunTruth, StepTruth
from evaluation.replay.records import CALLS, OUTCOMES, STEPS, Call, Outcome, Step, read_lines
from evaluation.run.client import Asked
from evaluation.run.following import Following, Records, Sent

CALL = CallTruth("call_1", "send_email", "0123456789abcdef", "result")
STEP = StepTruth("step_1", 11.0, 11.5, 2, 1, 0, (CALL,))
RUN = RunTruth("run_1", "thread_1", "turn-a", "completed", 12.0, (STEP,))
OPEN = RunTruth("run_2", "thread_2", "turn-z", "requires_action", None, (msgspec.structs.replace(STEP, taken_at=None),))
NAMES = {"turn-a": "a"}


class Truth:
    """The API's truth: the runs that have ended, and one that has not."""

    def __init__(self) -> None:
        self.ended: list[RunTruth] = []

    async def show(self, request: web.Request) -> web.Response:
        """Show a page."""
        if request.query.get("open"):
            page = Page(0, (OPEN,))
        else:
            since = int(request.query["since"])
            page = Page(len(self.ended), tuple(self.ended[since:]))
        return web.Response(body=msgspec.json.encode(page))


@contextlib.asynccontextmanager
async def followed(folder: Path, limit_s: float = 120) -> AsyncIterator[tuple[Following, Truth, list[int]]]:
    """Follow turns; yield with the truth, and a list that grows with each turn that is over."""
    truth, over = Truth(), list[int]()
    application = web.Application()
    application.router.add_get("/_simulator/runs", truth.show)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        with Records(folder, NAMES) as records:
            yield Following(session, url, records, limit_s, time.time, lambda: over.append(1)), truth, over


def sent(turn: str, run_id: str, at: float | None = None) -> Sent:
    """Return a turn that was sent now and has a run."""
    return Sent(turn, time.time() if at is None else at, Asked(run_id, "thread_1", 10.5, "http://a", 1), moved=False)


def outcomes(folder: Path) -> dict[str, Outcome]:
    """Return what became of each turn."""
    return {outcome.turn: outcome for outcome in read_lines(folder / OUTCOMES, Outcome)}


async def test_run_that_ends_ends_its_turns(tmp_path: Path) -> None:
    """All turns that were told of it, also one that hears of it later; its steps and calls are written once."""
    async with followed(tmp_path) as (following, truth, over):
        following.add(sent("a", "run_1"))
        await following.look()
        assert not over
        truth.ended.append(RUN)
        await following.look()
        following.add(sent("a-again", "run_1"))
        await following.until_all_is_over()
        await following.close()
    found = outcomes(tmp_path)
    assert {(one.status, one.ended_at) for one in found.values()} == {("completed", 12.0)}
    assert found.keys() == {"a", "a-again"}
    step, left = read_lines(tmp_path / STEPS, Step)
    assert step == Step("a", "run_1", "step_1", 0, 11.0, 11.5, 2, 1, 0)
    assert (left.turn, left.run_id, left.taken_at) == ("", "run_2", None)
    call, _ = read_lines(tmp_path / CALLS, Call)
    assert call == Call("a", "run_1", "step_1", "call_1", "send_email", "0123456789abcdef", "result")


async def test_turn_without_a_run_is_refused(tmp_path: Path) -> None:
    """There is nothing to follow."""
    async with followed(tmp_path) as (following, _, over):
        following.add(sent("a", ""))
        assert len(over) == 1
    assert outcomes(tmp_path)["a"].status == "refused"


async def test_turn_that_does_not_end_is_open_after_its_time(tmp_path: Path) -> None:
    """Counted from when it was sent: another turn of the same run may still wait."""
    async with followed(tmp_path, limit_s=60) as (following, truth, over):
        following.add(sent("a", "run_1", at=time.time() - 61))
        following.add(sent("b", "run_1"))
        await following.look()
        assert len(over) == 1
        truth.ended.append(RUN)
        await following.look()
    found = outcomes(tmp_path)
    assert {name: one.status for name, one in found.items()} == {"a": "open", "b": "completed"}
    assert found["a"].ended_at is None
