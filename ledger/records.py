"""The ledger's records: what is known of one operation, as values that cannot express a bad state.

A record is one of five things, told apart by its type: `InFlight`, `Unknown`, `Completed`, `Free` or `Alias`; no record
at all is *absent*. A completed record whose stored result is gone (past retention, or never kept) is a *tombstone*.
Which event leads from which to which is `ledger.transitions`' business alone; this file only says what they hold and
how they are written down (msgpack maps: fields a later version adds are skipped by an earlier one, design 2.2; a state
that a later version adds, or gives another meaning, has another tag, and an earlier one refuses it, decision 0040).

None of them can come to refer to itself, so the garbage collector is told to leave them alone (`gc=False`, decision
0026): a busy proxy makes dozens for each call, and keeps thousands.

Times in records are wall-clock milliseconds for people; no decision is made from them. Leases and retention are the
store's, by the store's clock.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
from msgspec import Struct

HISTORY_MAX = 32
"""Events kept per record: the first claim and the newest ones; an operation that is tried more often loses the
middle."""

TOKENS_MAX = 64
"""Tokens remembered per record. A token is only asked about while its forward can still be listened to."""

DETAIL_MAX = 200
"""Characters of an error's text that are kept: it may quote what a hostile tool sent."""

RULING_MAX = 700
"""Characters of what an operator said of an unknown, name and reason: bounded where it comes in, and kept whole."""

Unkept = Literal["", "too-large", "streamed", "close-delimited", "never-known"]


class CorruptRecord(Exception):
    """Bytes in the store that this version cannot read. Never to be taken for an absent record."""


class Call(Struct, frozen=True, omit_defaults=True, gc=False):
    """Whose call it is: for logs, listings and correlation, never for decisions. `trace`: the span that it was executed
    in, as a W3C traceparent; empty where that was not traced."""

    tenant: str = ""
    tool: str = ""
    run_id: str = ""
    tool_call_id: str = ""
    thread_id: str = ""
    step_id: str = ""
    user_id: str = ""
    trace: str = ""


class Event(Struct, frozen=True, array_like=True, gc=False):
    """One line of an operation's history."""

    at_ms: int
    what: str
    token: str = ""
    detail: str = ""


class EffectHold(Struct, frozen=True, array_like=True, gc=False):
    """The effect key that an operation holds while in flight or unknown, and for `window_ms` after a success."""

    key: str
    window_ms: int


class ProbePlan(Struct, frozen=True, array_like=True, gc=False):
    """What whoever finds the outcome unknown needs to ask the tool: the GET's target, filled in from the request that
    nobody may have any more, and when to ask first. The rest is the policy's."""

    target: str
    after_ms: int


class Probing(Struct, frozen=True, array_like=True, gc=False):
    """How far the asking has come.

    asked      probes so far.
    waited_ms  of time that has certainly passed since the outcome became unknown.
    next_ms    from this write to the next probe, by the store's clock.
    """

    asked: int
    waited_ms: int
    next_ms: int


class _Base(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="state", gc=False):
    """What every record holds.

    attempt    how many claims there have been; goes down to the tool as a fence (`Holdfast-Attempt`).
    tokens     of all claims, oldest first; the last one is the current claim's. Only an alias may have none.
    effect     the effect key that it holds or held; None where the policy asks for none.
    plan       how to ask the tool what became of it; None where the policy knows no way.
    principal  digest of the credential that asked first, for who attaches later; empty if there was none.
    """

    operation: str
    fingerprint: str
    call: Call
    created_ms: int
    attempt: int
    tokens: tuple[str, ...]
    history: tuple[Event, ...] = ()
    effect: EffectHold | None = None
    plan: ProbePlan | None = None
    principal: str = ""

    @property
    def token(self) -> str:
        """The newest claim's token; empty for an alias that never had one."""
        return self.tokens[-1] if self.tokens else ""


class InFlight(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="in_flight", gc=False):
    """Claimed; a lease is running in the store. `resent`: what became of an earlier attempt is not known, so nothing
    but a final reply can say more than that."""

    resent: bool = False


class Unknown(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="unknown", gc=False):
    """It may or may not have run.

    why        `timeout`, `lost`, `status`, `lease-lapsed` or `shutdown`.
    status     of the reply that settled nothing, if that is what came (else 0).
    listening  a process still holds the tool's connection and renews the lease: the truth may yet come in.
    probing    the tool is being asked, or will be; None if it is not, or no longer.
    resent     the newest attempt was a resend.
    """

    since_ms: int
    why: str
    detail: str = ""
    status: int = 0
    listening: bool = False
    probing: Probing | None = None
    resent: bool = False


class Completed(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="completed", gc=False):
    """It ran, and the tool's final reply is known.

    digest  of the reply (status, type and body), to tell a late repetition from a contradiction.
    late    the reply came after the first caller had gone.
    failed  the policy's `failedIf` says that the body reports a failure.
    unkept  why no result was stored, or empty if one was.
    source  who said so: `reply`, `probe` or `ruling`.
    resent  several attempts carried one key to a tool that honours it: what they bring is one call's reply.
    audit_id  what the tool calls it, where the policy says where to look.
    head    the few fields of the reply that outlive its body (`ledger.result.head_of`).
    """

    completed_ms: int
    status: int
    digest: str
    late: bool = False
    failed: bool = False
    unkept: Unkept = ""
    source: Literal["reply", "probe", "ruling"] = "reply"
    resent: bool = False
    audit_id: str = ""
    head: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def by_ruling(self) -> bool:
        """Whether a person said so."""
        return self.source == "ruling"

    @property
    def succeeded(self) -> bool:
        """Whether the tool did what it was asked: only then does the operation go on holding its effect key."""
        return not self.failed and self.status < 400


class Free(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="free", gc=False):
    """Provably not executed, or answered not-final: may be claimed again, by a new token.

    why     `not-sent`, `not-final`, `withdrawn` (claimed, but never handed to the forward), `probe` or `ruling`.
    status  of the not-final reply (else 0); `timed_out` tells a 504 from a 502 after `not-sent`.
    """

    since_ms: int
    why: str
    detail: str = ""
    status: int = 0
    timed_out: bool = False

    @property
    def by_ruling(self) -> bool:
        """Whether a person said so."""
        return self.why == "ruling"


class Alias(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="alias", gc=False):
    """The same effect as operation `of`, under another key: whoever asks for this one is told of that one."""

    of: str
    since_ms: int


Record = InFlight | Unknown | Completed | Free | Alias

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


class _Mark(Struct, frozen=True):
    state: str = ""


_mark_decoder = msgspec.msgpack.Decoder(_Mark)
_STATES = frozenset(("", *(kind.__struct_config__.tag for kind in get_args(Record))))


def encode(record: Record) -> bytes:
    """Write a record down."""
    return _encoder.encode(record)


def decode(data: bytes, operation: str) -> Record:
    """Read the record of `operation` back. Raises `CorruptRecord`, also if it is another operation's."""
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if (state := _state_of(data)) not in _STATES:
            raise CorruptRecord(
                f"{operation}: a record in the state {state[:40]!r}, which this version does not know: "
                "a newer one wrote it, and can read it"
            ) from error
        raise CorruptRecord(f"{operation}: {error}") from error
    if record.operation != operation:
        raise CorruptRecord(f"{operation}: the record found there is {record.operation}'s")
    if not record.tokens and not isinstance(record, Alias):
        raise CorruptRecord(f"{operation}: a record without a token")
    return record


def _state_of(data: bytes) -> str:
    """Return the state that a record which cannot be read says it is in; empty if it says nothing."""
    try:
        return _mark_decoder.decode(data).state
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
