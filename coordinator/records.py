"""The coordinator's records: what is known of one run and of one turn, as frozen values.

Which event makes what of a run is `coordinator.transitions`' business alone; this file says what records hold and how
they are written down (msgpack maps: fields that a later version adds are skipped by an earlier one; what an earlier one
must not touch says so by its `schema`, decision 0040).

Arguments of calls are never kept, only their digest: whoever executes a call has just read them from the API. Outputs
are kept from when they are known until the run was seen to have moved on, and then their digests. Times are wall-clock
Unix milliseconds, as the API's `expires_at` is.
"""

from __future__ import annotations

import contextlib
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from coordinator.backend import ENDED

HISTORY_MAX = 128
"""Events kept per run: the first and the newest ones."""
STEPS_MAX = 64
"""Steps kept per run; the oldest leave first. The API ends a run after 600 s, so this is some ten seconds a step."""
ATTEMPTS_MAX = 16
"""Submission attempts kept per step, the newest ones."""
DETAIL_MAX = 300
"""Characters of another party's text that are kept."""


SCHEMA = 1
"""What this version writes, and the newest that it reads. Raised with what an earlier version must leave alone; a field
that it may skip changes nothing here."""


class CorruptRecord(Exception):
    """Bytes in the store that this version cannot read. Never to be taken for an absent record."""


class NewerRecord(CorruptRecord):
    """A record that only a newer version can read: it is that one's business, and not damaged."""


class Event(Struct, frozen=True, array_like=True):
    """One line of a run's timeline."""

    at_ms: int
    what: str
    call: str = ""
    detail: str = ""


class Given(Struct, frozen=True, omit_defaults=True):
    """What there is to hand in for a call.

    output   JSON as text; None once the run has moved on and it is of no more use.
    digest   of it, to tell a duplicate from a conflict.
    source   `tool`: the proxy's word. `posted`: a gateway's. `error`: ours, because there is nothing better to say.
    outcome  `executed`, `joined`, `replayed` …, or why there is only an error: `unknown`, `overdue`, …
    """

    output: str | None
    digest: str
    source: Literal["tool", "posted", "error"]
    outcome: str
    at_ms: int
    operation: str = ""


class Call(Struct, frozen=True, omit_defaults=True):
    """One tool call of a step.

    arguments    digest of the canonical arguments.
    write        whether its tool has side effects, as the policies say.
    deadline_ms  from when on an error is handed in for it, if there is nothing better (before the run's own expiry is
                 looked at).
    asked_as     as what the proxy knows it, where that is not its own id: the name of the call that it repeats under a
                 new id, or one made for it because its id had meant another call before.
    stray        a write that was asked for anew and matches none of the calls before it: it is never executed.
    """

    tool_call_id: str
    tool: str
    arguments: str
    write: bool
    deadline_ms: int
    asked_as: str = ""
    stray: bool = False
    given: Given | None = None

    @property
    def known_as(self) -> str:
        """The name under which the proxy knows the call: no two calls of a step share one."""
        return self.asked_as or self.tool_call_id


class Attempt(Struct, frozen=True, omit_defaults=True):
    """One try to submit a step's outputs. `end` is empty while nobody knows: also after the death of who tried."""

    number: int
    token: str
    at_ms: int
    end: Literal["", "accepted", "refused", "not-sent", "not-taken"] = ""
    detail: str = ""


class Step(Struct, frozen=True, omit_defaults=True):
    """One set of calls that a run asked for at once.

    state  `open`: outputs are gathered. `submitting`: an attempt is under way, or its end is not known. `submitted`:
           the API took them. `superseded`: it asked for other calls in their place, or the run ended without them.
    """

    step_id: str
    calls: tuple[Call, ...]
    since_ms: int
    state: Literal["open", "submitting", "submitted", "superseded"] = "open"
    attempts: tuple[Attempt, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """The ids that the API knows its calls by."""
        return frozenset(call.tool_call_id for call in self.calls)

    @property
    def whole(self) -> bool:
        """Whether there is something to hand in for each call."""
        return all(call.given is not None for call in self.calls)


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. `status` is the API's word when it was last asked, `looked_ms` then (0: never); `ended_ms` since when we
    are done with it (0: we are not); `why` says why, where the status does not. `trace` is the span
    that it was started in (a traceparent), `schema` is written from 2 on."""

    backend: str
    thread_id: str
    run_id: str
    created_ms: int
    tenant: str = ""
    user: str = ""
    turn: str = ""
    status: str = "queued"
    looked_ms: int = 0
    expires_ms: int = 0
    ended_ms: int = 0
    why: str = ""
    steps: tuple[Step, ...] = ()
    history: tuple[Event, ...] = ()
    trace: str = ""
    schema: int = 1

    @property
    def step(self) -> Step | None:
        """The newest step."""
        return self.steps[-1] if self.steps else None

    @property
    def posted(self) -> int:
        """How many of its calls have a result that a gateway posted."""
        return sum(
            call.given is not None and call.given.source == "posted" for step in self.steps for call in step.calls
        )

    @property
    def over(self) -> bool:
        """Whether the run has ended, as far as we know."""
        return self.status in ENDED or self.ended_ms > 0


class Turn(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One user's turn, and the run that it made.

    asked      digest of the whole request: the same `client_turn_id` with another one is refused.
    message    the user's words, until they are in the thread.
    thread_id  where; empty until there is a thread.
    run_id     empty until there is a run.
    refused    why the API did not want it; empty while it may yet work out. Asked again, it is tried again.
    trace, schema  as a run's.
    """

    client_turn_id: str
    asked: str
    backend: str
    assistant_id: str
    created_ms: int
    message: str = ""
    thread_id: str = ""
    message_id: str = ""
    run_id: str = ""
    refused: str = ""
    tenant: str = ""
    user: str = ""
    trace: str = ""
    schema: int = 1


class _Mark(Struct, frozen=True):
    """What every version can read of every other one's records."""

    schema: int = 1


def run_key(backend: str, run_id: str) -> str:
    """Return the place of a run."""
    return f"run:{backend}:{run_id}"


_run_decoder = msgspec.msgpack.Decoder(Run)
_turn_decoder = msgspec.msgpack.Decoder(Turn)
_mark_decoder = msgspec.msgpack.Decoder(_Mark)
_encoder = msgspec.msgpack.Encoder()
_Kind = TypeVar("_Kind", Run, Turn)


def encode(record: Run | Turn) -> bytes:
    """Return the bytes that a store keeps."""
    return _encoder.encode(record)


def decode_run(data: bytes) -> Run:
    """Return the run in `data`. Raises `CorruptRecord`, and `NewerRecord` for a newer version's."""
    return _decoded(_run_decoder, data, "run")


def decode_turn(data: bytes) -> Turn:
    """Return the turn in `data`. Raises `CorruptRecord`, and `NewerRecord` for a newer version's."""
    return _decoded(_turn_decoder, data, "turn")


def _decoded(decoder: msgspec.msgpack.Decoder[_Kind], data: bytes, what: str) -> _Kind:
    try:
        record = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse_newer(data, what)
        raise CorruptRecord(f"not a {what} that this version can read: {error}") from error
    if record.schema > SCHEMA:
        _refuse_newer(data, what)
    return record


def _refuse_newer(data: bytes, what: str) -> None:
    """Raise `NewerRecord` for what a newer version wrote, whatever else has changed in it."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        schema = _mark_decoder.decode(data).schema
        if schema > SCHEMA:
            raise NewerRecord(
                f"a {what} of schema {schema}, and this version knows {SCHEMA}: it is left to the version that wrote it"
            )
