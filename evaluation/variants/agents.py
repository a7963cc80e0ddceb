"""The Assistants-style API as the two reference coordinators use it: threads, runs, and what a run waits for.

| what comes back                     | a call that only asks | a call that changes something     |
|-------------------------------------|-----------------------|-----------------------------------|
| 2xx                                 | what it says          | what it says                      |
| 404                                 | `Gone`                | `Refused`                         |
| any other 4xx, but 408 and 429      | `Failed`              | `Refused`                         |
| anything else, or nothing           | `Failed`              | `Failed`; `done` says if it may have been done |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from evaluation.variants.exchange import Exchange, NotSent, Replied

WITHIN_S = 10.0
FIELDS = {"OpenAI-Beta": "assistants=v2", "Accept": "application/json", "Content-Type": "application/json"}
ASKING = "requires_action"
ENDED = frozenset({"cancelled", "failed", "completed", "incomplete", "expired"})

T = TypeVar("T")
R = TypeVar("R")


class Call(Struct, frozen=True):
    """A tool call that a run asks for; `arguments` is JSON as text, as the model wrote it."""

    id: str
    tool: str
    arguments: str


class Seen(Struct, frozen=True):
    """A run as the API shows it, with the calls that it waits for; `marks` are its metadata."""

    thread_id: str
    run_id: str
    status: str
    calls: tuple[Call, ...]
    marks: dict[str, str]

    @property
    def step(self) -> tuple[str, tuple[str, ...]]:
        """What tells one request for outputs from another: the run, and the ids of its calls."""
        return self.run_id, tuple(call.id for call in self.calls)


class Refused(Struct, frozen=True):
    """The API said no, and changed nothing."""

    status: int
    why: str

    @property
    def busy(self) -> bool:
        """Whether it said no because a run of the thread has not ended."""
        return self.status == 400 and "active" in self.why


class Gone(Struct, frozen=True):
    """The API knows no such run."""


class Failed(Struct, frozen=True):
    """The API did not answer as it should. `done`: what was asked for may have been done."""

    why: str
    done: bool = False


class Agents:
    """The API at `base`, its URL up to and without `/threads`."""

    def __init__(self, base: str, exchange: Exchange) -> None:
        self._base = base.rstrip("/")
        self._exchange = exchange

    async def create_thread(self) -> str | Refused | Failed:
        """Begin a conversation, and return its id. An empty thread too many harms nobody."""
        told = await self._change("/threads", {})
        return told if isinstance(told, Refused | Failed) else _decoded(told, _Thing, lambda thing: thing.id)

    async def create_run(
        self, thread_id: str, assistant_id: str, message: str, marks: dict[str, str]
    ) -> Seen | Refused | Failed:
        """Say something in a thread and let the assistant work on it, in one call."""
        said = [{"role": "user", "content": message}]
        asked = {"assistant_id": assistant_id, "additional_messages": said, "metadata": marks}
        told = await self._change(f"/threads/{thread_id}/runs", asked)
        return told if isinstance(told, Refused | Failed) else _decoded(told, _Run, _seen)

    async def find_run(self, thread_id: str, turn: str) -> Seen | Failed | None:
        """Return the run of a thread that was made for `turn`, if the newest hundred have one."""
        told = await self._ask(f"/threads/{thread_id}/runs?limit=100&order=desc")
        if isinstance(told, Gone):
            return None
        runs = told if isinstance(told, Failed) else _decoded(told, _Runs, lambda page: [*map(_seen, page.data)])
        if isinstance(runs, Failed):
            return runs
        return next((run for run in runs if run.marks.get("turn") == turn), None)

    async def look(self, thread_id: str, run_id: str) -> Seen | Gone | Failed:
        """Return a run as it is."""
        told = await self._ask(f"/threads/{thread_id}/runs/{run_id}")
        return told if isinstance(told, Gone | Failed) else _decoded(told, _Run, _seen)

    async def waiting(self) -> list[Seen] | Failed:
        """Return all runs that wait for tool outputs.

        No such API lists runs across threads: this stands for the table of open conversations that every team has.
        """
        told = await self._ask("/_simulator/waiting")
        assert not isinstance(told, Gone)
        return told if isinstance(told, Failed) else _decoded(told, _Runs, lambda page: [*map(_seen, page.data)])

    async def submit(self, thread_id: str, run_id: str, outputs: dict[str, str]) -> Seen | Refused | Failed:
        """Hand in the outputs of a step, by call id."""
        listed = [{"tool_call_id": call, "output": output} for call, output in outputs.items()]
        told = await self._change(f"/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", {"tool_outputs": listed})
        return told if isinstance(told, Refused | Failed) else _decoded(told, _Run, _seen)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._exchange.close()

    async def _ask(self, path: str) -> bytes | Gone | Failed:
        match await self._exchange.send("GET", self._base + path, FIELDS, within_s=WITHIN_S):
            case Replied(status=404) if not path.startswith("/_simulator/"):
                return Gone()
            case Replied(status=status, body=body):
                return body if 200 <= status < 300 else Failed(f"{status}: {_words(body)}")
            case lost:
                return Failed(lost.why)

    async def _change(self, path: str, asked: Any) -> bytes | Refused | Failed:
        body = msgspec.json.encode(asked)
        match await self._exchange.send("POST", self._base + path, FIELDS, body, within_s=WITHIN_S):
            case Replied(status=status, body=told) if 200 <= status < 300:
                return told
            case Replied(status=429, body=told):
                return Failed(f"429: {_words(told)}")
            case Replied(status=status, body=told) if 400 <= status < 500 and status != 408:
                return Refused(status, _words(told))
            case Replied(status=status, body=told):
                return Failed(f"{status}: {_words(told)}", done=True)
            case NotSent(why=why):
                return Failed(why)
            case lost:
                return Failed(lost.why, done=True)


class _Function(Struct):
    name: str
    arguments: str


class _Call(Struct):
    id: str
    function: _Function


class _Calls(Struct):
    tool_calls: list[_Call]


class _Action(Struct):
    submit_tool_outputs: _Calls


class _Run(Struct):
    id: str
    thread_id: str
    status: str
    required_action: _Action | None = None
    metadata: dict[str, str] = {}


class _Runs(Struct):
    data: list[_Run]


class _Thing(Struct):
    id: str


class _Words(Struct):
    message: str = ""


class _Refusal(Struct):
    error: _Words


def _decoded(body: bytes, kind: type[T], read: Callable[[T], R]) -> R | Failed:
    """Return what a 2xx says. One that says nothing of the kind may have done what it was asked for."""
    try:
        return read(msgspec.json.decode(body, type=kind))
    except msgspec.MsgspecError as error:
        return Failed(f"a malformed answer: {error}", done=True)


def _seen(run: _Run) -> Seen:
    asked = run.required_action.submit_tool_outputs.tool_calls if run.required_action is not None else []
    calls = tuple(Call(call.id, call.function.name, call.function.arguments) for call in asked)
    return Seen(run.thread_id, run.id, run.status, calls, run.metadata)


def _words(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).error.message
    except msgspec.MsgspecError:
        return body[:200].decode(errors="replace")
