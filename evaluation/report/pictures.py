"""Which plots stand beside which tables, and what they show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from evaluation.report.figures import Figure
from evaluation.report.findings import Findings, Replay
from evaluation.report.gate import Gate
from evaluation.report.measured import OURS
from evaluation.report.plots import Mark, Plot, Row, dot_sign, dots, part_sign, stacks
from evaluation.report.tables import WHOLE_FROM, cell


class Picture(Struct, frozen=True):
    """A drawn plot with what it shows and its legend, whose places are the series' numbers; `sign` draws one of them
    around the origin."""

    title: str
    svg: str
    legend: tuple[str, ...] = ()
    sign: Callable[[int], str] = part_sign


def pictures(findings: Findings) -> dict[str, tuple[Picture, ...]]:
    """Return the plots, by the beginning of the title of the table that they stand above."""
    return {
        "1.": _outcomes(findings),
        "2.": (_times(findings),),
        "2b.": _added(findings),
        "2c.": (_cpu(findings),),
        "3.": (_observed(findings),),
        "3b.": (_duplicates(findings),),
        "3c.": (_lost(findings),),
        "3e.": (_samples(findings),),
        "4.": (_clusters(findings),),
        "5.": (_attempts(findings),),
    }


def _outcomes(findings: Findings) -> tuple[Picture, ...]:
    return (
        _rates(findings, "Turns that ended within 120 s", "% of turns", ("terminal",), most=100),
        _rates(findings, "Steps that did not stall", "% of steps, < 5 s in requires_action", ("no_stall",), most=100),
    )


def _times(findings: Findings) -> Picture:
    names = ("p50", "p95", "p99")
    return _rates(findings, "Times of turns", "seconds, logarithmic", names, legend=names, log=True)


def _observed(findings: Findings) -> Picture:
    title = "Write actions observed, to what was planned and to what was meant"
    names = ("observed_to_plan", "observed_to_intended")
    return _rates(findings, title, "ratio", names, legend=("to planned", "to intended"))


def _duplicates(findings: Findings) -> Picture:
    causes = ("made", "resent", "said again", "moved")
    names = {cause: f"duplicates_{cause.replace(' ', '_')}" for cause in causes}
    return _parts(findings, "Duplicates, by how they came about", names)


def _clusters(findings: Findings) -> Picture:
    axis = "for each 10,000 turns that write"
    return _rates(findings, "Duplicate-like clusters", axis, ("clusters",), from_zero=True)


def _attempts(findings: Findings) -> Picture:
    names = {"2 attempts": "two_attempts", "3 or more": "more_attempts"}
    return _parts(findings, "Steps that took more than one submission attempt", names, axis="% of steps")


def _rates(
    findings: Findings,
    title: str,
    axis: str,
    names: Sequence[str],
    *,
    legend: tuple[str, ...] = (),
    log: bool = False,
    from_zero: bool = False,
    most: float = math.inf,
) -> Picture:
    """Draw figures with their intervals, one mark for each name."""
    rows = []
    for one in findings.replays:
        figures = [one.figures[name] for name in names]
        marks = tuple(mark for place, figure in enumerate(figures) for mark in _mark(figure, place))
        rows.append(Row(one.environment, one.variant, marks, " / ".join(cell(one, bounds=False) for one in figures)))
    bound = _bound(findings.gate, names[0]) if len(names) == 1 else None
    plot = Plot(title, axis, tuple(rows), legend, bound, from_zero=from_zero, log=log, most=most)
    return Picture(title, dots(plot), legend, dot_sign)


def _mark(figure: Figure, series: int) -> tuple[Mark, ...]:
    if not figure.method:
        return ()
    low, value, high = figure.span()
    return (Mark(value, low, high, series) if figure.method != "counted" else Mark(value, series=series),)


def _bound(gate: Gate, name: str) -> tuple[float, str] | None:
    """Return the gate's line for a figure, as a plot has it."""
    for line in gate.lines:
        if line.figure == name:
            least = line.at_least is not None
            at = line.at_least if least else line.at_most
            return (at, f"gate: {'at least' if least else 'at most'} {at:g}") if at is not None else None
    return None


def _parts(
    findings: Findings, title: str, names: Mapping[str, str], axis: str = "for each 10,000 turns that write"
) -> Picture:
    """Draw bars whose parts are figures."""
    rows = [
        _bar(one, {label: one.figures[name].value or 0.0 for label, name in names.items()}) for one in findings.replays
    ]
    plot = Plot(title, axis, tuple(rows), tuple(names))
    return Picture(title, stacks(plot), tuple(names))


def _bar(one: Replay, parts: Mapping[str, float]) -> Row:
    marks = tuple(Mark(value, series=place) for place, value in enumerate(parts.values()))
    total = sum(parts.values())
    return Row(one.environment, one.variant, marks, f"{total:,.{0 if total >= WHOLE_FROM else 1}f}")


def _lost(findings: Findings) -> Picture:
    """Draw what was not done: for another turn's sake, told of, or silently."""
    title, legend = "Lost effects, by what became of them", ("suppressed", "missing, and told so", "missing silently")
    rows = []
    for one in findings.replays:
        suppressed, missing, silently = (
            one.figures[name].value or 0.0 for name in ("suppressed", "missing", "missing_silently")
        )
        rows.append(_bar(one, dict(zip(legend, (suppressed, missing - silently, silently), strict=True))))
    plot = Plot(title, "for each 10,000 turns that write", tuple(rows), legend)
    return Picture(title, stacks(plot), legend)


def _cpu(findings: Findings) -> Picture:
    """Draw the CPU of the processes that whoever runs a variant pays for."""
    title = "CPU for each turn: coordinators, sidecars, stores"
    rows = [_bar(one, {kind: one.cpu_ms.get(kind, 0.0) for kind in OURS}) for one in findings.replays]
    return Picture(title, stacks(Plot(title, "milliseconds for each turn", tuple(rows), OURS)), OURS)


def _added(findings: Findings) -> tuple[Picture, ...]:
    if not findings.pairs:
        return ()
    title = "What the proxy adds to the median turn"
    rows = tuple(
        Row(
            one.environment, f"{one.through} : {one.without}", _mark(one.added, 0), f"{cell(one.added, bounds=False)} %"
        )
        for one in findings.pairs
    )
    plot = Plot(title, "% of the median turn without it", rows, bound=_bound(findings.gate, "added_median"))
    return (Picture(title, dots(plot)),)


def _samples(findings: Findings) -> Picture:
    """Draw what one sample by call would have told, beside the truth."""
    title, legend = "Duplicates as 30 % of the calls tell them, and as they are", ("estimate from a sample", "truth")
    rows = []
    for one in findings.replays:
        told = next(sample for sample in one.samples if sample.by == "call")
        half = 1.96 * told.standard_error
        marks = (Mark(told.estimate, max(told.estimate - half, 0), told.estimate + half), Mark(told.truth, series=1))
        rows.append(Row(one.environment, one.variant, marks, f"{told.estimate:,.0f} / {told.truth:,}"))
    return Picture(title, dots(Plot(title, "duplicates in all", tuple(rows), legend)), legend, dot_sign)
