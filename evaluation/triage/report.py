"""The account for people, as text: the timeline, each call that ran twice, what cannot be told, what to add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from evaluation.triage.account import Account, Done, Finding, Mechanism, Moment, Observation
from evaluation.triage.weighing import seconds

TOLD_MAX = 160
"""Characters of a line in the timeline; the JSON forms have more of it."""


def report(account: Account) -> Iterator[str]:
    """Yield the lines of the report."""
    short = Short(one.file for one in account.read)
    yield from _read(account)
    yield from _timeline(account.timeline, short)
    yield from _headline(account)
    for finding in account.findings:
        yield from _finding(finding, short)
    left = account.counts.calls_run_twice - len(account.findings)
    if left > 0:
        yield f"… and {left} more: --limit shows them"
        yield ""
    yield from _section("Handed in more than once, which is no effect", (one.says for one in account.submissions))
    yield from _section(
        f"The same again, too far apart to be one call ({account.counts.repeats})",
        (one.says for one in account.repeats),
    )
    yield from _metrics(account, short)
    yield from _gaps(account)
    yield from _section("Keep in mind", account.caveats)


class Short:
    """File names without their folders, where that leaves them apart."""

    def __init__(self, names: Iterable[str]) -> None:
        names = list(names)
        bases = [PurePath(name).name or name for name in names]
        self._short = dict(zip(names, bases, strict=True)) if len(set(bases)) == len(set(names)) else {}

    def __call__(self, line: str) -> str:
        """Return `folder/file:12` as `file:12`."""
        name, _, number = line.rpartition(":")
        return f"{self._short.get(name, name)}:{number}"


def _read(account: Account) -> Iterator[str]:
    lines, skipped = sum(one.lines for one in account.read), sum(one.skipped for one in account.read)
    records, events = sum(one.records for one in account.read), sum(one.events for one in account.read)
    yield (
        f"Read {_number(len(account.read), 'file')}, {_number(lines, 'line')}: {_number(records, 'record')}, "
        f"{events:,} of them about calls; {skipped:,} lines are no part of a log."
    )
    yield ""


def _timeline(moments: Iterable[Moment], short: Short) -> Iterator[str]:
    moments = list(moments)
    if not moments:
        return
    yield "TIMELINE"
    day = ""
    for moment in moments:
        date, _, clock = moment.at.partition("T")
        if date != day:
            yield f"  {date or 'at no known time'}"
            day = date
        yield f"  {clock.removesuffix('Z'):<12} {moment.kind:<11} {_told(moment)}  [{short(moment.line)}]"
    yield ""


def _told(moment: Moment) -> str:
    """Return a line without the time that stands before it already."""
    text = moment.text
    for separator in (" ", "\t"):
        first, found, rest = text.partition(separator)
        if found and first[:2].isdigit() and ":" in first:
            text = rest.strip()
            break
    text = " ".join(text.split())
    return text if len(text) <= TOLD_MAX else text[: TOLD_MAX - 1] + "…"


def _headline(account: Account) -> Iterator[str]:
    counts = account.counts
    if counts.calls_run_twice:
        calls = "1 CALL" if counts.calls_run_twice == 1 else f"{counts.calls_run_twice:,} CALLS"
        many = "is too many" if counts.surplus == 1 else "are too many"
        yield f"{calls} RAN MORE THAN ONCE: {counts.surplus:,} of {_number(counts.executions, 'execution')} {many}"
        if counts.calls_run_twice > 1:
            yield "  by cause: " + ", ".join(f"{name} {count:,}" for name, count in counts.causes.items())
    else:
        yield f"NOTHING RAN TWICE in these logs, as far as they can tell: {_number(counts.executions, 'execution')}"
    if counts.prevented:
        was = "was" if counts.prevented == 1 else "were"
        yield f"  {_number(counts.prevented, 'duplicate')} {was} answered without the tool"
    yield ""


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _finding(finding: Finding, short: Short) -> Iterator[str]:
    yield f"{finding.number}. {finding.says}"
    who = {
        "tenant": finding.tenant,
        "user": finding.user,
        "conversation": finding.conversation,
        "payload": finding.payload_hash,
    }
    runs = ", ".join(finding.runs) + (" (by time only)" if finding.runs_by == "time" else "")
    about = [f"{name} {value}" for name, value in who.items() if value] + ([f"run {runs}"] if finding.runs else [])
    yield f"   {', '.join(about)}; {seconds(finding.spread_ms)} apart"
    if finding.cause:
        title = next(one.title for one in finding.mechanisms if one.mechanism == finding.cause)
        yield f"   CAUSE, {finding.cause_verdict}: {title}"
    else:
        yield f"   CAUSE not shown by these logs; open: {', '.join(finding.open) or 'none of those that triage knows'}"
    yield ""
    for done in finding.executions:
        yield f"   {_done(done, short)}"
    yield ""
    for mechanism in finding.mechanisms:
        yield from _mechanism(mechanism, short)
    yield ""


def _done(done: Done, short: Short) -> str:
    name = done.audit_id or done.operation or done.request_id or "?"
    asked = f"asked for by {done.request_id or '(no request id)'}"
    ids = "/".join(filter(None, (done.run_id, done.tool_call_id)))
    began = (
        f", from {done.began[11:].removesuffix('Z')}{' (guessed)' if done.began_guessed else ''}" if done.began else ""
    )
    what = "answered" if done.time_of == "answer" else "effect at"
    lines = " ".join(map(short, done.lines))
    return (
        f"{name:<14} {what} {done.at[11:].removesuffix('Z')}{began}; {asked}{f' for {ids}' if ids else ''}  [{lines}]"
    )


def _mechanism(one: Mechanism, short: Short) -> Iterator[str]:
    yield f"   {one.verdict + ':':<13} {one.title}"
    for sign, observations in (("+", one.evidence_for), ("-", one.evidence_against)):
        for observation in observations:
            yield f"      {sign} {observation.says}{_join(observation)}{_lines(observation, short)}"
    if one.verdict not in {"shown", "ruled out"}:
        yield f"      ? would be settled by: {one.settled_by}"


def _join(observation: Observation) -> str:
    return " (joined by time)" if observation.joined_by == "time" else ""


def _lines(observation: Observation, short: Short) -> str:
    return f"  [{' '.join(map(short, observation.lines[:6]))}]" if observation.lines else ""


def _metrics(account: Account, short: Short) -> Iterator[str]:
    told = [
        f"{one.name}: {one.value:g}{one.unit}, {f'{one.times:g} times' if one.times else 'far from'} its baseline "
        f"{one.baseline[0]:g}{f' to {one.baseline[1]:g}' if one.baseline[1] != one.baseline[0] else ''}{one.unit}"
        f"{f', {one.window}' if one.window else ''}  [{short(one.line)}]"
        for one in account.metrics
    ]
    yield from _section("Metrics that moved", told)


def _gaps(account: Account) -> Iterator[str]:
    told = []
    for gap in account.gaps:
        missing = f" ({gap.missing:,} of {gap.seen:,} lines)" if gap.seen else ""
        decides = f"; decides {', '.join(gap.decides)}" if gap.decides else ""
        told.append(f"{gap.service}, {gap.on}: {gap.fields}{missing}. {gap.why[:1].upper()}{gap.why[1:]}{decides}")
    yield from _section("What these logs lack, and who should write it", told)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield title.upper()
        yield from (f"  {line}" for line in lines)
        yield ""
