"""What an Assistants-style API writes, read as far as it is needed, and strictly: nothing that matters is guessed.

Only the members that are named here are looked at; whatever else vendors add is passed over. A run without a status, or
one that waits for tool outputs and does not say for which, is no run: `Malformed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from coordinator.backend import ASKING, ENDED, Output, Seen, StepOutputs, ToolCall

WAITING = frozenset({"queued", "in_progress", "cancelling", ASKING})
"""Statuses that a run leaves; with `ENDED` these are all that the API has."""

CALLS_MAX = 256
"""Of a step: the API's own bound is half of that."""

WORDS_MAX = 500
"""Characters of what an API says of an error."""

_ID = re.compile(r"[!-~]{1,255}")
T = TypeVar("T")


class Malformed(Exception):
    """An answer is not what the API's description says."""


class _Function(Struct, frozen=True):
    name: str
    arguments: str
    output: str | None = None


class _Call(Struct, frozen=True):
    id: str
    type: str = "function"
    function: _Function | None = None


class _Calls(Struct, frozen=True):
    tool_calls: list[_Call]


class _Action(Struct, frozen=True):
    type: str
    submit_tool_outputs: _Calls | None = None


class _Error(Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Incomplete(Struct, frozen=True):
    reason: str | None = None


class _Run(Struct, frozen=True):
    id: str
    thread_id: str
    status: str
    required_action: _Action | None = None
    expires_at: int | float | None = None
    last_error: _Error | None = None
    incomplete_details: _Incomplete | None = None


class _Details(Struct, frozen=True):
    tool_calls: list[_Call] | None = None


class Step(Struct, frozen=True):
    """A step of a run, of tool calls or another."""

    id: str
    type: str
    step_details: _Details


class Thing(Struct, frozen=True):
    """A thread, message or run in a listing: its id, and what it was marked with."""

    id: str
    metadata: Mapping[str, Any] | None = None


class _Listing(Struct, Generic[T], frozen=True):
    data: list[T]
    has_more: bool = False


class Page(Struct, Generic[T], frozen=True):
    """Part of a listing; `after` asks for the next part, empty after the last."""

    things: list[T]
    after: str


def read_run(body: bytes, thread_id: str, run_id: str = "") -> tuple[str, Seen]:
    """Return a run's id and the run. Raises `Malformed`, also for another run than `run_id`, if that is given."""
    run = _decoded(body, _Run)
    check_id(run.id)
    if run.thread_id != thread_id or run_id not in {"", run.id}:
        raise Malformed(f"it shows run {run.id[:100]} of thread {run.thread_id[:100]}, which nobody asked for")
    if run.status not in ENDED | WAITING:
        raise Malformed(f"a run has the status {run.status[:100]!r}, which is unknown here")
    expires_ms = None if run.expires_at is None or run.status in ENDED else round(run.expires_at * 1_000)
    return run.id, Seen(run.status, _calls_of(run), expires_ms, _words_of(run))


def _calls_of(run: _Run) -> tuple[ToolCall, ...]:
    if run.status != ASKING:
        return ()
    action = run.required_action
    if action is None or action.type != "submit_tool_outputs" or action.submit_tool_outputs is None:
        raise Malformed("a run requires an action, and not that tool outputs be submitted")
    calls = [_asked(call) for call in action.submit_tool_outputs.tool_calls]
    if not calls or len(calls) > CALLS_MAX or len({call.tool_call_id for call in calls}) != len(calls):
        raise Malformed("a run asks for no tool calls, for too many, or for one twice")
    return tuple(calls)


def _asked(call: _Call) -> ToolCall:
    if call.type != "function" or call.function is None:
        raise Malformed(f"a run waits for a call of type {call.type[:100]!r}, which is none of ours")
    return ToolCall(check_id(call.id), call.function.name, call.function.arguments)


def _words_of(run: _Run) -> str:
    words = []
    if run.last_error is not None:
        words += [run.last_error.code, run.last_error.message]
    if run.incomplete_details is not None:
        words.append(run.incomplete_details.reason)
    return ": ".join(word for word in words if word)[:WORDS_MAX]


def read_steps(body: bytes) -> Page[Step]:
    """Return a page of a run's steps. Raises `Malformed`."""
    listing = _decoded(body, _Listing[Step])
    return Page(listing.data, _after(listing.has_more, [step.id for step in listing.data]))


def read_things(body: bytes) -> Page[Thing]:
    """Return a page of messages or runs. Raises `Malformed`."""
    listing = _decoded(body, _Listing[Thing])
    return Page(listing.data, _after(listing.has_more, [thing.id for thing in listing.data]))


def _after(more: bool, ids: Sequence[str]) -> str:
    if more and not ids:
        raise Malformed("a page is empty, and says that there is more")
    return check_id(ids[-1]) if more else ""


def step_with(steps: Sequence[Step], calls: Sequence[str]) -> StepOutputs | None:
    """Return the first of `steps` that has all of these call ids. Raises `Malformed`."""
    for step in steps:
        listed = step.step_details.tool_calls or () if step.type == "tool_calls" else ()
        outputs = {call.id: call.function.output for call in listed if call.function is not None}
        if outputs and set(calls) <= set(outputs):
            return StepOutputs(check_id(step.id), outputs)
    return None


def read_created(body: bytes) -> str:
    """Return the id of what was created. Raises `Malformed`."""
    return check_id(_decoded(body, Thing).id)


def marked(thing: Thing, marker: Mapping[str, str]) -> bool:
    """Say whether a thing carries all of `marker`."""
    carried = thing.metadata or {}
    return all(carried.get(name) == value for name, value in marker.items())


def check_id(text: str) -> str:
    """Return an id that can stand in a path and a header field. Raises `Malformed`."""
    if _ID.fullmatch(text) is None:
        raise Malformed(f"{text[:100]!r} is no id")
    return text


def submission(outputs: Sequence[Output]) -> bytes:
    """Return the body that hands in outputs."""
    shown = [{"tool_call_id": output.tool_call_id, "output": output.output} for output in outputs]
    return msgspec.json.encode({"tool_outputs": shown})


class _Refusal(Struct, frozen=True):
    error: _Error


def words_of_refusal(status: int, body: bytes) -> str:
    """Return what the API says of a refusal, in its own words where they can be read."""
    try:
        error = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.MsgspecError, RecursionError):
        return f"status {status}"
    return (error.message or error.code or f"status {status}")[:WORDS_MAX]


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(str(error)[:WORDS_MAX]) from None
