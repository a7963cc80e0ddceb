"""The findings as tables: the seed's five artifacts, what they leave out, what variants differ by, and the gate.

A cell is a figure with the ends of its interval in brackets. What was not measured is a dash; what lies beyond all that
was waited for is told as more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from evaluation.bench.report import NOT_MEASURED, Table
from evaluation.report.figures import Figure, Unit
from evaluation.report.findings import Findings, Replay
from evaluation.report.gate import Decision, Held, Line
from evaluation.report.measured import OURS

PLACES: dict[Unit, int] = {"%": 2, "per 10k": 1, "ratio": 3, "s": 2, "ms": 1, "count": 0, "per turn": 2}

WHOLE_FROM = 100
"""From here on, a tenth of one in 10,000 is noise, and takes the room that intervals need."""

BEYOND = "beyond"
"""A quantile that falls on turns that never ended."""

METHODS = (
    "Brackets hold 95 % intervals: a cluster bootstrap over users, and where nothing was seen, or nothing but "
    "successes, Wilson's for as many trials as there are conversations. Figures without brackets were counted."
)


def tables(findings: Findings) -> tuple[Table, ...]:
    """Return the report's tables in their order: first the gate's answer, then what it rests on."""
    return (
        verdicts(findings),
        outcomes(findings),
        latency(findings),
        *pair(findings),
        cost(findings),
        audit(findings),
        duplicates(findings),
        losses(findings),
        executions(findings),
        sample(findings),
        clusters(findings),
        submissions(findings),
        differences(findings),
    )


def cell(figure: Figure, *, bounds: bool = True) -> str:
    """Return a figure as a cell has it."""
    if not figure.method:
        return NOT_MEASURED
    value = _number(figure.value, figure.unit)
    if not bounds or figure.method == "counted":
        return value
    return f"{value} [{_number(figure.low, figure.unit)}, {_number(figure.high, figure.unit)}]"


def _number(value: float | None, unit: Unit) -> str:
    if value is None:
        return BEYOND
    places = 0 if unit == "per 10k" and abs(value) >= WHOLE_FROM else PLACES[unit]
    return f"{value:,.{places}f}"


def verdicts(findings: Findings) -> Table:
    """Return what the gate says of each variant, and which lines decided."""
    rows = [
        (decision.variant, decision.verdict, "\n".join(reasons(decision)) or "all lines are met")
        for decision in findings.decisions
    ]
    candidates = ", ".join(findings.gate.candidates) or "all that were replayed"
    note = f"To be shipped: {candidates}. The gate is {'passed' if findings.passed else 'not passed'}."
    if findings.unfinished:
        note += f" Not finished, and in no figure: {', '.join(findings.unfinished)}."
    return Table("The gate", ("variant", "verdict", "decided by"), tuple(rows), note)


def reasons(decision: Decision) -> Iterator[str]:
    """Yield where the verdict would be another one, then what decided, a line for each; and one for all of an
    environment in which nothing was measured."""
    for environment, verdict in decision.environments.items():
        if verdict != decision.verdict:
            yield f"{environment} alone: {verdict}"
    for environment, lines in groupby(decision.decided, key=lambda held: held.environment):
        held = list(lines)
        if any(one.figure.method for one in held):
            yield from map(told, held)
        else:
            yield f"{environment}: nothing was measured"


def told(held: Held) -> str:
    """Return a line of the gate with what it was held against."""
    return f"{held.environment}: {held.line.figure} {cell(held.figure)}, {bound(held.line)}"


def bound(line: Line) -> str:
    """Return what a line of the gate asks for."""
    bounds = []
    if line.at_least is not None:
        bounds.append(f"at least {line.at_least:g}")
    if line.at_most is not None:
        bounds.append(f"at most {line.at_most:g}")
    sure = "" if line.confidence is None else f" with {line.confidence:.0%} confidence"
    return " and ".join(bounds) + sure


def outcomes(findings: Findings) -> Table:
    """Return the seed's first artifact."""
    columns = ("terminal ≤ 120 s, %", "no stall < 5 s/step, %", "steps/turn", "submissions taken, %")
    note = (
        f"{METHODS} Steps: the median, and the mean. A submission counts as taken when the API took it, whatever it "
        "answered; the seed counted answers of 2xx."
    )
    return _of_each(
        findings,
        "1. How turns ended",
        columns,
        lambda one: (
            cell(one.figures["terminal"]),
            cell(one.figures["no_stall"]),
            f"{one.figures['steps_median'].value or 0:g}; {cell(one.figures['steps_per_turn'], bounds=False)}",
            cell(one.figures["submitted"]),
        ),
        note,
    )


def latency(findings: Findings) -> Table:
    """Return the times of the seed's second artifact, with their ratios to the run without a proxy."""
    return _of_each(
        findings,
        "2. How long turns took",
        ("p50 s", "p95 s", "p99 s", "p50 : B", "p95 : B", "p99 : B"),
        lambda one: (
            *(cell(one.figures[name]) for name in ("p50", "p95", "p99")),
            *(cell(one.figures[f"{name}_ratio"]) for name in ("p50", "p95", "p99")),
        ),
        "From the first sending of a turn to the end of its run, faults and outages included. `: B` is the ratio to "
        "variant B's, which calls the tools directly; users are drawn in pairs.",
    )


def pair(findings: Findings) -> tuple[Table, ...]:
    """Return the latency pair, if it was replayed."""
    if not findings.pairs:
        return ()
    rows = tuple(
        (one.environment, f"{one.turns:,}", cell(one.p50_without), cell(one.p50_through), cell(one.added))
        for one in findings.pairs
    )
    without, through = findings.pairs[0].without, findings.pairs[0].through
    columns = ("environment", "turns", f"{without}: p50 s", f"{through}: p50 s", "added, %")
    note = f"The same turns without faults and outages, in slices of {without} and {through} by turns."
    return (Table("2b. What the proxy adds to the median turn", columns, rows, note),)


def cost(findings: Findings) -> Table:
    """Return what turns cost."""
    columns = ("busy, %", *(f"{kind} ms" for kind in OURS), "store ops/turn", "outages", "moved")
    return _of_each(
        findings,
        "2c. What turns cost",
        columns,
        lambda one: (
            cell(one.figures["coordinator_busy"]),
            *(f"{one.cpu_ms[kind]:.2f}" if kind in one.cpu_ms else NOT_MEASURED for kind in OURS),
            cell(one.figures["store_ops"]),
            " + ".join(f"{one.outages.get(kind, 0)}" for kind in OURS),
            f"{one.moved:,}",
        ),
        "CPU for each turn by kind of process; busy are all coordinators together, of one core. Outages are processes "
        "that went: coordinators + sidecars + stores. Moved are turns that were sent to a second region.",
    )


def audit(findings: Findings) -> Table:
    """Return the seed's third artifact, with both denominators."""
    columns = ("planned", "intended", "observed", "observed : planned", "observed : intended")
    planned = {one.plan_from for one in findings.replays}
    told_by = "what the API asked for" if planned == {"calls"} else "the trace, each turn run once"
    return _of_each(
        findings,
        "3. Write actions in the tools' audit",
        columns,
        lambda one: (
            *(cell(one.figures[name], bounds=False) for name in ("planned", "intended", "observed")),
            *(cell(one.figures[name]) for name in ("observed_to_plan", "observed_to_intended")),
        ),
        f"For each 10,000 turns that write. The plan is {told_by}. A ratio of 1 hides what cancels out, "
        "and the plan hides what was planned twice: the next two tables take both apart.",
    )


def duplicates(findings: Findings) -> Table:
    """Return what was done too often, by how it came about."""
    return _of_names(
        findings,
        "3b. Duplicates: effects beyond those that users meant",
        {
            "in all": "duplicates",
            "made": "duplicates_made",
            "resent": "duplicates_resent",
            "said again": "duplicates_said_again",
            "moved": "duplicates_moved",
            "hidden by the plan": "hidden_by_plan",
        },
        "For each 10,000 turns that write. A turn that was resent, said again or moved (sent to a second region as "
        "well) asked for them, or they were made below: by retries, calls that were asked for again, processes that "
        "died. The plan hides what was planned twice.",
    )


def losses(findings: Findings) -> Table:
    """Return what was not done, and what became of it."""
    return _of_names(
        findings,
        "3c. Lost: effects that were meant and are not there",
        {
            "in all": "lost",
            "suppressed": "suppressed",
            "missing": "missing",
            "silently": "missing_silently",
            "told unknown": "unknown",
        },
        "For each 10,000 turns that write. Suppressed: a legitimate repeat was taken for a duplicate. Silently: of the "
        "missing, those of which the run was told that there is a result. Told unknown: of all write calls, those of "
        "which the run was told that nobody knows.",
    )


def executions(findings: Findings) -> Table:
    """Return how often calls were executed."""
    most = max((times for one in findings.replays for times in one.executions), default=1)
    numbers = range(1, max(most, 2) + 1)
    return _of_each(
        findings,
        "3d. Executions of one key",
        (*(f"{number}×" for number in numbers), "moved", "no key", "repeated, of 10k"),
        lambda one: (
            *(f"{one.executions.get(number, 0):,}" for number in numbers),
            cell(one.figures["repeated_keys_moved"]),
            cell(one.figures["unkeyed"]),
            cell(one.figures["repeated_calls"]),
        ),
        "A key is the operation where Holdfast announced one, else run and tool call. The same effect under another id "
        "is another key, and a duplicate above. Moved: of those executed more than once, keys of turns that were "
        "sent to a second region as well, which has a store of its own.",
    )


def sample(findings: Findings) -> Table:
    """Return what 30 % of the calls would have told."""
    rows = tuple(
        (
            one.environment,
            one.variant,
            told_by.by,
            f"{told_by.effects:,}",
            f"{told_by.estimate:,.0f} ± {1.96 * told_by.standard_error:,.0f}",
            f"{told_by.truth:,}",
            f"{told_by.bias:+,.1f}",
            f"{told_by.rmse:,.1f}",
        )
        for one in findings.replays
        for told_by in one.samples
    )
    columns = ("environment", "variant", "drawn by", "effects", "estimate", "truth", "bias", "RMSE")
    note = (
        "Duplicates as 30 % of the calls tell them, with the error that the sample knows of, and as the full ledger "
        "does. Bias and root mean squared error are of 100 samples."
    )
    return Table("3e. What a sample of 30 % tells of duplicates", columns, rows, note)


def clusters(findings: Findings) -> Table:
    """Return the seed's fourth artifact."""
    window = f"{findings.plan.window_s:g} s"
    return _of_each(
        findings,
        "4. Duplicate-like clusters in the audit",
        ("clusters", "of 2", "of 3 or more", "inter-arrival s", "all meant"),
        lambda one: (
            *(cell(one.figures[name]) for name in ("clusters", "clusters_of_two", "clusters_of_more", "inter_arrival")),
            f"{one.all_meant:,} of {one.figures['clusters'].hits or 0:,}",
        ),
        f"For each 10,000 turns that write: the same tool, payload and tenant within {window} (90 s at the replay's "
        "pace). `All meant` are clusters of which every entry was meant: wrong guesses.",
    )


def submissions(findings: Findings) -> Table:
    """Return the seed's fifth artifact."""
    return _of_names(
        findings,
        "5. Submission attempts for each step",
        {
            "1, %": "one_attempt",
            "2, %": "two_attempts",
            "3 or more, %": "more_attempts",
            "without tool_call_id, %": "without_id",
        },
        "Of steps that were submitted at all; the last column is of attempts. Counted by the API, not by coordinators.",
    )


def differences(findings: Findings) -> Table:
    """Return what variants differ by."""
    rows = tuple(
        (one.environment, f"{one.variant} - {one.against}", one.figure, cell(one.difference), _telling(one.difference))
        for one in findings.comparisons
    )
    note = "Paired cluster bootstrap: both variants replayed the same turns. Rates in percentage points, or of 10,000."
    return Table("What variants differ by", ("environment", "variants", "figure", "difference", ""), rows, note)


def _telling(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return "" if figure.low <= 0 <= figure.high else "apart from 0"


def _of_each(
    findings: Findings, title: str, columns: Sequence[str], cells: Callable[[Replay], Sequence[str]], note: str
) -> Table:
    rows = tuple((one.environment, one.variant, *cells(one)) for one in findings.replays)
    return Table(title, ("environment", "variant", *columns), rows, note)


def _of_names(findings: Findings, title: str, names: Mapping[str, str], note: str) -> Table:
    """Return a table whose columns are figures, each under a heading of its own."""
    return _of_each(
        findings, title, tuple(names), lambda one: tuple(cell(one.figures[name]) for name in names.values()), note
    )
