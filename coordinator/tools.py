"""The tools port: one tool call, asked of the proxy until there is something definite to say of it.

`coordinator.executor` is what stands behind it: plain HTTP to `{proxy}/tools/{name}`.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Verdict = Literal["answered", "unknown", "refused", "unreached", "overdue"]


class Ask(Struct, frozen=True):
    """What to ask for, and as which call: the ids are those under which the proxy shall know it. `traceparent` is the
    trace that it belongs to (W3C), empty if there is none. `write`: it has side effects, so that the proxy's ledger
    knows of it; a read leaves no trace there."""

    thread_id: str
    run_id: str
    step_id: str
    tool_call_id: str
    tool: str
    arguments: str
    tenant: str = ""
    user: str = ""
    traceparent: str = ""
    write: bool = True


class Told(Struct, frozen=True):
    """What became of it.

    verdict    `answered`: the tool's own answer, good or bad. `unknown`: it may or may not have run, and nothing but a
               person can end that. `refused`: Holdfast refused it, and a retry would not help. `unreached`: it was not
               executed, and all tries are used up. `overdue`: the time was over before any of these.
    output     for `answered`: JSON as text, ready to be handed in; else empty.
    status     the HTTP status of the last answer; 0 if there was none.
    outcome    the last `Holdfast-Outcome`; empty without one (reads, no answer).
    operation  Holdfast's id of the call; empty without one.
    detail     for people: what the last problem document or error said.
    problem    the slug of the last problem document (`outcome-unknown`, `key-reused`, …); empty without one.
    tries      how often the proxy was asked.
    """

    verdict: Verdict
    output: str = ""
    status: int = 0
    outcome: str = ""
    operation: str = ""
    detail: str = ""
    problem: str = ""
    tries: int = 1


class Tools(Protocol):
    """See the module's docstring."""

    async def call(self, ask: Ask, until: float) -> Told:
        """Ask for one call and, while it is in flight or may still be heard of, ask again under the same ids, until
        there is something definite or `until` (loop time) comes. Cancelling it leaves the call to the proxy: whoever
        asks again gets its result."""

    async def close(self) -> None:
        """Let go of every resource."""
