"""The ledger's records: what is known of one operation, as values that cannot express a bad state.

A record is one of four things, told apart by its type: `InFlight`, `Unknown`, `Completed` or `Free`; no record at all
is *absent*. A completed record whose stored result is gone (past retention, or never kept) is a *tombstone*. Which
event leads from which to which is `ledger.transitions`' business alone; this file only says what they hold and how they
are written down (msgpack maps: fields a later version adds are skipped by an earlier one, design 2.2).

Times in records are wall-clock milliseconds for people; no decision is made from them. Leases and retention are the
store's, by the store's clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

HISTORY_MAX = 32
"""Events kept per record: the first claim and the newest ones; an operation that is tried more often loses the
middle."""

TOKENS_MAX = 64
"""Tokens remembered per record. A token is only asked about while its forward can still be listened to."""

DETAIL_MAX = 200
"""Characters of an error's text that are kept: it may quote what a hostile tool sent."""

Unkept = Literal["", "too-large", "streamed", "close-delimited"]


class CorruptRecord(Exception):
    """Bytes in the store that this version cannot read. Never to be taken for an absent record."""


class Call(Struct, frozen=True, omit_defaults=True):
    """Whose call it is: for logs, listings and correlation, never for decisions."""

    tenant: str = ""
    tool: str = ""
    run_id: str = ""
    tool_call_id: str = ""
    thread_id: str = ""
    step_id: str = ""
    user_id: str = ""


class Event(Struct, frozen=True, array_like=True):
    """One line of an operation's history."""

    at_ms: int
    what: str
    token: str = ""
    detail: str = ""


class _Base(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="state"):
    """What every record holds.

    attempt  how many claims there have been; goes down to the tool as a fence (`Holdfast-Attempt`).
    tokens   of all claims, oldest first; the last one is the current claim's.
    """

    operation: str
    fingerprint: str
    call: Call
    created_ms: int
    attempt: int
    tokens: tuple[str, ...]
    history: tuple[Event, ...] = ()

    @property
    def token(self) -> str:
        """The newest claim's token."""
        return self.tokens[-1]


class InFlight(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="in_flight"):
    """Claimed; a lease is running in the store."""


class Unknown(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="unknown"):
    """It may or may not have run.

    why        `timeout`, `lost`, `status`, `lease-lapsed` or `shutdown`.
    status     of the reply that settled nothing, if that is what came (else 0).
    listening  a process still holds the tool's connection and renews the lease: the truth may yet come in.
    """

    since_ms: int
    why: str
    detail: str = ""
    status: int = 0
    listening: bool = False


class Completed(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="completed"):
    """It ran, and the tool's final reply is known.

    digest  of the reply (status, type and body), to tell a late repetition from a contradiction.
    late    the reply came after the first caller had gone.
    failed  the policy's `failedIf` says that the body reports a failure.
    unkept  why no result was stored, or empty if one was.
    """

    completed_ms: int
    status: int
    digest: str
    late: bool = False
    failed: bool = False
    unkept: Unkept = ""


class Free(_Base, frozen=True, kw_only=True, omit_defaults=True, tag="free"):
    """Provably not executed, or answered not-final: may be claimed again, by a new token.

    why     `not-sent`, `not-final` or `withdrawn` (claimed, but never handed to the forward).
    status  of the not-final reply (else 0); `timed_out` tells a 504 from a 502 after `not-sent`.
    """

    since_ms: int
    why: str
    detail: str = ""
    status: int = 0
    timed_out: bool = False


Record = InFlight | Unknown | Completed | Free

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """Write a record down."""
    return _encoder.encode(record)


def decode(data: bytes, operation: str) -> Record:
    """Read the record of `operation` back. Raises `CorruptRecord`, also if it is another operation's."""
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptRecord(f"{operation}: {error}") from error
    if record.operation != operation:
        raise CorruptRecord(f"{operation}: the record found there is {record.operation}'s")
    if not record.tokens:
        raise CorruptRecord(f"{operation}: a record without a token")
    return record
