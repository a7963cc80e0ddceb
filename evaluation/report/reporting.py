"""From a results folder to its report: `findings_of` reads and reckons, `write` puts the files beside the records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from evaluation.replay import records
from evaluation.replay.quantiles import Quantiles
from evaluation.replay.records import PAIR, PLAN, Plan
from evaluation.replay.trace import read_trace
from evaluation.report.counting import count, count_times
from evaluation.report.figures import KNOWN, SHARES, Figure
from evaluation.report.findings import COMPARED, STEPS, Comparison, Findings, Pair, Replay
from evaluation.report.gate import BUILT_IN, Gate, decide, passed, read_gate
from evaluation.report.measured import Calm, Measured, scaled
from evaluation.report.page import page
from evaluation.report.share import share_of
from evaluation.variants.table import VARIANTS

JSON, PAGE = "report.json", "report.html"
WITHOUT_PROXY = frozenset(variant.name for variant in VARIANTS if not variant.proxy)
"""The variants that call tools directly; whatever else is replayed goes through a sidecar."""


class BadResults(ValueError):
    """A folder that is no replay's, or one with nothing to report; the message says what to do."""


def findings_of(directory: Path, gate: Path = BUILT_IN, advance: Callable[[str], None] = lambda _: None) -> Findings:
    """Return what a results folder shows, held against a gate; `advance` is told of each folder before it is read.

    Raises `BadResults`, `BadLine`, `BadTrace`, `BadAudit`, `BadScript` for the gate, and `OSError`.
    """
    lines = read_gate(gate)
    if not (directory / PLAN).exists():
        raise BadResults(f"{directory}: there is no {PLAN}: name the folder that `holdfast evaluate --out` wrote")
    plan = records.read_plan(directory)
    environments = [_Environment(directory, plan, name, advance) for name in plan.environments]
    if not any(one.measured for one in environments):
        raise BadResults(f"{directory}: no variant is done: go on with `holdfast evaluate --resume`")
    return _gathered(plan, lines, environments)


def write(directory: Path, findings: Findings) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into a folder, and return where they are. Raises `OSError`."""
    data, shown = directory / JSON, directory / PAGE
    data.write_bytes(msgspec.json.format(msgspec.json.encode(findings), indent=2) + b"\n")
    shown.write_text(page(findings), encoding="utf-8")
    return data, shown


class _Environment:
    """The variants of one environment, each of which is read, counted and let go of."""

    def __init__(self, directory: Path, plan: Plan, name: str, advance: Callable[[str], None]) -> None:
        self.name, self.share = name, share_of(read_trace(directory / records.turns_file(name)))
        self.calm, self.calm_turns = self._pair(directory, plan.seed)
        folders = {variant: directory / records.folder(name, variant) for variant in plan.variants}
        done = {variant: folder for variant, folder in folders.items() if records.is_done(folder)}
        self.unfinished = [folder.name for variant, folder in folders.items() if variant not in done]
        counted = {}
        for variant, folder in done.items():
            advance(folder.name)
            counted[variant] = count(folder, self.share, window_s=plan.window_s, seed=plan.seed)
        base = self._times(counted[PAIR[0]].timed, plan.seed) if PAIR[0] in counted else None
        self.measured = {
            variant: Measured(
                one,
                times=base if base and variant == PAIR[0] else self._times(one.timed, plan.seed),
                seed=plan.seed,
                base=base,
                calm=self.calm,
                proxy=variant not in WITHOUT_PROXY,
            )
            for variant, one in counted.items()
        }

    def _times(self, timed: list[tuple[float, int]], seed: int) -> Quantiles:
        return Quantiles(timed, tuple(SHARES.values()), clusters=len(self.share.users), seed=seed)

    def figure(self, variant: str) -> Callable[[str, float], Figure]:
        """Return where the gate reads a variant's figures; of one that is not done nothing was measured."""
        if variant in self.measured:
            return self.measured[variant].figure
        return lambda name, _: Figure(None, KNOWN[name][0])

    def _pair(self, directory: Path, seed: int) -> tuple[Calm | None, int]:
        folders = [directory / records.pair_folder(self.name, variant) for variant in PAIR]
        if not all(map(records.is_done, folders)):
            return None, 0
        timed = [count_times(folder, self.share) for folder in folders]
        return Calm(*(self._times(one, seed) for one in timed)), len(timed[0])

    def pair(self) -> Pair | None:
        """Return the latency pair, if it was replayed."""
        if self.calm is None:
            return None
        p50 = [scaled(one.interval(SHARES["p50"]), "s") for one in (self.calm.without, self.calm.through)]
        return Pair(self.name, PAIR[0], PAIR[1], self.calm_turns, p50[0], p50[1], scaled(self.calm.added(), "%"))

    def comparisons(self) -> list[Comparison]:
        """Compare each variant with the one that it is a step from."""
        return [
            Comparison(self.name, variant, against, figure, there.difference(base, figure))
            for against, variant in STEPS
            if (there := self.measured.get(variant)) and (base := self.measured.get(against))
            for figure in COMPARED
        ]


def _gathered(plan: Plan, gate: Gate, environments: list[_Environment]) -> Findings:
    variants = dict.fromkeys(variant for one in environments for variant in one.measured)
    decisions = tuple(
        decide(gate, variant, [(one.name, one.figure(variant)) for one in environments]) for variant in variants
    )
    return Findings(
        plan=plan,
        users={one.name: len(one.share.users) for one in environments},
        replays=tuple(_replay(one.name, *item) for one in environments for item in one.measured.items()),
        comparisons=tuple(comparison for one in environments for comparison in one.comparisons()),
        pairs=tuple(pair for one in environments if (pair := one.pair())),
        unfinished=tuple(folder for one in environments for folder in one.unfinished),
        gate=gate,
        decisions=decisions,
        passed=passed(gate, decisions),
    )


def _replay(environment: str, variant: str, measured: Measured) -> Replay:
    counted = measured.counted
    turns = sum(counted.share.own.values())
    return Replay(
        environment=environment,
        variant=variant,
        turns=turns,
        writing=sum(counted.share.writing.values()),
        seconds=counted.usage.seconds,
        figures={name: measured.figure(name) for name in KNOWN},
        statuses=dict(counted.statuses),
        told=dict(counted.told),
        executions=counted.executions.times,
        all_meant=counted.clusters.all_meant,
        plan_from=counted.plan_from,
        samples=counted.samples,
        cpu_ms={kind: cpu_s / turns * 1000 for kind, cpu_s in counted.usage.cpu_s.items()},
        outages=counted.usage.outages,
        moved=counted.usage.moved,
    )
