"""From files to the account: read, find what ran more than once, weigh how, and say what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from evaluation.triage.account import SCHEMA, Account, Again, Counted, Finding, Input, Submission
from evaluation.triage.causes import weigh
from evaluation.triage.caveats import find_caveats
from evaluation.triage.clusters import WINDOW_MS, Repeats, clusters, find_clusters
from evaluation.triage.event import Event
from evaluation.triage.executions import find_executions, named
from evaluation.triage.gaps import find_gaps
from evaluation.triage.reading import FileRead, Read, read_files
from evaluation.triage.spill import Spill
from evaluation.triage.story import tell
from evaluation.triage.telling import Teller, cause_of

SPILL_BYTES_MAX = 8 * 1024**3
"""Room on disk for what many gigabytes of logs tell about calls."""

FINDINGS_MAX = 50
SUBMISSIONS_MAX = 20
TIMELINE_MAX = 200
"""What is told one by one; the counts are of everything. They bound memory, and what a person can read."""

MOVED_MIN = 1.5
"""Below, a metric is where it always is, give or take."""

RESUBMITTED = """
FROM event INDEXED BY by_kind WHERE kind IN ('submitted', 'resubmitted') AND run <> '' GROUP BY run, call, step
HAVING count(*) > 1 OR sum(kind = 'resubmitted') > 0
"""


def account_of(
    names: Sequence[str],
    *,
    window_ms: int = WINDOW_MS,
    findings_max: int = FINDINGS_MAX,
    spill_bytes_max: int = SPILL_BYTES_MAX,
    advance: Callable[[int], None] = lambda _: None,
) -> Account:
    """Read the files (`-` is stdin) and return the account of the incident that they tell of.

    At most `findings_max` findings are told; all are counted. `advance` hears how many bytes were read since it last
    did. Raises `OSError` for a file that cannot be read, and `SpillFull`.
    """
    with Spill(spill_bytes_max) as spill:
        read = read_files(names, spill, advance)
        executions = find_executions(spill)
        repeats = find_clusters(spill, window_ms)
        return _account(spill, read, executions, repeats, findings_max)


def _account(spill: Spill, read: Read, executions: int, repeats: Repeats, findings_max: int) -> Account:
    teller = Teller([file.name for file in read.files])
    findings: list[Finding] = []
    events: list[Event] = []
    causes: Counter[str] = Counter()
    surplus = 0
    for number, cluster in enumerate(clusters(spill), 1):
        story = tell(spill, cluster)
        weighed = weigh(story)
        cause = cause_of(weighed)
        causes[cause.mechanism if cause else "undecided"] += 1
        surplus += cluster.size - 1
        if number <= findings_max:
            findings.append(teller.finding(number, story, weighed))
            events += story.events if len(events) < TIMELINE_MAX else ()
    submissions = _submissions(spill, teller)
    if not findings:
        events = [event for one in _resubmitted(spill) for event in _handed_in(spill, *one)]
    resubmitted = int(spill.value(f"SELECT count(*) FROM (SELECT 1 {RESUBMITTED})"))  # noqa: S608
    heard = int(spill.value("SELECT count(*) FROM execution WHERE heard"))
    return Account(
        schema=SCHEMA,
        read=tuple(map(_input, read.files)),
        counts=Counted(
            executions=executions, calls_run_twice=causes.total(), surplus=surplus, causes=dict(sorted(causes.items())),
            repeats=repeats.count, submissions_repeated=resubmitted,
            prevented=int(spill.value("SELECT count(*) FROM event WHERE kind = 'prevented'")),
        ),
        timeline=teller.timeline(events)[:TIMELINE_MAX],
        findings=tuple(findings), submissions=submissions, repeats=tuple(_repeats(spill, teller, repeats)),
        metrics=tuple(teller.moved(metric) for metric in read.metrics if metric.moved >= MOVED_MIN),
        gaps=tuple(find_gaps(spill, read.files, heard)), caveats=tuple(find_caveats(spill, read.files)),
    )  # fmt: skip


def _input(file: FileRead) -> Input:
    return Input(
        file=file.name, lines=file.lines, records=file.records, events=file.events, metrics=file.metrics,
        skipped=file.skipped,
    )  # fmt: skip


def _resubmitted(spill: Spill) -> list[tuple[str, str, str]]:
    """Return run, call and step of outputs that were handed in more than once."""
    wanted = f"SELECT run, call, step {RESUBMITTED} ORDER BY min(at), run, call, step LIMIT {SUBMISSIONS_MAX}"
    return [(run, call, step) for run, call, step in spill.run(wanted)]


def _handed_in(spill: Spill, run: str, call: str, step: str) -> list[Event]:
    where = "kind IN ('submitted', 'resubmitted') AND run = ? AND run <> '' AND call = ? AND step = ?"
    return list(spill.events(where, run, call, step, by="by_run", limit=SUBMISSIONS_MAX))


def _submissions(spill: Spill, teller: Teller) -> tuple[Submission, ...]:
    told = []
    for run, call, step in _resubmitted(spill):
        events = _handed_in(spill, run, call, step)
        what = call or step or "a step"
        said = f"outputs for {what} of {run} were handed in, or about to be, {len(events)} times: no effect of a tool's"
        if len(events) == 1:
            said = f"outputs for {what} of {run} were about to be handed in again: no effect of a tool's"
        lines = teller.lines((event.file, event.line) for event in events)
        told.append(Submission(run_id=run, tool_call_id=call, count=len(events), says=said, lines=lines))
    return tuple(told)


def _repeats(spill: Spill, teller: Teller, repeats: Repeats) -> Iterator[Again]:
    for repeat in repeats.told:
        first, second = named(spill, repeat.first), named(spill, repeat.second)
        if first is not None and second is not None:
            yield teller.again(repeat, first, second)
