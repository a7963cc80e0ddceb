"""What becomes of one attempt to call a tool: an output to hand in, and whether to try again. Values in, values out.

| the attempt ended with                              | try again | handed in after the last try                  |
|-----------------------------------------------------|-----------|-----------------------------------------------|
| 2xx                                                 | no        | the tool's JSON                               |
| no answer in time, no connection, a broken one      | yes       | an error, `timed-out` or `unreachable`        |
| 429, 502, 503, 504                                  | yes       | an error with the answer                      |
| anything with `x-should-retry: false`               | no        | an error with the answer                      |
| 409 with Retry-After: still at it                   | yes       | an error with the answer                      |
| a problem `outcome-unknown`                         | where its `can_end` says so | an error, `unknown`         |
| any other status                                    | no        | an error with the answer                      |

A try after a time-out is what the seed's worker pool does: it takes a call that was not answered for one that was not
carried out. The last three rows but one are what a service in front of the tools may say, and no tool of ours does.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

from evaluation.variants.exchange import Lost, NotSent, Replied

RETRIED = frozenset({429, 502, 503, 504})
UNKNOWN = "urn:holdfast:problem:outcome-unknown"
AFTER_S_MAX = 5.0
"""A longer Retry-After is cut to this: a run waits meanwhile."""


class Ended(Struct, frozen=True):
    """What an attempt came to. `after_s` is the tool's own wish for the next one."""

    output: str
    again: bool
    after_s: float = 0.0
    outcome: str = "answered"


class _Problem(Struct):
    type: str = ""
    detail: str = ""
    operation: str | None = None
    can_end: bool = False


def ended(told: Replied | NotSent | Lost) -> Ended:
    """Return what an attempt came to."""
    match told:
        case NotSent(why=why):
            return Ended(_error({"outcome": "unreachable", "detail": why}), again=True, outcome="unreachable")
        case Lost(why=why, timed_out=timed_out):
            outcome = "timed-out" if timed_out else "unreachable"
            return Ended(_error({"outcome": outcome, "detail": why}), again=True, outcome=outcome)
        case Replied(status=status, body=body) if 200 <= status < 300:
            return Ended(_json_or_text(body), again=False)
        case Replied():
            return _failed(told)


def bad_arguments(call: str, why: str) -> str:
    """Return the output for a call whose arguments no tool would understand."""
    return _error({"outcome": "refused", "tool_call_id": call, "detail": why})


def _failed(told: Replied) -> Ended:
    problem = _problem(told)
    after_s = _seconds(told.fields.get("retry-after", ""))
    if problem.type == UNKNOWN:
        told_of = {"operation": problem.operation, "do_not_repeat": True, "detail": problem.detail}
        return Ended(_error({"outcome": "unknown", **told_of}), problem.can_end, after_s, "unknown")
    again = told.status in RETRIED or (told.status == 409 and "retry-after" in told.fields)
    if told.fields.get("x-should-retry") == "false":
        again = False
    error = {"outcome": "failed", "status": told.status, "body": _plain(told.body)}
    return Ended(_error(error), again=again, after_s=after_s, outcome="failed")


def _problem(told: Replied) -> _Problem:
    if told.fields.get("content-type", "").partition(";")[0] != "application/problem+json":
        return _Problem()
    try:
        return msgspec.json.decode(told.body, type=_Problem)
    except msgspec.MsgspecError:
        return _Problem()


def _seconds(field: str) -> float:
    return min(float(field), AFTER_S_MAX) if field.isascii() and field.isdigit() else 0.0


def _plain(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")


def _json_or_text(body: bytes) -> str:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        return body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.dumps(body.decode(errors="replace"))


def _error(error: dict[str, Any]) -> str:
    return msgspec.json.encode({"error": error}).decode()
