"""What the logs lack: which service should write which field, and what that would decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from evaluation.triage.mechanisms import late_dedup, new_ids, repeated_message, retry, two_pollers
from evaluation.triage.ours import COORDINATOR, PROXY, TOOLS
from evaluation.triage.reading import FileRead
from evaluation.triage.spill import Spill

SERVICES_MAX = 200
OURS = {PROXY, COORDINATOR, TOOLS}

CALLER = "whoever calls the tools"
FRONT = "whoever takes the users' messages"

SUMS = """
SELECT CASE instr(service, '/') WHEN 0 THEN service ELSE substr(service, 1, instr(service, '/') - 1) END AS who,
  CASE kind WHEN 'resubmitted' THEN 'submitted' ELSE kind END AS what,
  count(*) AS total, sum(run = '' OR call = '') AS unnamed, sum(request = '') AS no_request,
  sum(took_ms = 0 AND began IS NULL) AS no_start, sum(replica = '') AS no_replica, sum(payload = '') AS no_payload,
  sum(payload LIKE '%..%' OR payload LIKE '%…%') AS cut, sum(audit = '') AS no_audit, sum(attempt = 0) AS no_attempt,
  sum(calls = '') AS no_calls, sum(dedup = '') AS no_dedup, sum(run = '') AS no_run
FROM event GROUP BY who, what ORDER BY count(*) DESC, who, what LIMIT ?
"""


class Gap(Struct, frozen=True):
    """A service, the fields that it should write on which lines, why, and which mechanisms they would decide.

    `missing` of the `seen` lines lack them; both are 0 where there are no such lines at all.
    """

    service: str
    on: str
    fields: str
    why: str
    decides: tuple[str, ...]
    missing: int = 0
    seen: int = 0


class Seen(Struct, frozen=True):
    """How many lines of one kind a service wrote, and how many of them lack what."""

    who: str
    kind: str
    total: int
    unnamed: int
    no_request: int
    no_start: int
    no_replica: int
    no_payload: int
    cut: int
    no_audit: int
    no_attempt: int
    no_calls: int
    no_dedup: int
    no_run: int


def find_gaps(spill: Spill, files: Sequence[FileRead], heard: int) -> list[Gap]:
    """Return what is missing, `heard` being the executions of which there is only a caller's word."""
    seen = [Seen(*row) for row in spill.run(SUMS, SERVICES_MAX)]
    gaps = [gap for one in seen for gap in _of(one)]
    return [*gaps, *_absent({one.kind for one in seen}, heard), *_undated(files)]


def _of(one: Seen) -> Iterator[Gap]:
    if one.who in OURS:
        return
    match one.kind:
        case "effect":
            yield from _of_effects(one)
        case "sent":
            yield from _of_sent(one)
        case "asked":
            yield from _of_asked(one)
        case "submitted":
            yield from _of_submitted(one)
        case "restart" if one.no_run:
            why = "a restart says nothing of the runs whose work it cut off, and which may have been done again"
            yield Gap(one.who, "restart", "ids of the runs in flight", why, (new_ids.NAME,), one.no_run, one.total)
        case "model" if one.no_request:
            why = "two requests for one run cannot be told from one that was sent twice, nor which answer was used"
            fields = "request id and attempt of the caller, the response's id and the tool call ids in it"
            yield Gap(
                one.who, "model request", fields, why, (new_ids.NAME, two_pollers.NAME), one.no_request, one.total
            )


def _of_effects(one: Seen) -> Iterator[Gap]:
    who, total = one.who, one.total
    if one.unnamed:
        why = "an execution can be tied to a run and a tool call by time alone, and not at all when two runs are active"
        decides = (two_pollers.NAME, new_ids.NAME, repeated_message.NAME)
        yield Gap(who, "execution", "run_id, step_id, tool_call_id", why, decides, one.unnamed, total)
    if one.no_request:
        why = "which attempt had which effect cannot be told, nor whether one of them had been given up"
        fields = "request_id, attempt, the idempotency key that was honoured"
        yield Gap(who, "execution", fields, why, (retry.NAME,), one.no_request, total)
    if one.no_start and one.no_request:
        why = "whether the first attempt still ran when the second began cannot be told"
        yield Gap(
            who, "execution", "time of arrival beside that of the effect", why, (retry.NAME,), one.no_start, total
        )
    if one.no_payload and one.no_request:
        why = "two executions that do the same cannot be recognised"
        yield Gap(who, "execution", "payload_hash", why, (), one.no_payload, total)
    yield from _cut(one, "execution")


def _of_sent(one: Seen) -> Iterator[Gap]:
    if one.unnamed:
        why = "an attempt can be tied to a run and a tool call by time alone"
        decides = (two_pollers.NAME, new_ids.NAME, repeated_message.NAME)
        yield Gap(one.who, "attempt", "run_id, step_id, tool_call_id", why, decides, one.unnamed, one.total)
    if one.no_attempt:
        why = "a retry looks like a call of its own, and can be recognised by its payload alone"
        fields = "attempt, and the request_id that it repeats"
        yield Gap(one.who, "attempt", fields, why, (retry.NAME,), one.no_attempt, one.total)
    yield from _cut(one, "attempt")


def _of_asked(one: Seen) -> Iterator[Gap]:
    if one.no_replica:
        why = "one poller that looked twice cannot be told from two"
        fields = "replica, and for each call it dispatches the tool_call_id and request_id"
        yield Gap(one.who, "run status", fields, why, (two_pollers.NAME,), one.no_replica, one.total)
    if one.no_calls:
        why = "a call that came back under a new id cannot be recognised"
        yield Gap(one.who, "run status", "the tool call ids", why, (new_ids.NAME,), one.no_calls, one.total)


def _of_submitted(one: Seen) -> Iterator[Gap]:
    if one.no_audit:
        why = "which execution's output was handed in, and which was thrown away, cannot be told"
        fields = "audit id and request_id of the result"
        yield Gap(one.who, "submission", fields, why, (late_dedup.NAME, retry.NAME), one.no_audit, one.total)
    if one.no_dedup:
        why = "whether dedup was asked, and what it said, cannot be told"
        fields = "dedup key and result, when the key was claimed, and by which replica"
        yield Gap(one.who, "submission", fields, why, (late_dedup.NAME,), one.no_dedup, one.total)
    elif one.no_replica:
        why = "who claimed the key, and when, cannot be told: a MISS may be another replica's, or one that had expired"
        fields = "replica, and the time at which the dedup key was claimed"
        yield Gap(one.who, "submission", fields, why, (late_dedup.NAME,), one.no_replica, one.total)


def _cut(one: Seen, on: str) -> Iterator[Gap]:
    if one.cut:
        why = "only what is left of the hashes could be compared"
        yield Gap(one.who, on, "the whole payload_hash", why, (), one.cut, one.total)


def _absent(kinds: set[str], heard: int) -> Iterator[Gap]:
    if "effect" not in kinds:
        why = "no line says that anything was done: nothing can be said about what ran"
        yield Gap("the tools", "execution", "an audit line for each effect, with its audit id", why, ())
        return
    if heard:
        why = "a caller's log has the time of an answer; when the effect took place is the tool's to say"
        yield Gap(
            "the tools", "execution", "an audit line for each effect, with its own time", why, (retry.NAME,), heard
        )
    if not kinds & {"sent", "timeout"}:
        why = "a time-out that was followed by another attempt leaves no trace"
        fields = "sent, timed out or answered, with request_id, attempt, limit, run_id and tool_call_id"
        yield Gap(CALLER, "a line for each attempt", fields, why, (retry.NAME,))
    if "message" not in kinds:
        why = "a second click, or a client's retry, cannot be told from one message"
        fields = "an id of the turn made by the client, a hash of the text, and the run that it began"
        yield Gap(FRONT, "a line for each message", fields, why, (repeated_message.NAME,))


def _undated(files: Sequence[FileRead]) -> Iterator[Gap]:
    without = [file for file in files if file.dates_from_context]
    if without:
        count = sum(file.dates_from_context for file in without)
        why = "lines that have a time of day alone were given a date by what stands around them"
        yield Gap("services that write a time of day", "every line", "date and zone (RFC 3339)", why, (), count)
