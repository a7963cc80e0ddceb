"""The account of an incident, as `-o json` has it. docs/triage.md documents it: fields may be added, none changes."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from evaluation.triage.gaps import Gap
from evaluation.triage.weighing import Join, Role, Verdict

SCHEMA = "holdfast.triage/v1"


class Moment(Struct, frozen=True, kw_only=True):
    """A line of a timeline."""

    at: str
    service: str
    kind: str
    text: str
    line: str


class Done(Struct, frozen=True, kw_only=True):
    """One execution. `time_of` says whether `at` is when it took effect or when a caller had its answer; `began` is a
    guess from a duration where `began_guessed`."""

    audit_id: str
    at: str
    time_of: Literal["effect", "answer"]
    began: str
    began_guessed: bool
    service: str
    request_id: str
    attempt: int
    operation: str
    run_id: str
    tool_call_id: str
    lines: tuple[str, ...]


class Observation(Struct, frozen=True, kw_only=True):
    """One piece of evidence; `weight` is 3 (the line says it), 2 (hard to explain otherwise), 1 (it fits) or 0."""

    says: str
    weight: int
    joined_by: Join
    lines: tuple[str, ...]


class Mechanism(Struct, frozen=True, kw_only=True):
    """One way in which it may have come about, weighed."""

    mechanism: str
    title: str
    role: Role
    verdict: Verdict
    evidence_for: tuple[Observation, ...]
    evidence_against: tuple[Observation, ...]
    settled_by: str


class Finding(Struct, frozen=True, kw_only=True):
    """One call that ran more than once. `cause` is the mechanism that is shown or likely, empty if none is; `open` are
    those that these logs leave possible then. `runs_by` says how its runs were found."""

    number: int
    says: str
    tool: str
    tenant: str
    user: str
    conversation: str
    payload_hash: str
    runs: tuple[str, ...]
    runs_by: Literal["ids", "time", "unknown"]
    executions_count: int
    spread_ms: int
    cause: str
    cause_verdict: str
    open: tuple[str, ...]
    executions: tuple[Done, ...]
    mechanisms: tuple[Mechanism, ...]
    timeline: tuple[Moment, ...]


class Submission(Struct, frozen=True, kw_only=True):
    """Outputs that were handed in more than once: no effect of a tool, and no finding."""

    run_id: str
    tool_call_id: str
    count: int
    says: str
    lines: tuple[str, ...]


class Again(Struct, frozen=True, kw_only=True):
    """The same effect too far apart to be called one call: intended or not, these logs do not say."""

    says: str
    gap_ms: int
    tool: str
    payload_hash: str
    audit_ids: tuple[str, str]
    runs: tuple[str, str]


class Moved(Struct, frozen=True, kw_only=True):
    """A metric of a snapshot that was away from its baseline, `times` as far."""

    name: str
    value: float
    baseline: tuple[float, float]
    unit: str
    times: float | None
    window: str
    line: str


class Input(Struct, frozen=True, kw_only=True):
    """What was read of a file: `events` of its `records` told of calls; `skipped` lines are no part of a log."""

    file: str
    lines: int
    records: int
    events: int
    metrics: int
    skipped: int


class Counted(Struct, frozen=True, kw_only=True):
    """How much there was in all, whatever is told one by one. `surplus` counts executions beyond each call's first."""

    executions: int
    calls_run_twice: int
    surplus: int
    causes: dict[str, int]
    repeats: int
    submissions_repeated: int
    prevented: int


class Account(Struct, frozen=True, kw_only=True):
    """Everything."""

    schema: str
    read: tuple[Input, ...]
    counts: Counted
    timeline: tuple[Moment, ...]
    findings: tuple[Finding, ...]
    submissions: tuple[Submission, ...]
    repeats: tuple[Again, ...]
    metrics: tuple[Moved, ...]
    gaps: tuple[Gap, ...]
    caveats: tuple[str, ...]
