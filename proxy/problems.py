"""Everything that Holdfast itself refuses with: one table from kind to status, and its RFC 9457 rendering.

No other file of the proxy names a status of ours, so the contract's table (section 1) can be held against this one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

TYPE_PREFIX = "urn:holdfast:problem:"

Retry = Literal["same-key", "after-resolution", "never"]


class Problem(Struct, frozen=True):
    """One kind of refusal.

    retry         what a retry needs: the same key again, a resolution first, or nothing will help.
    safe_new_key  asking again under a new key cannot run the call twice, because it provably never ran. That *this*
                  request was not forwarded is not enough: an earlier one with the same key may have been.
    error         the Proxy-Status error type (RFC 9209, 2.3) that comes nearest.
    sdk_retry     whether an SDK's blind retry is welcome; else the answer carries `x-should-retry: false`.
    """

    slug: str
    status: int
    title: str
    retry: Retry
    safe_new_key: bool
    error: str
    sdk_retry: bool = False
    retry_after_s: int | None = None


class Kind(enum.Enum):
    """The kinds, with everything that is always the same about each."""

    # fmt: off
    KEY_MISSING = Problem("key-missing", 400, "The call has no identity", "never", True, "http_request_error")
    KEY_REUSED = Problem("key-reused", 422, "The key belongs to another call", "never", False, "http_request_error")
    IN_FLIGHT = Problem(
        "in-flight", 409, "The call is still running",
        "same-key", False, "http_request_denied", sdk_retry=True, retry_after_s=1)
    UNKNOWN_TIMEOUT = Problem(
        "outcome-unknown", 504, "The tool did not answer in time; it may have acted",
        "same-key", False, "http_response_timeout")
    UNKNOWN_LOST = Problem(
        "outcome-unknown", 502, "The tool's answer was lost; it may have acted",
        "after-resolution", False, "connection_terminated")
    UNKNOWN = Problem(
        "outcome-unknown", 409, "The call may or may not have run",
        "after-resolution", False, "http_request_denied")
    NOT_SENT = Problem(
        "not-sent", 502, "The tool could not be reached; the call was not executed",
        "same-key", True, "destination_unavailable", sdk_retry=True)
    NOT_SENT_TIMEOUT = Problem(
        "not-sent", 504, "The tool could not be reached in time; the call was not executed",
        "same-key", True, "connection_timeout", sdk_retry=True)
    EFFECT_DUPLICATE = Problem(
        "effect-duplicate", 409, "Another call had this effect",
        "never", False, "http_request_denied")
    RESULT_UNAVAILABLE = Problem(
        "result-unavailable", 409, "The call ran, and its result is not kept",
        "never", False, "http_request_denied")
    STORE_UNAVAILABLE = Problem(
        "store-unavailable", 503, "The ledger cannot be relied on just now; nothing was forwarded",
        "same-key", False, "proxy_internal_error", sdk_retry=True, retry_after_s=1)
    STORE_FORGOT = Problem(
        "store-unavailable", 503, "The ledger has forgotten calls that may be under way; nothing was forwarded",
        "same-key", False, "proxy_internal_error", sdk_retry=True, retry_after_s=30)
    DENIED = Problem("denied", 403, "The tool is not launched here", "never", False, "http_request_denied")
    NOT_EXECUTED = Problem(
        "not-executed", 409, "The call was not executed; its key is free",
        "same-key", True, "http_request_denied")
    NOT_FOUND = Problem(
        "not-found", 404, "There is no such operation, or it is somebody else's",
        "never", False, "http_request_error")
    TOO_LARGE = Problem(
        "too-large", 413, "The request body is larger than the policy allows",
        "never", False, "http_request_error")
    OVERLOADED = Problem(
        "overloaded", 503, "Too many calls at once; nothing was forwarded",
        "same-key", False, "http_request_denied", sdk_retry=True, retry_after_s=1)
    BAD_REQUEST = Problem("bad-request", 400, "The request cannot be understood", "never", False, "http_request_error")
    METHOD_REFUSED = Problem("bad-request", 405, "The method is not forwarded", "never", False, "http_request_error")
    NOT_IMPLEMENTED = Problem(
        "bad-request", 501, "The transfer coding is not supported",
        "never", False, "http_request_error")
    VERSION_REFUSED = Problem(
        "bad-request", 505, "The HTTP version is not supported",
        "never", False, "http_request_error")
    BODY_TIMEOUT = Problem(
        "body-timeout", 408, "The request body did not arrive in time",
        "same-key", False, "http_request_error", sdk_retry=True)
    READ_LOST = Problem(
        "upstream-lost", 502, "The tool's answer was lost",
        "same-key", False, "connection_terminated", sdk_retry=True)
    READ_TIMEOUT = Problem(
        "upstream-timeout", 504, "The tool did not answer in time",
        "same-key", False, "http_response_timeout", sdk_retry=True)
    INTERNAL = Problem("internal", 500, "Holdfast failed", "same-key", False, "proxy_internal_error")

    # fmt: on


class Refused(Exception):
    """A request is answered by Holdfast itself. Raised where parsing and limits make it impossible to go on. `allow`:
    the methods that would have been understood (RFC 9110, 10.2.1)."""

    def __init__(self, kind: Kind, detail: str, *, close: bool = False, allow: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.close = close
        self.allow = allow


def document(
    kind: Kind, detail: str, operation: str = "", state: str = "", members: Mapping[str, Any] | None = None
) -> bytes:
    """Return the `application/problem+json` body (RFC 9457) for one refusal; `members` are its kind's own."""
    problem = kind.value
    return msgspec.json.encode(
        {
            "type": TYPE_PREFIX + problem.slug,
            "title": problem.title,
            "status": problem.status,
            "detail": detail,
            "operation": operation or None,
            "state": state or None,
            "retry": problem.retry,
            "safe_new_key": problem.safe_new_key,
            **(members or {}),
        }
    )


def headers(kind: Kind, length: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header fields that belong to one refusal, Content-Length included."""
    problem = kind.value
    fields: list[tuple[bytes, bytes]] = [
        (b"Content-Type", b"application/problem+json"),
        (b"Content-Length", b"%d" % length),
        (b"Proxy-Status", b"holdfast; error=" + problem.error.encode()),
    ]
    if not problem.sdk_retry:
        fields.append((b"x-should-retry", b"false"))
    if problem.retry_after_s is not None:
        fields.append((b"Retry-After", b"%d" % problem.retry_after_s))
    return tuple(fields)
