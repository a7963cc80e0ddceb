"""Rulings: a person says what became of a call whose outcome nobody else can tell.

A ruling is swapped in like everything else, so of two at once one wins, and the loser is told what stands. Whoever
waits for the call, on whichever process, is woken by the store. The truth that comes in later is written down as a
conflict, and never undoes a ruling (design 2.2).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ledger import result as results
from ledger import transitions
from ledger.events import Ruled
from ledger.key import Ref
from ledger.records import Record, Unknown
from ledger.result import Headers, Result
from ledger.store import StoreUnavailable
from ledger.transitions import Changed
from policies.model import ResultRules
from proxy.admin_problems import Fault, Refused
from proxy.books import Standing
from proxy.works import SWAPS_MAX, Works

ACTOR_MAX, REASON_MAX = 100, 500
"""Characters. They go into the operation's history, for good; a ticket's number says more than its text."""

HEADERS_MAX = 64
HEADER_BYTES_MAX = 4_096

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff]([\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?|")
_AT = re.compile(r" - at `\$\.?([^`]*)`")


class Response(Struct, frozen=True, forbid_unknown_fields=True):
    """The tool's answer as callers are to get it. `body` is text, sent as it is, or any other JSON, written out;
    `body_base64` is for bytes that are no text."""

    status: int = 200
    headers: dict[str, str] | list[tuple[str, str]] = {}
    body: Any = UNSET
    body_base64: str | UnsetType = UNSET


class Ruling(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator decides: `actor` says so, because of `reason`."""

    outcome: Literal["executed", "not_executed"]
    reason: str
    actor: str
    response: Response | None = None


def read(data: bytes) -> Ruling:
    """Read a ruling. Raises `Refused`, naming the field that is wrong."""
    try:
        ruling = msgspec.json.decode(data, type=Ruling)
    except msgspec.ValidationError as error:
        at = _AT.search(str(error))
        missing = re.search("(?:required|unknown) field `([^`]+)`", str(error))
        named = [part for part in (at[1] if at else "", missing[1] if missing else "") if part]
        raise Refused(
            Fault.BAD_REQUEST, _AT.sub("", str(error)), field=".".join(named) or "body",
            remedy='send {"outcome": "executed" or "not_executed", "reason": "…", "actor": "…"}',
        ) from None  # fmt: skip
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Fault.BAD_REQUEST, f"the body is no JSON: {error}", field="body") from None
    for field, text, at_most in (("reason", ruling.reason, REASON_MAX), ("actor", ruling.actor, ACTOR_MAX)):
        if not text.strip() or len(text) > at_most or not text.isprintable():
            remedy = f"one line of 1 to {at_most} characters, without control characters"
            raise Refused(
                Fault.BAD_REQUEST, f"{field} is required: who rules, and why, is kept", field=field, remedy=remedy
            )
    if ruling.response is not None and ruling.outcome != "executed":
        raise Refused(Fault.BAD_REQUEST, "what was not executed has no response", field="response")
    return ruling


def result_of(response: Response, body_bytes_max: int) -> Result:
    """Return the result that is to be replayed. Raises `Refused`."""
    if not 200 <= response.status <= 599:
        raise Refused(Fault.BAD_REQUEST, "a tool's answer has a status from 200 to 599", field="response.status")
    pairs = response.headers.items() if isinstance(response.headers, dict) else response.headers
    fields = tuple((name.encode(), value.strip().encode()) for name, value in pairs)
    if len(fields) > HEADERS_MAX or sum(len(name) + len(value) for name, value in fields) > HEADER_BYTES_MAX:
        limits = f"{HEADERS_MAX} fields, {HEADER_BYTES_MAX} bytes"
        raise Refused(Fault.BAD_REQUEST, f"more than {limits} of header fields", field="response.headers")
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            detail = f"{name.decode()!r} is no header field (RFC 9110, 5.5)"
            raise Refused(Fault.BAD_REQUEST, detail, field="response.headers")
    body, is_json = _body(response)
    if len(body) > body_bytes_max:
        raise Refused(
            Fault.TOO_LARGE, f"the body has {len(body)} bytes; the policy keeps {body_bytes_max} (result.maxBody)",
            field="response.body", remedy="rule it executed without a response: callers get 409 result-unavailable",
        )  # fmt: skip
    if is_json and not any(name.lower() == b"content-type" for name, _ in fields):
        fields += ((b"Content-Type", b"application/json"),)
    return Result(response.status, b"", results.storable(fields), body)


async def rule(
    works: Works, ref: Ref, standing: Standing | None, ruling: Ruling, result: Result | None, rules: ResultRules,
    replicas: int = 0,
) -> Record:  # fmt: skip
    """Put a ruling in force and return the record that stands from then on.

    Raises `Refused` if the outcome is not unknown (any more), `StoreUnavailable`, after which it may or may not be in
    force, and `CorruptRecord`.
    """
    ruled = Ruled(
        ruling.outcome == "executed", ruling.actor.strip(), ruling.reason.strip(),
        *((result.status, _digest(result), _head(result)) if result is not None else ()),
    )  # fmt: skip
    stored = None if result is None else results.encode(result)
    for _ in range(SWAPS_MAX):
        if standing is None:
            raise Refused(Fault.NOT_FOUND, f"there is no operation {ref.operation}", operation=ref.operation)
        change = transitions.apply(standing.record, ruled, works.now_ms())
        if not isinstance(change, Changed):
            raise _conflict(standing.record)
        answer = await works.books.swap(
            "ruling", ref, standing.version, change.record, rules, stored=stored, replicas=replicas
        )
        if isinstance(answer, str):
            _note(works, change.record, ruling)
            return change.record
        standing = answer
    raise StoreUnavailable(f"the ruling on {ref.operation} was overtaken {SWAPS_MAX} times")


def _note(works: Works, record: Record, ruling: Ruling) -> None:
    call = record.call
    works.metrics.rulings.labels(call.tool, ruling.outcome).inc()
    works.log.event(
        "operation.ruled", level="warning", operation=record.operation, tenant=call.tenant, tool=call.tool,
        run_id=call.run_id, tool_call_id=call.tool_call_id, outcome=ruling.outcome, actor=ruling.actor,
        reason=ruling.reason,
    )  # fmt: skip


def _conflict(record: Record) -> Refused:
    assert not isinstance(record, Unknown)
    state = str(record.__struct_config__.tag)
    last = record.history[-1] if record.history else None
    rulings = [event.detail for event in record.history if event.what == "ruled"]
    detail = f"it is {state.replace('_', ' ')}, not unknown"
    if rulings and state in {"completed", "free"}:
        detail += f"; ruled {rulings[-1]}"
    elif last is not None:
        detail += f"; last: {last.what}{' ' + last.detail if last.detail else ''}"
    return Refused(
        Fault.CONFLICT, detail, remedy="only an unknown outcome can be ruled on; see `holdfast ops show`",
        operation=record.operation, state=state,
    )  # fmt: skip


def _body(response: Response) -> tuple[bytes, bool]:
    """Return the body's bytes, and whether they were given as JSON."""
    if response.body is not UNSET and response.body_base64 is not UNSET:
        raise Refused(Fault.BAD_REQUEST, "body and body_base64 exclude each other", field="response.body_base64")
    if isinstance(response.body_base64, str):
        try:
            return base64.b64decode(response.body_base64, validate=True), False
        except binascii.Error as error:
            raise Refused(Fault.BAD_REQUEST, str(error), field="response.body_base64") from None
    if response.body is UNSET:
        return b"", False
    if isinstance(response.body, str):
        return response.body.encode(), False
    return msgspec.json.encode(response.body), True


def _digest(result: Result) -> str:
    return results.digest(result.status, result.headers, result.body)


def _head(result: Result) -> Headers:
    return results.head_of(result.headers, len(result.body))
