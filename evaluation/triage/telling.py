"""From what was found to how the account has it: places become `file:line`, times RFC 3339, a story a finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from evaluation.triage.account import Again, Done, Finding, Mechanism, Moment, Moved, Observation
from evaluation.triage.clusters import Repeat
from evaluation.triage.event import Event, Metric
from evaluation.triage.executions import Execution
from evaluation.triage.story import Story
from evaluation.triage.weighing import Evidence, Weighed, seconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(ms: int | None) -> str:
    """Return Unix milliseconds as `2026-03-19T14:12:19.041Z`, empty for none."""
    if ms is None:
        return ""
    try:
        return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return ""


SHOWN = (
    "tool", "run", "step", "call", "calls", "request", "operation", "attempt", "user", "payload", "audit", "status",
    "dedup", "replica", "detail",
)  # fmt: skip


def told(event: Event) -> str:
    """Return a line as it stands, or where that is JSON, its service and what it says as pairs: for people to read."""
    if not event.text.startswith(("{", "[")):
        return event.text
    pairs = [f"{name}={value}" for name in SHOWN if (value := getattr(event, name))]
    return " ".join([event.service or "?", *pairs])


def cause_of(weighed: Sequence[Weighed]) -> Weighed | None:
    """Return the cause that is shown or likely, None if the lines leave it open."""
    return next((one for one in weighed if one.role == "cause" and one.verdict in {"shown", "likely"}), None)


class Teller:
    """Tells of places in the files that it was given the names of."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def lines(self, places: Iterable[tuple[int, int]]) -> tuple[str, ...]:
        """Return places as `file:line`, in their order, each once."""
        return tuple(dict.fromkeys(f"{self._names[file]}:{line}" for file, line in places))

    def timeline(self, events: Iterable[Event]) -> tuple[Moment, ...]:
        """Return events in the order of their times, each line once."""
        once = {(event.file, event.line, event.audit): event for event in events}
        ordered = sorted(once.values(), key=lambda event: (event.at is None, event.at or 0, event.file, event.line))
        return tuple(
            Moment(
                at=rfc3339(event.at), service=event.service, kind=event.kind, text=told(event),
                line=f"{self._names[event.file]}:{event.line}",
            )
            for event in ordered
        )  # fmt: skip

    def finding(self, number: int, story: Story, weighed: Sequence[Weighed]) -> Finding:
        """Return one cluster as a finding."""
        one = story.executions[0]
        cause = cause_of(weighed)
        times = [done.at for done in story.executions if done.at is not None]
        left = {"possible", "not excluded"}
        names = ", ".join(done.name for done in story.executions)
        more = f" and {story.size - len(story.executions)} more" if story.size > len(story.executions) else ""
        return Finding(
            number=number, says=f"{one.tool or 'a tool'} ran {story.size} times: {names}{more}", tool=one.tool,
            tenant=one.tenant, user=one.user, conversation=one.conversation, payload_hash=one.payload, runs=story.runs,
            runs_by="time" if story.by_time else "ids" if story.runs else "unknown", executions_count=story.size,
            spread_ms=max(times) - min(times) if times else 0, cause=cause.mechanism if cause else "",
            cause_verdict=cause.verdict if cause else "",
            open=() if cause else tuple(w.mechanism for w in weighed if w.role == "cause" and w.verdict in left),
            executions=tuple(self._done(done, story) for done in story.executions),
            mechanisms=tuple(self._mechanism(each) for each in weighed), timeline=self.timeline(story.events),
        )  # fmt: skip

    def _done(self, one: Execution, story: Story) -> Done:
        about = [
            (event.file, event.line)
            for event in story.events
            if any(getattr(one, name) and getattr(event, name) == getattr(one, name) for name in ("audit", "request"))
            or (one.operation and (event.operation, event.attempt) == (one.operation, one.attempt))
        ]
        return Done(
            audit_id=one.audit, at=rfc3339(one.at), time_of="answer" if one.heard else "effect",
            began=rfc3339(one.began), began_guessed=one.began_guessed, service=one.service, request_id=one.request,
            attempt=one.attempt,
            operation=one.operation, run_id=one.run, tool_call_id=one.call, lines=self.lines(about),
        )  # fmt: skip

    def _mechanism(self, one: Weighed) -> Mechanism:
        return Mechanism(
            mechanism=one.mechanism, title=one.title, role=one.role, verdict=one.verdict, settled_by=one.settle,
            evidence_for=tuple(map(self._observation, one.evidence)),
            evidence_against=tuple(map(self._observation, one.against)),
        )  # fmt: skip

    def _observation(self, one: Evidence) -> Observation:
        return Observation(says=one.says, weight=one.weight, joined_by=one.by, lines=self.lines(one.lines))

    def again(self, repeat: Repeat, first: Execution, second: Execution) -> Again:
        """Return two executions of one effect that are too far apart to be one call."""
        runs = (
            "in one run"
            if first.run == second.run and first.run
            else f"in runs {first.run or '?'}, {second.run or '?'}"
        )
        apart = seconds(repeat.gap_ms)
        return Again(
            says=f"{first.tool or 'a tool'} did the same {apart} apart {runs}: {first.name}, {second.name}",
            gap_ms=repeat.gap_ms, tool=first.tool, payload_hash=first.payload, audit_ids=(first.name, second.name),
            runs=(first.run, second.run),
        )  # fmt: skip

    def moved(self, metric: Metric) -> Moved:
        """Return a metric with how far it was from its baseline."""
        times = None if metric.moved == float("inf") else round(metric.moved, 2)
        (line,) = self.lines([(metric.file, metric.line)])
        return Moved(
            name=metric.name, value=metric.value, baseline=(metric.low, metric.high), unit=metric.unit, times=times,
            window=metric.window, line=line,
        )  # fmt: skip
