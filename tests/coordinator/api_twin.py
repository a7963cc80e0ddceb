"""The simulated API's own life, as a backend without a network: strict about state, faulty on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from coordinator.backend import (
    Accepted,
    Away,
    Created,
    Gone,
    Output,
    Refused,
    Seen,
    StepOutputs,
    ToolCall,
    Unclear,
)
from evaluation.assistants.life import Life, Refusal
from evaluation.assistants.things import Run, Thread, Wanted

T = TypeVar("T")
LATENCY_S = 0.002
SLOW_S = 20.0
"""Longer than a replica's visibility."""
WISH_MS = 2_000


class ApiTwin:
    """`life` is the truth. `faults` are words that the next calls of a kind meet with, in order: `away` (nothing
    happened), `busy` (neither, and the next try is wished for after `WISH_MS`), `cut` (it was done, and nobody heard of
    it), `lost` (it was not done, and nobody heard of that), `slow` (it is done, after `SLOW_S`), `bug` (the adapter
    fails); `stale` for a look shows the picture before the newest. While `down`, every call is away."""

    name = "assistants"

    def __init__(self, life: Life, now: Callable[[], float]) -> None:
        self.life = life
        self.now = now
        self.faults: dict[str, list[str]] = {}
        self.down = False
        self.asked: list[str] = []
        self.accepted: list[tuple[str, tuple[str, ...]]] = []
        self.plans: dict[str, list[list[Wanted]]] = {}
        self._pictures: dict[str, list[Seen]] = {}

    async def look(self, thread_id: str, run_id: str) -> Seen | Gone | Away:
        """See the port."""
        fault = await self._met("look")
        if fault == "away":
            return Away("the twin is away")
        try:
            seen = _seen(self._run(thread_id, run_id))
        except Refusal as refusal:
            return Gone(str(refusal))
        pictures = self._pictures.setdefault(run_id, [])
        if not pictures or pictures[-1] != seen:
            pictures.append(seen)
        return pictures[-2] if fault == "stale" and len(pictures) > 1 else seen

    async def steps(self, thread_id: str, run_id: str, calls: Sequence[str]) -> StepOutputs | Gone | Away | None:
        """See the port."""
        if await self._met("steps") == "away":
            return Away("the twin is away")
        try:
            run = self._run(thread_id, run_id)
        except Refusal as refusal:
            return Gone(str(refusal))
        for step in reversed(run.steps):
            outputs = {call.id: call.output for call in step.calls}
            if outputs and set(calls) <= outputs.keys():
                return StepOutputs(step.id, outputs)
        return None

    async def submit(
        self, thread_id: str, run_id: str, outputs: Sequence[Output]
    ) -> Accepted | Refused | Gone | Away | Unclear:
        """See the port."""

        def do() -> Accepted:
            run = self._run(thread_id, run_id)
            step = run.waiting
            self.life.submit(run, {output.tool_call_id: output.output for output in outputs}, self.now())
            assert step is not None
            self.accepted.append((step.id, tuple(output.output for output in outputs)))
            return Accepted(_seen(run))

        return await self._changed("submit", do)

    async def cancel(self, thread_id: str, run_id: str) -> Seen | Refused | Gone | Away | Unclear:
        """See the port."""

        def do() -> Seen:
            run = self._run(thread_id, run_id)
            self.life.cancel(run, self.now())
            return _seen(run)

        return await self._changed("cancel", do)

    async def create_thread(self, marker: Mapping[str, str]) -> Created | Refused | Away | Unclear:
        """See the port."""
        told = await self._changed(
            "create_thread", lambda: Created(self.life.create_thread(self.now(), dict(marker)).id)
        )
        assert not isinstance(told, Gone)
        return told

    async def create_message(
        self, thread_id: str, text: str, marker: Mapping[str, str]
    ) -> Created | Refused | Gone | Away | Unclear:
        """See the port."""

        def do() -> Created:
            message = self.life.add_message(self._thread(thread_id), "user", text, self.now(), dict(marker))
            return Created(message.id)

        return await self._changed("create_message", do)

    async def create_run(
        self, thread_id: str, assistant_id: str, marker: Mapping[str, str]
    ) -> Created | Refused | Gone | Away | Unclear:
        """See the port."""

        def do() -> Created:
            thread = self._thread(thread_id)
            said = next((message.text for message in reversed(thread.messages)), "")
            plan = [list(step) for step in self.plans.get(said, [])]
            run = self.life.create_run(thread, assistant_id, plan, self.now(), metadata=dict(marker))
            return Created(run.id, _seen(run))

        return await self._changed("create_run", do)

    async def find_message(self, thread_id: str, marker: Mapping[str, str]) -> Created | Gone | Away | None:
        """See the port."""
        if await self._met("find") == "away":
            return Away("the twin is away")
        found = (one.id for one in self._thread(thread_id).messages if marker.items() <= one.metadata.items())
        return next((Created(one) for one in found), None)

    async def find_run(self, thread_id: str, marker: Mapping[str, str]) -> Created | Gone | Away | None:
        """See the port."""
        if await self._met("find") == "away":
            return Away("the twin is away")
        found = (one.id for one in self._thread(thread_id).runs if marker.items() <= one.metadata.items())
        return next((Created(one) for one in found), None)

    async def close(self) -> None:
        """Nothing is held."""

    async def _met(self, kind: str) -> str:
        """Let a round trip's time pass, and what is due happen; return the fault that this call meets."""
        self.asked.append(kind)
        await asyncio.sleep(LATENCY_S)
        for run in self.life.runs.values():
            self.life.advance(run, self.now())
        faults = self.faults.get(kind, [])
        fault = "away" if self.down else faults.pop(0) if faults else ""
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        if fault == "bug":
            raise RuntimeError("nobody foresaw this")
        return fault

    async def _changed(self, kind: str, do: Callable[[], T]) -> T | Refused | Gone | Away | Unclear:
        fault = await self._met(kind)
        if fault == "away":
            return Away("the twin is away")
        if fault == "busy":
            return Away("the twin has too much to do", WISH_MS)
        if fault == "lost":
            return Unclear("the answer was lost")
        try:
            done = do()
        except Refusal as refusal:
            told = Gone(str(refusal)) if refusal.status == 404 else Refused(refusal.status, str(refusal))
            return Unclear("the answer was lost") if fault == "cut" else told
        await asyncio.sleep(LATENCY_S)
        return Unclear("the answer was lost") if fault == "cut" else done

    def _run(self, thread_id: str, run_id: str) -> Run:
        return self.life.run(thread_id, run_id)

    def _thread(self, thread_id: str) -> Thread:
        return self.life.thread(thread_id)


def _seen(run: Run) -> Seen:
    step = run.waiting
    calls = (
        () if step is None else tuple(ToolCall(call.id, call.wanted.tool, call.wanted.arguments) for call in step.calls)
    )
    ended = run.ended_at is not None
    return Seen(run.status, calls, None if ended else run.expires_at * 1_000)
