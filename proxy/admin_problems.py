"""What the admin port refuses with: one table from kind to status, rendered as RFC 9457 problems.

Beside `proxy.problems`, which is the same for callers of tools: an operator is told which field is wrong and what to do
about it, and nothing about keys and retries.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
from msgspec import Struct

from proxy.problems import TYPE_PREFIX

CONTENT_TYPE = "application/problem+json"


class Problem(Struct, frozen=True):
    """One kind of refusal."""

    slug: str
    status: int
    title: str


class Fault(enum.Enum):
    """The kinds."""

    # fmt: off
    BAD_REQUEST = Problem("bad-request", 400, "The request cannot be understood")
    UNAUTHORIZED = Problem("unauthorized", 401, "The admin port wants its token")
    FORBIDDEN = Problem("forbidden", 403, "The admin port does not answer this page or host")
    NOT_FOUND = Problem("not-found", 404, "There is no such thing")
    METHOD = Problem("bad-request", 405, "The method is not allowed here")
    BODY_TIMEOUT = Problem("body-timeout", 408, "The request body did not arrive in time")
    CONFLICT = Problem("conflict", 409, "Something else stands there")
    TOO_LARGE = Problem("too-large", 413, "The request body is too large")
    MEDIA_TYPE = Problem("bad-request", 415, "The body must be JSON")
    POLICIES = Problem("policies-rejected", 422, "The policies have faults; the last good set stays in force")
    INTERNAL = Problem("internal", 500, "Holdfast failed")
    OVERLOADED = Problem("overloaded", 503, "Too many listeners")
    STORE_UNAVAILABLE = Problem("store-unavailable", 503, "The ledger does not answer")
    # fmt: on


class Refused(Exception):
    """A request to the admin port gets a problem for an answer. `field` is what is wrong in the request, `remedy` what
    to do about it; `more` becomes further members."""

    def __init__(self, fault: Fault, detail: str, *, field: str = "", remedy: str = "", **more: Any) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.field = field
        self.remedy = remedy
        self.more = more

    def document(self) -> bytes:
        """Return the body."""
        problem = self.fault.value
        told = {"type": TYPE_PREFIX + problem.slug, "title": problem.title, "status": problem.status,
                "detail": self.detail, "field": self.field, "remedy": self.remedy, **self.more}  # fmt: skip
        return msgspec.json.encode({name: value for name, value in told.items() if value not in ("", None)})
