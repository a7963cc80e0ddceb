"""The report: what a run found, as tables of text. Pure.

A cell that was not measured is a dash. Nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evaluation.bench.environment import Environment
from evaluation.bench.figures import Case, Figures, Reading, Sample, Spread, Start
from evaluation.bench.systems import BARE, DIRECT, NGINX, REDIS, SQLITE
from evaluation.bench.targets import Target, p50, p99, server_cpu, targets
from evaluation.bench.workloads import NEW, PACED, Effort

NOT_MEASURED = "-"
TITLES = {
    DIRECT: "the tool directly",
    NGINX: "nginx proxy_pass",
    BARE: "bare aiohttp proxy",
    SQLITE: "Holdfast, SQLite",
    REDIS: "Holdfast, Redis",
}


class Report(Struct, frozen=True):
    """Everything a run found: this is what the JSON file holds."""

    environment: Environment
    effort: Effort
    samples: tuple[Sample, ...]
    starts: tuple[Start, ...]
    targets: tuple[Target, ...]
    missing: dict[str, str]


class Table(Struct, frozen=True):
    """A title, a row of names, rows of cells, and what is to be known about them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def report(
    environment: Environment,
    effort: Effort,
    samples: Sequence[Sample],
    starts: Sequence[Start],
    missing: dict[str, str],
) -> Report:
    """Gather a run's findings."""
    found = targets(Figures(samples), starts)
    return Report(environment, effort, tuple(samples), tuple(starts), found, missing)


def tables(found: Report) -> tuple[Table, ...]:
    """Return the report's tables in their order."""
    figures = Figures(found.samples)
    return (_closed(figures, found), _paced(figures, found), _round_trips(figures), _targets(found))


def _closed(figures: Figures, found: Report) -> Table:
    rows = [
        (
            f"{case.workload}, {case.concurrency}",
            TITLES[case.system],
            _cell(figures.of(case, lambda s: s.requests / s.seconds), "{:,.0f}"),
            _cell(figures.of(case, p50), "{:,.0f}"),
            _cell(figures.of(case, p99), "{:,.0f}"),
            _cell(figures.of(case, server_cpu), "{:.0f}"),
            _range(figures.of(case, server_cpu)),
            _cell(_to_bare(figures, case), "{:.2f}"),
            _cell(figures.of(case, lambda s: s.store_cpu_us), "{:.0f}"),
            _cell(figures.of(case, _busy_percent), "{:.0f}"),
        )
        for case in figures.cases()
        if case.workload != PACED
    ]
    columns = (
        "workload, concurrency",
        "system",
        "req/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/req",
        "(range)",
        ": bare",
        "Redis µs/req",
        "busy %",
    )
    note = (
        f"Medians of {found.effort.rounds} rounds of {found.effort.closed_s:g} s, systems in turns. CPU is the server "
        "process's alone, user and system; `: bare` is its ratio to the bare aiohttp proxy's in the same round (for "
        "replays and joins: to its cost of a new key, as it knows no other). In joins each key is asked for twice at "
        "once, of a tool that takes 5 ms; half of them execute. `busy` is the server's share of its core: where "
        "it is well below 100, the load generator, the tool or the disk was the bound, and req/s is theirs."
    )
    missing = "".join(f" Not measured: {TITLES[name]} ({why})." for name, why in found.missing.items())
    return Table("Closed loop", columns, tuple(rows), note + missing)


def _to_bare(figures: Figures, case: Case) -> Spread | None:
    """Divide by the bare proxy's cost of the same, or of a new key where it does not know the like."""
    own = figures.ratio(case, BARE, server_cpu)
    return own or figures.ratio(case, BARE, server_cpu, workload=NEW)


def _paced(figures: Figures, found: Report) -> Table:
    rows = tuple(
        (
            TITLES[case.system],
            _milliseconds(figures.of(case, p50)),
            _milliseconds(figures.of(case, p99)),
            *(_added(figures, case, read) for read in (p50, p99)),
            _cell(figures.of(case, server_cpu), "{:.0f}"),
        )
        for case in figures.cases()
        if case.workload == PACED
    )
    columns = ("system", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms", "CPU µs/req")
    note = (
        f"New keys at {found.effort.rate:g} a second for {found.effort.open_s:g} s, {found.effort.rounds} rounds, each "
        "answer timed from when its request was meant to be sent. Added: above the tool directly, in the same round."
    )
    return Table("Open loop, a tool of 20 ms", columns, rows, note)


def _added(figures: Figures, case: Case, read: Reading) -> str:
    return NOT_MEASURED if case.system == DIRECT else _milliseconds(figures.added(case, DIRECT, read))


def _round_trips(figures: Figures) -> Table:
    rows: list[tuple[str, ...]] = []
    for case in figures.cases():
        total = figures.store_calls(case)
        if total is None or case.concurrency == 1:
            continue
        latest = next(sample for sample in reversed(figures.samples) if sample.case == case)
        kinds = ", ".join(f"{op} {count:.2f}" for op, count in (latest.store_calls or {}).items()) or "none"
        outcomes = ", ".join(f"{name} {count / latest.requests:.0%}" for name, count in latest.outcomes.items())
        rows.append((case.workload, TITLES[case.system], f"{total:.2f}", kinds, outcomes or NOT_MEASURED))
    columns = ("workload", "system", "round trips/req", "by kind (last round)", "outcomes (last round)")
    note = "Counted by the proxy itself; what no request makes (signs of life, sweeps, leases) is left out."
    return Table("Store round trips", columns, tuple(rows), note)


def _targets(found: Report) -> Table:
    rows = tuple(
        (
            target.name,
            NOT_MEASURED if target.measured is None else f"{target.measured:.2f}",
            f"{target.at_most:.4g}",
            target.unit,
            target.verdict,
        )
        for target in found.targets
    )
    return Table("Targets", ("what", "measured", "at most", "unit", ""), rows)


def _cell(found: Spread | None, form: str) -> str:
    return NOT_MEASURED if found is None else form.format(found.median)


def _range(found: Spread | None) -> str:
    return NOT_MEASURED if found is None else f"{found.low:.0f}-{found.high:.0f}"


def _milliseconds(found: Spread | None) -> str:
    return NOT_MEASURED if found is None else f"{found.median / 1000:.2f}"


def _busy_percent(sample: Sample) -> float | None:
    return None if sample.busy is None else sample.busy * 100
