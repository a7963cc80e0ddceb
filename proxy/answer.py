"""What a caller is answered: the tool's reply, a stored result, or a refusal, each with Holdfast's own fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ledger.result import Result
from proxy import problems
from proxy.fields import from_tool
from proxy.forward import Headers, Replied, ReplyStream
from proxy.problems import Kind

OPERATIONS = b"/_holdfast/operations/"
"""Where an operation is attached to (contract, section 1), its id following."""

ACCEPTED = 202

Outcome = Literal[
    "executed", "joined", "replayed", "unknown", "not-executed", "refused", "unprotected", "read"
]  # fmt: skip
"""`Holdfast-Outcome` (contract, section 1); `read` is for logs and metrics only, and the rest of the list comes
later."""


class Answer(Struct):
    """An HTTP answer, ready to be written.

    `headers` lack connection fields and, unless the tool set it, Content-Length; `proxy.response` frames the body.
    `stream` yields what follows `body`. `close` asks that the caller's connection end with this answer. The rest is for
    the log: how a duplicate was prevented, the seconds that the tool took (None if it was not asked), its status, the
    attempt's number, and the tool's own id for what it did.
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


def of_reply(replied: Replied, operation: str, outcome: Outcome) -> Answer:
    """Pass the tool's reply on to the caller whose request was forwarded, or who needs no key."""
    ours = _ours(operation, outcome) if operation else ()
    return Answer(
        replied.status, replied.reason, from_tool(replied.headers) + ours, replied.body, outcome,
        stream=replied.stream, trailers=replied.trailers,
    )  # fmt: skip


def of_result(result: Result, operation: str, outcome: Outcome, *, late: bool = False) -> Answer:
    """Give a stored result to somebody else."""
    ours = _ours(operation, outcome)
    if outcome == "replayed":
        ours += ((b"Idempotent-Replayed", b"true"),)
    if late:
        ours += ((b"Holdfast-Late", b"true"),)
    return Answer(result.status, result.reason, result.headers + ours, result.body, outcome, late=late)


def refusal(
    kind: Kind, detail: str, operation: str = "", outcome: Outcome = "refused", *, state: str = "", close: bool = False,
    members: Mapping[str, Any] | None = None,
) -> Answer:  # fmt: skip
    """Refuse with a problem document (RFC 9457)."""
    body = problems.document(kind, detail, operation, state, members)
    fields = problems.headers(kind, len(body))
    if operation:
        fields += _ours(operation, outcome)
    return Answer(kind.value.status, b"", fields, body, outcome, problem=kind.value.slug, close=close)


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


def _ours(operation: str, outcome: Outcome) -> Headers:
    return (b"Holdfast-Operation", operation.encode()), (b"Holdfast-Outcome", outcome.encode())
