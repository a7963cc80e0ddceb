"""The backend port: what the coordinator asks of whoever keeps threads and runs, and what it may be told.

An adapter (`coordinator.assistants` is the first) translates one API to these values and nothing else: it keeps no
state, decides nothing, and never sends a call twice that may have been carried out. So the next one (another vendor's
threads and runs, a graph server, background responses) is one file beside it.

Whatever an API cannot say is told apart from what it says: `Away` (nothing was learned; asking again is safe), and
`Unclear` for calls that change something (it may or may not have been done; the way on is to ask, never to repeat).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

ENDED = frozenset({"cancelled", "failed", "completed", "incomplete", "expired"})
"""Statuses that a run never leaves."""

ASKING = "requires_action"


class ToolCall(Struct, frozen=True):
    """One call that a run asks for. `arguments` is JSON as text, as the model wrote it."""

    tool_call_id: str
    tool: str
    arguments: str


class Seen(Struct, frozen=True):
    """A run as the API shows it. `calls` are those that it waits for; `expires_ms` is Unix milliseconds, None once it
    has ended (or where the API does not say); `error` says why one failed or stayed incomplete."""

    status: str
    calls: tuple[ToolCall, ...] = ()
    expires_ms: int | None = None
    error: str = ""


class StepOutputs(Struct, frozen=True):
    """A step of tool calls as the API shows it: each call's output, None for one that was not handed in. `step_id`
    is never empty: an API without steps needs a name for each from its adapter. `calls` are what it asks for, in the
    same words as the run does; empty where the API does not show that."""

    step_id: str
    outputs: Mapping[str, str | None]
    calls: tuple[ToolCall, ...] = ()


class Output(Struct, frozen=True):
    """What is handed in for one call: `output` is JSON as text."""

    tool_call_id: str
    output: str


class Gone(Struct, frozen=True):
    """The API knows no such run (or thread)."""

    why: str


class Away(Struct, frozen=True):
    """Nothing was learned: the API cannot be reached, is overloaded or failed. `retry_after_ms` is its own wish."""

    why: str
    retry_after_ms: int | None = None


class Refused(Struct, frozen=True):
    """The API understood and said no; nothing was changed. `status` and `why` are its own."""

    status: int
    why: str


class Unclear(Struct, frozen=True):
    """What was asked for may or may not have been done."""

    why: str


class Accepted(Struct, frozen=True):
    """The outputs were taken; `seen` is the run as it was shown in the answer, where it was shown."""

    seen: Seen | None = None


class Created(Struct, frozen=True):
    """A thread, message or run that was made."""

    id: str
    seen: Seen | None = None


class Backend(Protocol):
    """See the module's docstring. Every call ends within the adapter's own time limit. `marker` is metadata that a
    creation carries and a search finds again."""

    name: str

    async def look(self, thread_id: str, run_id: str) -> Seen | Gone | Away:
        """Return the run as it is."""

    async def steps(self, thread_id: str, run_id: str, calls: Sequence[str]) -> StepOutputs | Gone | Away | None:
        """Return the newest step of tool calls that has all of these call ids; None if no step has."""

    async def submit(
        self, thread_id: str, run_id: str, outputs: Sequence[Output]
    ) -> Accepted | Refused | Gone | Away | Unclear:
        """Hand in all outputs of a step, once. `Away` only where provably nothing was sent, or the API says that it
        took nothing (429)."""

    async def cancel(self, thread_id: str, run_id: str) -> Seen | Refused | Gone | Away | Unclear:
        """Ask the run to stop."""

    async def create_thread(self, marker: Mapping[str, str]) -> Created | Refused | Away | Unclear:
        """Make an empty thread."""

    async def create_message(
        self, thread_id: str, text: str, marker: Mapping[str, str]
    ) -> Created | Refused | Gone | Away | Unclear:
        """Say `text` in a thread, as its user."""

    async def create_run(
        self, thread_id: str, assistant_id: str, marker: Mapping[str, str]
    ) -> Created | Refused | Gone | Away | Unclear:
        """Let the assistant work on a thread."""

    async def find_message(self, thread_id: str, marker: Mapping[str, str]) -> Created | Gone | Away | None:
        """Return the message that carries `marker`, if the thread has one; all of it is looked through."""

    async def find_run(self, thread_id: str, marker: Mapping[str, str]) -> Created | Gone | Away | None:
        """Return the run that carries `marker`, if the thread has one; all of it is looked through."""

    async def close(self) -> None:
        """Let go of every resource."""
