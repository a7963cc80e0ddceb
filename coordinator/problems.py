"""What the coordinator refuses with: one table from kind to status, rendered as RFC 9457 problems."""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec
from msgspec import Struct

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:holdfast:problem:"

Retry = Literal["same-key", "never"]


class Problem(Struct, frozen=True):
    """One kind of refusal. `retry`: whether the very same request may succeed later."""

    slug: str
    status: int
    title: str
    retry: Retry = "never"
    retry_after_s: int | None = None


class Kind(enum.Enum):
    """The kinds."""

    # fmt: off
    BAD_REQUEST = Problem("bad-request", 400, "The request cannot be understood")
    UNAUTHORIZED = Problem("unauthorized", 401, "The coordinator wants its token, or a valid signature")
    FORBIDDEN = Problem("forbidden", 403, "The coordinator does not answer this page or host")
    NOT_FOUND = Problem("not-found", 404, "There is no such thing")
    METHOD = Problem("bad-request", 405, "The method is not allowed here")
    BODY_TIMEOUT = Problem("body-timeout", 408, "The request body did not arrive in time", "same-key")
    CONFLICT = Problem("conflict", 409, "The call was settled with another output")
    THREAD_BUSY = Problem("thread-busy", 409, "The thread has a run that has not ended", "same-key", 1)
    TURN_PENDING = Problem("turn-pending", 409, "The turn is being started", "same-key", 1)
    RUN_ENDED = Problem("run-ended", 409, "The run cannot be cancelled any more")
    TOO_LARGE = Problem("too-large", 413, "The request body is too large")
    MEDIA_TYPE = Problem("bad-request", 415, "The body must be JSON")
    TURN_REUSED = Problem("turn-reused", 422, "The client_turn_id belongs to another request")
    UNKNOWN_RUN = Problem("unknown-run", 422, "The run is not tracked")
    UNKNOWN_CALL = Problem("unknown-call", 422, "The run has asked for no such call", "same-key")
    UNCORRELATED = Problem("uncorrelated", 422, "The output belongs to no one call")
    BACKEND_REFUSED = Problem("backend-refused", 422, "The assistants API refuses it")
    QUEUE_FULL = Problem("queue-full", 429, "Too many outputs wait", "same-key", 1)
    INTERNAL = Problem("internal", 500, "Holdfast failed", "same-key")
    BACKEND_AWAY = Problem("backend-unavailable", 502, "The assistants API does not answer", "same-key", 1)
    STORE_UNAVAILABLE = Problem("store-unavailable", 503, "The store does not answer", "same-key", 1)
    STOPPING = Problem("stopping", 503, "This coordinator is stopping; ask another", "same-key", 1)
    # fmt: on


class Refused(Exception):
    """A request gets a problem for an answer. `field` is what is wrong in it, `remedy` what to do about it."""

    def __init__(self, kind: Kind, detail: str, *, field: str = "", remedy: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.remedy = remedy
        self.more = more

    def document(self) -> bytes:
        """Return the body."""
        problem = self.kind.value
        told = {
            "type": TYPE_PREFIX + problem.slug, "title": problem.title, "status": problem.status,
            "detail": self.detail, "field": self.field, "remedy": self.remedy, "retry": problem.retry, **self.more,
        }  # fmt: skip
        return msgspec.json.encode({name: value for name, value in told.items() if value not in ("", None)})

    def headers(self) -> dict[str, str]:
        """Return the header fields that belong to it."""
        after_s = self.kind.value.retry_after_s
        headers = {} if after_s is None else {"Retry-After": str(after_s)}
        if self.kind.value.retry == "never":
            headers["x-should-retry"] = "false"
        return headers
