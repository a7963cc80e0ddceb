"""What a caller is answered: the tool's reply, a stored result, or a refusal, each with Holdfast's own fields."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ledger.records import Completed
from ledger.result import SECTIONS_MAX, Result
from proxy import problems
from proxy.fields import from_tool
from proxy.forward import Headers, Replied, ReplyStream
from proxy.problems import Kind

OPERATIONS = b"/_holdfast/operations/"
"""Where an operation is attached to (contract, section 1), its id following."""

ACCEPTED = 202

Outcome = Literal[
    "executed", "joined", "replayed", "unknown", "not-executed", "refused", "unprotected", "observed", "read"
]  # fmt: skip
"""`Holdfast-Outcome` (contract, section 1); `read` is for logs and metrics only."""


UNKEPT = {
    "": "its result is past retention, or encrypted with a key that is not here",
    "close-delimited": "its end could not be told from a cut",
    "never-known": "nobody knows what the tool answered",
}
"""Why a result cannot be given, by what the record says of it."""

PASSED_ON = ("too-large", "streamed")
"""Replies that went to their first caller piece by piece: what had come in when that began is all that was digested."""


class Answer(Struct):
    """An HTTP answer, ready to be written.

    `headers` lack connection fields and, unless the tool set it, Content-Length; `proxy.response` frames the body.
    `stream` yields what follows `body`. `close` asks that the caller's connection end with this answer. The rest is for
    the log: how a duplicate was prevented, the seconds that the tool took (None if it was not asked), its status, the
    attempt's number, the tool's own id for what it did, and the operation that had this call's effect.
    """

    status: int
    reason: bytes
    headers: Headers
    body: bytes
    outcome: Outcome
    problem: str = ""
    stream: ReplyStream | None = None
    trailers: Headers = ()
    close: bool = False
    late: bool = False
    how: str = ""
    upstream_s: float | None = None
    upstream_status: int = 0
    attempt: int = 0
    audit_id: str = ""
    effect_of: str = ""


def of_reply(replied: Replied, operation: str, outcome: Outcome) -> Answer:
    """Pass the tool's reply on to the caller whose request was forwarded, or who needs no key."""
    ours = _ours(operation, outcome) if operation else ()
    return Answer(
        replied.status, replied.reason, _passed(replied.headers) + ours, replied.body, outcome,
        stream=replied.stream, trailers=_passed(replied.trailers),
    )  # fmt: skip


def of_result(result: Result, operation: str, outcome: Outcome, *, late: bool = False, effect_of: str = "") -> Answer:
    """Give a stored result to somebody else; `effect_of` names the operation whose result it is, if it is another's."""
    ours = _ours(operation, outcome, effect_of)
    if outcome == "replayed":
        ours += ((b"Idempotent-Replayed", b"true"),)
    if late:
        ours += ((b"Holdfast-Late", b"true"),)
    return Answer(
        result.status, result.reason, result.headers + ours, result.body, outcome, late=late, effect_of=effect_of
    )


def refusal(
    kind: Kind, detail: str, operation: str = "", outcome: Outcome = "refused", *, state: str = "", close: bool = False,
    members: Mapping[str, Any] | None = None, effect_of: str = "",
) -> Answer:  # fmt: skip
    """Refuse with a problem document (RFC 9457). `effect_of` names the operation that has this one's effect."""
    if effect_of:
        members = {**(members or {}), "first_operation": effect_of}
    body = problems.document(kind, detail, operation, state, members)
    fields = problems.headers(kind, len(body))
    if operation:
        fields += _ours(operation, outcome, effect_of)
    return Answer(
        kind.value.status, b"", fields, body, outcome, problem=kind.value.slug, close=close, effect_of=effect_of
    )


def unknown(
    kind: Kind, detail: str, operation: str, *, can_end: bool, state: str = "unknown", effect_of: str = ""
) -> Answer:
    """Say that the call may or may not have run; `can_end`: to ask again may bring its end without an operator."""
    members = {"can_end": can_end}
    return refusal(kind, detail, operation, "unknown", state=state, members=members, effect_of=effect_of)


def unavailable(record: Completed, operation: str, effect_of: str = "") -> Answer:
    """Say what is known of a call that ran and whose result cannot be given."""
    why = UNKEPT.get(record.unkept, f"it was {record.unkept}")
    kept = {
        "status": record.status or None,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in record.head],
        "digest": None if record.unkept in PASSED_ON else record.digest or None,
        "audit_id": record.audit_id or None,
    }
    detail = f"it ran (status {record.status}); {why}" if record.status else f"it ran; {why}"
    given = refusal(
        Kind.RESULT_UNAVAILABLE, detail, operation, state="completed", members={"result": kept}, effect_of=effect_of
    )
    given.audit_id = record.audit_id
    return given


def pending(operation: str, detail: str, state: str, *, preferred: bool = False) -> Answer:
    """Say that there is no result yet, and where it will be; `preferred`: the caller asked to be told so
    (`Prefer: respond-async`, RFC 7240, 4.1)."""
    body = msgspec.json.encode({"operation": operation, "state": state, "detail": detail, "retry": "same-key"})
    fields = (
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Location", OPERATIONS + operation.encode()),
        (b"Retry-After", b"1"),
        (b"Proxy-Status", b"holdfast"),
        *_ours(operation, "unknown"),
    )
    if preferred:
        fields += ((b"Preference-Applied", b"respond-async"),)
    return Answer(ACCEPTED, b"", fields, body, "unknown")


_passed = functools.lru_cache(SECTIONS_MAX)(from_tool)


def _ours(operation: str, outcome: Outcome, effect_of: str = "") -> Headers:
    ours = (b"Holdfast-Operation", operation.encode()), (b"Holdfast-Outcome", outcome.encode())
    return (*ours, (b"Holdfast-Effect-Of", effect_of.encode())) if effect_of else ours
