"""One case, played: what each caller got, how often the tool was asked, and what stands in the ledger at the end."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from policies.cases import Asked, Case, State
from policies.matcher import PolicySet
from proxy.forward import Headers
from proxy.rehearsal import virtual
from proxy.rehearsal.stage import Stage, quiet_log, wall_ms
from proxy.rehearsal.tool import ScriptedTool
from proxy.rehearsal.wire import Answered, ask

LIMIT_S = 400 * virtual.DAY_S
"""Longer than anything is kept."""

LOOK_S = 1.0
SETTLE_MAX_S = virtual.DAY_S
"""How long what is under way may take by itself once everybody was answered."""


class Played(Struct, frozen=True):
    """How it went. `answers` are the callers', None for one who hung up before; `stuck` says what never ended."""

    answers: tuple[Answered | None, ...] = ()
    calls: int = 0
    probes: int = 0
    states: tuple[State, ...] = ()
    stuck: str = ""


def play(case: Case, policies: PolicySet) -> Played:
    """Play `case` under `policies`, in virtual time."""
    try:
        return virtual.run(_story(case, policies), limit_s=LIMIT_S)
    except (virtual.Deadlock, virtual.TooLong) as stuck:
        return Played(stuck=str(stuck))


async def _story(case: Case, policies: PolicySet) -> Played:
    asked = [(one.method, one.target) for one in case.asked]
    tool = ScriptedTool(case.replies, case.probes, asked, wall_ms)
    with quiet_log() as log:
        stage = Stage(policies, tool, log)
        async with stage.open():
            answers = await _answers(case, stage)
            await _settled(case, stage)
            return Played(tuple(answers), len(tool.calls), len(tool.probed), await stage.states())


async def _answers(case: Case, stage: Stage) -> list[Answered | None]:
    """Let callers ask, each at its time; one without a time comes once the one before it has been answered."""
    tasks: list[asyncio.Task[Answered | None]] = []
    for one in case.asked:
        if one.at_ms is not None:
            await asyncio.sleep(max(0.0, one.at_ms / 1_000 - _now_s()))
        elif tasks:
            await asyncio.wait(tasks[-1:])
        tasks.append(asyncio.get_running_loop().create_task(_ask(one, stage)))
        await asyncio.sleep(0)  # callers of the same moment come in their order
    return [await task for task in tasks]


async def _ask(one: Asked, stage: Stage) -> Answered | None:
    headers: Headers = tuple((name.encode(), value.encode()) for name, value in one.headers)
    if one.patience_ms is not None:
        headers += ((b"Prefer", b"wait=%d" % (one.patience_ms // 1_000)),)
    hang_up_s = None if one.hang_up_ms is None else one.hang_up_ms / 1_000
    return await ask(stage.server, one.method, one.target, headers, one.body, hang_up_s=hang_up_s)


async def _settled(case: Case, stage: Stage) -> None:
    if case.until_ms is not None:
        await asyncio.sleep(max(0.0, case.until_ms / 1_000 - _now_s()))
        return
    end_s = _now_s() + SETTLE_MAX_S
    while _now_s() < end_s and await stage.under_way():  # noqa: ASYNC110  # time that nobody needs is jumped over
        await asyncio.sleep(LOOK_S)


def _now_s() -> float:
    return asyncio.get_running_loop().time() - virtual.START_S
