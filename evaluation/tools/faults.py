"""The ways in which a simulated tool misbehaves, by the names that scripts and the `X-Simulate` header use."""

from __future__ import annotations

import enum

from msgspec import Struct


class Fault(enum.Enum):
    """What can go wrong with one request. The first two are about time, and go together with any of the others.

    OVER_LIMIT        the effect comes after the caller's time limit.
    SLOW              it takes longer than usual.
    UNAUTHORIZED      401 at once, and no effect.
    THROTTLED         429 with Retry-After at once, and no effect.
    NOT_APPLIED_503   503 at once, and no effect.
    NOT_APPLIED_500   500 in place of the effect.
    NOT_APPLIED_CUT   the connection is cut in place of the effect.
    IS_ERROR          200 with `{"isError": true}` in place of the effect.
    APPLIED_THEN_CUT  the effect, and the connection is cut.
    APPLIED_THEN_500  the effect, and a 500.
    LATE_ANSWER       the effect in time, and its answer after the caller's time limit.
    """

    OVER_LIMIT = "over-limit"
    SLOW = "slow"
    UNAUTHORIZED = "unauthorized"
    THROTTLED = "throttled"
    NOT_APPLIED_503 = "not-applied-503"
    NOT_APPLIED_500 = "not-applied-500"
    NOT_APPLIED_CUT = "not-applied-cut"
    IS_ERROR = "is-error"
    APPLIED_THEN_CUT = "applied-then-cut"
    APPLIED_THEN_500 = "applied-then-500"
    LATE_ANSWER = "late-answer"


class End(Struct, frozen=True):
    """How a request ends that is befallen by a fault. `status` is what it is answered, 0 for a connection that is cut,
    None for the tool's own answer; `at_once` says that the tool does not even begin."""

    applied: bool
    status: int | None
    at_once: bool = False


ENDS = {
    Fault.UNAUTHORIZED: End(applied=False, status=401, at_once=True),
    Fault.THROTTLED: End(applied=False, status=429, at_once=True),
    Fault.NOT_APPLIED_503: End(applied=False, status=503, at_once=True),
    Fault.NOT_APPLIED_500: End(applied=False, status=500),
    Fault.NOT_APPLIED_CUT: End(applied=False, status=0),
    Fault.IS_ERROR: End(applied=False, status=200),
    Fault.APPLIED_THEN_CUT: End(applied=True, status=0),
    Fault.APPLIED_THEN_500: End(applied=True, status=500),
    Fault.LATE_ANSWER: End(applied=True, status=None),
}
"""The faults of which at most one befalls a request: of several that would, the first."""

FINE = End(applied=True, status=None)
"""How a request ends that none of them befalls."""
