"""What a request to a simulated tool says: who asks, in which run, under which operation, and for what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from msgspec import Struct

from evaluation.tools.script import Subject
from ledger.fingerprint import canonical


class Ask(Struct, frozen=True, kw_only=True):
    """One request, as its header fields and its body say; what they do not say is empty.

    `operation` and `attempt` are what Holdfast announces (`Holdfast-Operation`, `Holdfast-Attempt`), 0 for no attempt;
    `payload_hash` is that of the body, see there.
    """

    tool: str
    tenant: str = ""
    user_id: str = ""
    thread_id: str = ""
    run_id: str = ""
    step_id: str = ""
    tool_call_id: str = ""
    request_id: str = ""
    operation: str = ""
    attempt: int = 0
    payload_hash: str


FIELDS = {
    "tenant": "X-Tenant-Id",
    "user_id": "X-User-Id",
    "thread_id": "X-Thread-Id",
    "run_id": "X-Run-Id",
    "step_id": "X-Step-Id",
    "tool_call_id": "X-Tool-Call-Id",
    "request_id": "X-Request-Id",
    "operation": "Holdfast-Operation",
}

SUBJECTS: dict[Subject, str] = {
    "tenant": "tenant",
    "user": "user_id",
    "thread": "thread_id",
    "run": "run_id",
    "call": "tool_call_id",
    "payload": "payload_hash",
}


def payload_hash(body: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a JSON body in canonical form (RFC 8785), or as it is
    where it has none: the order of members and white space do not matter."""
    form = canonical(body)
    return hashlib.sha256(body if form is None else form).hexdigest()[:16]


def read_ask(tool: str, headers: Mapping[str, str], body: bytes) -> Ask:
    """Return what a request says."""
    told = {name: headers.get(field, "") for name, field in FIELDS.items()}
    attempt = headers.get("Holdfast-Attempt", "")
    return Ask(
        tool=tool,
        attempt=int(attempt) if attempt.isdecimal() else 0,
        payload_hash=payload_hash(body),
        **told,
    )


def subject_of(ask: Ask, parts: tuple[Subject, ...]) -> str:
    """Return what draws about a request depend on."""
    return "\n".join(getattr(ask, SUBJECTS[part]) for part in parts)


def call_of(ask: Ask, key: str = "") -> str:
    """Return by which name a request's call is counted: its operation, its idempotency key, its run and tool call, or
    what it asks for, whichever it has first; the tool's name comes before it."""
    ids = f"{ask.run_id}/{ask.tool_call_id}" if ask.run_id and ask.tool_call_id else ""
    return f"{ask.tool}:{ask.operation or key or ids or ask.payload_hash}"
