"""One type for whatever a log line tells: who did what to which call, and where that stands."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal[
    "sent",
    "timeout",
    "lost",
    "effect",
    "prevented",
    "unknown",
    "asked",
    "submitted",
    "resubmitted",
    "restart",
    "message",
    "model",
    "told",
    "alarm",
]
"""What a line tells:

sent         a request to act left for a tool             asked        a run requires action
timeout      its caller stopped waiting                   submitted    outputs were handed in for a run
lost         its answer was lost, or was a 5xx            resubmitted  ... once more, or that was noticed
effect       a tool has acted, or was heard to have       message      a user wrote
prevented    a duplicate was answered without the tool    model        a run was worked on by a model
unknown      it may have run                              told         what the coordinator made of a call
restart      a process ended or began                     alarm        Holdfast doubts what it knows
"""

TEXT_MAX = 300
"""Characters of a line that are kept to be shown: enough for its ids, and a gigabyte of lines stays on a small disk."""


class Event(Struct, kw_only=True):
    """What one record of a log tells; what it does not tell is empty, or 0.

    at           Unix milliseconds, None where no date could be found for it.
    file, line   where it begins: a number in the list of files, and a line from 1.
    detail       a remark in the log's own words: a dedup result, a reason, faults.
    calls        the tool call ids that it names, separated by commas.
    took_ms      how long it says that it took; `began` is where a start is told in so many words.
    payload      a hash as written. Two services may hash differently: `hashed` says who did, where that is known.
    """

    kind: Kind
    at: int | None = None
    began: int | None = None
    file: int = 0
    line: int = 0
    service: str = ""
    replica: str = ""
    run: str = ""
    thread: str = ""
    step: str = ""
    call: str = ""
    calls: str = ""
    request: str = ""
    user: str = ""
    conversation: str = ""
    tenant: str = ""
    tool: str = ""
    payload: str = ""
    hashed: str = ""
    audit: str = ""
    operation: str = ""
    attempt: int = 0
    status: int = 0
    took_ms: int = 0
    dedup: str = ""
    detail: str = ""
    text: str = ""


class Metric(Struct, frozen=True, kw_only=True):
    """A line of a metric snapshot: a value beside what it is at other times, `low` to `high`, in `unit`."""

    name: str
    value: float
    low: float
    high: float
    unit: str = ""
    window: str = ""
    file: int = 0
    line: int = 0

    @property
    def moved(self) -> float:
        """Return how many times its baseline it is, or the inverse of that below it; 1 within the baseline."""
        if self.low <= self.value <= self.high:
            return 1.0
        near, far = (self.high, self.value) if self.value > self.high else (self.value, self.low)
        return far / near if near > 0 else float("inf")
