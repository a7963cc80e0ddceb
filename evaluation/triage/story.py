"""What the logs have about one cluster: its executions, and every line that may say how they came about.

Lines are joined by request, audit id, operation, run and call. Where an execution names no run, the run that was active
at that time is taken, if there was exactly one, and the story says that this is by time only.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from evaluation.triage.clusters import Cluster
from evaluation.triage.event import Event, Kind
from evaluation.triage.executions import Execution, executions
from evaluation.triage.spill import Spill

EXECUTIONS_MAX = 20
LINES_MAX = 120
RUNS_MAX = 5
RUNS_NEAR_MAX = 1_000

BEFORE_MS = 120_000
"""A restart or a message this long before the first execution may still be how it came about."""

AFTER_MS = 60_000
NEAR_MS = 5_000
"""A run is near an execution that names none if one of its lines is within this of it."""

RUN_KINDS = "kind IN ('asked', 'submitted', 'resubmitted', 'model', 'told', 'message', 'timeout', 'alarm', 'unknown')"


class Story(Struct, frozen=True, kw_only=True):
    """`executions` in the order of their beginnings, `size` of them in all; `events` in the order of their times.

    `runs` are those that the executions name, or (`by_time`) the only one that was active then. `nearby` counts the
    runs that were active where the executions name none.
    """

    executions: tuple[Execution, ...]
    size: int
    events: tuple[Event, ...]
    runs: tuple[str, ...]
    by_time: bool
    nearby: int

    def of(self, *kinds: Kind) -> Iterator[Event]:
        """Yield the events of some kinds."""
        return (event for event in self.events if event.kind in kinds)


def tell(spill: Spill, cluster: Cluster) -> Story:
    """Gather the story of a cluster."""
    wanted = "id IN (SELECT execution FROM member WHERE cluster = ?)"
    found = list(executions(spill, wanted, cluster.id, limit=EXECUTIONS_MAX))
    found.sort(key=lambda one: (start(one) is None, start(one) or 0, one.name))
    times = [at for one in found for at in (start(one), one.at) if at is not None]
    low, high = (min(times), max(times)) if times else (0, 0)
    runs = tuple(sorted({one.run for one in found if one.run}))[:RUNS_MAX]
    by_time, nearby = False, 0
    if not runs and times:
        near = _runs_near(spill, found, low, high)
        nearby = len(near)
        by_time = nearby == 1
        runs = near if by_time else ()
    lines: dict[tuple[int, int], Event] = {}
    for event in _lines(spill, found, runs, low, high):
        lines.setdefault((event.file, event.line), event)
        if len(lines) >= LINES_MAX:
            break
    events = tuple(sorted(lines.values(), key=lambda event: (event.at is None, event.at or 0, event.file, event.line)))
    return Story(executions=tuple(found), size=cluster.size, events=events, runs=runs, by_time=by_time, nearby=nearby)


def start(execution: Execution) -> int | None:
    """Return when an execution began, as far as is known: else when it was done."""
    return execution.at if execution.began is None else execution.began


def _runs_near(spill: Spill, found: list[Execution], low: int, high: int) -> tuple[str, ...]:
    """Return the runs that were active around the executions, and are of no other thread."""
    threads = {one.thread for one in found if one.thread}
    where = f"at BETWEEN ? AND ? AND run <> '' AND {RUN_KINDS}"
    wanted = f"SELECT DISTINCT run, thread FROM event INDEXED BY by_time WHERE {where} LIMIT {RUNS_NEAR_MAX}"  # noqa: S608
    rows = spill.run(wanted, low - NEAR_MS, high + NEAR_MS)
    return tuple(sorted({run for run, thread in rows if not (threads and thread and thread not in threads)}))


def _lines(spill: Spill, found: list[Execution], runs: tuple[str, ...], low: int, high: int) -> Iterator[Event]:
    """Yield the lines about a story, the surest first."""
    for one in found:
        for name in ("request", "audit", "operation"):
            if value := getattr(one, name):
                yield from spill.events(f"{name} = ? AND {name} <> ''", value, by=f"by_{name}", limit=20)
    for run in runs:
        within = f"run = ? AND run <> '' AND at BETWEEN ? AND ? AND {RUN_KINDS}"
        yield from spill.events(within, run, low - BEFORE_MS, high + AFTER_MS, by="by_run", limit=40)
    for field in ("user", "conversation", "thread"):
        for value in sorted({getattr(one, field) for one in found if getattr(one, field)}):
            within = f"kind = 'message' AND at BETWEEN ? AND ? AND {field} = ?"
            yield from spill.events(within, low - BEFORE_MS, high, value, by="by_kind", limit=10)
    yield from spill.events("kind = 'restart' AND at BETWEEN ? AND ?", low - BEFORE_MS, high, by="by_kind", limit=20)
