"""What the stories of runs have in common: how one begins, what the model does on the way, and what is waited for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

from coordinator.inbox import Entry
from coordinator.records import Run
from coordinator.tools import Told
from coordinator.turns import Started, TurnAsk
from evaluation.assistants.things import Step, ToolCall, Wanted
from tests.coordinator.house import House, Replica, looked_for, now_ms, wanted

T = TypeVar("T")

TICKET = wanted("create_ticket", subject="Printer on fire")
MAIL = wanted("send_email", to="a@example.com")
REFUND = wanted("refund_payment", amount=1)
UNKNOWN = Told("unknown", outcome="refused", problem="outcome-unknown", operation="op_1", status=409)


async def started(now: House, *steps: Sequence[Wanted], turn: str = "turn-1", at: int = 0) -> str:
    """Start a turn whose run asks for `steps`, at a replica; return the run's id."""
    now.api.plans[turn] = [list(step) for step in steps]
    told = await now.replicas[at].turns.start(TurnAsk(turn, turn, "asst_1"))
    assert isinstance(told, Started)
    return told.run_id


async def asks(now: House, run_id: str, number: int = 1) -> Step:
    """Return a run's step once the model asks for it: the `number`-th."""
    run = now.life.runs[run_id]

    async def seen() -> Step | None:
        now.life.advance(run, now.api.now())
        return run.waiting if len(run.steps) >= number else None

    return _there(await looked_for(seen))


async def written(now: House, run_id: str, what: str, times: int = 1) -> Run:
    """Return a run's record once its timeline has `what`, so often."""

    async def seen() -> Run | None:
        record = await now.record(run_id)
        return record if lines(record).count(what) >= times else None

    return _there(await looked_for(seen))


async def asked_of_proxy(now: House, times: int) -> None:
    """Return once the proxy was asked so often."""

    async def seen() -> bool:
        return len(now.tools.asked) >= times

    await looked_for(seen)


async def let_go(replica: Replica) -> None:
    """Return once a replica keeps no run."""

    async def seen() -> bool:
        return not len(replica.watching)

    await looked_for(seen)


def renewed(now: House, run_id: str, *, same_step: bool, calls: Sequence[Wanted] = ()) -> list[str]:
    """A replica of the model restarts and asks anew, under new ids, for the same or (`calls`) for others; return the
    ids."""
    run = now.life.runs[run_id]
    now.life.regenerate(run, now.api.now(), same_step=same_step)
    step = _there(run.waiting)
    if calls:
        step.calls = [ToolCall(f"{step.calls[0].id}-{number}", call) for number, call in enumerate(calls)]
    return [call.id for call in step.calls]


def posted(now: House, run_id: str, call_id: str, output: str = '"done"', step_id: str = "") -> Entry:
    """Return a gateway's result for a call."""
    return Entry("assistants", now.life.runs[run_id].thread_id, run_id, call_id, output, now_ms(), step_id)


def lines(record: Run) -> list[str]:
    """Return what a timeline tells, in order."""
    return [event.what for event in record.history]


def executed(now: House) -> list[str]:
    """Return which tools ran, in order."""
    return [tool for _, tool, _ in now.tools.executed]


def outcomes(now: House, number: int = -1) -> list[str]:
    """Return what an accepted submission told of its calls: an error's outcome, or `result`."""
    outputs = [json.loads(output) for output in now.api.accepted[number][1]]
    return [one["error"]["outcome"] if isinstance(one, dict) and "error" in one else "result" for one in outputs]


def _there(thing: T | None) -> T:
    assert thing is not None
    return thing
