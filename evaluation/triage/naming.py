"""What others call the things that an event has: the names of fields in their logs, and the values they write."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

ALIASES = {
    "run": ("run_id", "run", "runid"),
    "thread": ("thread_id", "thread", "threadid"),
    "step": ("step_id", "step", "stepid"),
    "call": ("tool_call_id", "call", "tool_call", "call_id"),
    "calls": ("tool_calls", "tool_call_ids", "calls"),
    "request": ("request_id", "req", "req_id", "x_request_id", "requestid"),
    "user": ("user_id", "user", "userid"),
    "conversation": ("conversation_id", "conversation", "session_id"),
    "tenant": ("tenant_id", "tenant"),
    "tool": ("tool", "tool_name", "action", "function"),
    "payload": ("payload_hash", "normalized_payload_hash", "arguments_hash", "args_hash", "payload"),
    "audit": ("tool_audit_id", "audit_id"),
    "operation": ("operation", "holdfast_operation"),
    "attempt": ("attempt", "retry", "try"),
    "status": ("http_status", "status_code", "upstream_status", "status"),
    "took_ms": ("latency_ms", "elapsed_ms", "duration_ms", "took_ms"),
    "replica": ("replica", "instance", "pod", "host", "hostname", "owner", "worker"),
    "dedup": ("dedup_result", "dedup", "idempotency_result"),
    "detail": ("reason", "error", "detail", "dedup_key"),
}
"""Names in order of how sure they are; the first that a record has counts. Case and hyphens do not matter."""

FIELD_OF = {name: (field, rank) for field, names in ALIASES.items() for rank, name in enumerate(names)}
NUMBERS = {"attempt", "status", "took_ms"}
EXTERNAL = re.compile(r"external_\w*id|\w+_audit_id")
VALUE_MAX = 200
"""Characters of a value that are kept; longer ones are no ids."""

NUMBER_MAX = 2**53
NAMES_MAX = 2_000
"""Names of fields that are remembered; logs have a few hundred."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(text: str, longest: int = VALUE_MAX) -> str:
    """Return text that cannot steer a terminal, cut to a length."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut if cut.isprintable() else CONTROL.sub(" ", cut)


def fields_in(pairs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event's fields that a record's pairs fill, objects within looked into once."""
    found: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for name, value in _flat(pairs):
        place = _place_of(name)
        if place is None:
            continue
        field, rank = place
        if rank >= ranks.get(field, 99):
            continue
        read = number(value) if field in NUMBERS else written(value)
        if read:
            found[field], ranks[field] = read, rank
    return found


def _flat(pairs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in pairs.items():
        if isinstance(value, dict):
            yield from ((inner, deep) for inner, deep in value.items() if not isinstance(deep, dict))
        else:
            yield name, value


@functools.lru_cache(NAMES_MAX)
def _place_of(name: str) -> tuple[str, int] | None:
    """Return the field that a name fills, and how sure that is: 0 is surest."""
    known = name.lower().replace("-", "_")
    return FIELD_OF.get(known) or (("audit", len(ALIASES["audit"])) if EXTERNAL.fullmatch(known) else None)


def written(value: object) -> str:
    """Return a value as an id: text as it stands, the members of a list with commas between, whole numbers."""
    match value:
        case str():
            return plain(value.strip("[]\"'"))
        case bool() | None:
            return ""
        case int():
            return plain(str(value)) if abs(value) < NUMBER_MAX else ""
        case list():
            return plain(",".join(item for item in value if isinstance(item, str)))
        case _:
            return ""


def number(value: object) -> int:
    """Return a value as a whole number, 0 if it is none that counts anything."""
    if isinstance(value, str):
        digits = re.match(r"\d{1,15}(?:\.\d+)?", value)
        value = float(digits[0]) if digits else 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return round(value) if 0 <= value < NUMBER_MAX else 0
