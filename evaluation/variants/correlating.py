"""Variant A's memory of results: by thread, run and call, and, where that fails, by what looks like the same call.

As the seed has it: an LRU cache in each instance, for 15 minutes, keyed by the tuple; and a permissive fallback on
tool, arguments and the time at which a call was first seen. What is kept is the execution itself, so that a call which
comes again while it is under way waits for the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from msgspec import Struct

from evaluation.tools.asking import payload_hash
from evaluation.variants.agents import Call, Seen
from evaluation.variants.lru import Lru
from evaluation.variants.tasks import Tasks

SIZE = 20_000
TTL_S = 15 * 60

How = Literal["executed", "tuple", "guess"]
Execute = Callable[[Seen, Call], Coroutine[Any, Any, str]]
Look = tuple[str, str, str]


class Result(Struct, frozen=True):
    """A call's execution: under which ids, since when, and its output once there is one."""

    run_id: str
    call_id: str
    since: float
    output: asyncio.Task[str]


class Results:
    """What one instance has executed. `window_s` is how far apart two calls may be seen to be taken for one; `now` is
    in seconds."""

    def __init__(self, execute: Execute, tasks: Tasks, window_s: float, now: Callable[[], float]) -> None:
        self._execute = execute
        self._tasks = tasks
        self._window_s = window_s
        self._now = now
        self._by_tuple: Lru[tuple[str, str, str], Result] = Lru(SIZE, TTL_S, now)
        self._by_look: Lru[Look, Result] = Lru(SIZE, TTL_S, now)

    def of(self, run: Seen, call: Call) -> tuple[How, asyncio.Task[str]]:
        """Return a call's execution, which is begun unless there is one already; and how it was found.

        A guess is never made between two calls that a run asks for at once: those are two.
        """
        place = run.thread_id, run.run_id, call.id
        if (known := self._by_tuple.get(place)) is not None:
            return "tuple", known.output
        looks = run.marks.get("tenant", ""), call.tool, payload_hash(call.arguments.encode())
        guess = self._by_look.get(looks)
        if guess is not None and self._now() - guess.since <= self._window_s and not _beside(run, guess):
            self._by_tuple.put(place, guess)
            return "guess", guess.output
        output = self._tasks.go(self._execute(run, call))
        result = Result(run.run_id, call.id, self._now(), output)
        self._by_tuple.put(place, result)
        self._by_look.put(looks, result)
        return "executed", output


def _beside(run: Seen, guess: Result) -> bool:
    return guess.run_id == run.run_id and any(call.id == guess.call_id for call in run.calls)
