"""Targets are met, missed or not measured, and never anything else."""

from __future__ import annotations

from evaluation.bench.figures import Case, Figures, Sample, Start
from evaluation.bench.targets import Target, targets


def by_name(found: tuple[Target, ...]) -> dict[str, Target]:
    """Return targets by their names."""
    return {target.name: target for target in found}


def test_nothing_measured_is_neither_met_nor_missed() -> None:
    """Without samples every target says that it was not measured."""
    found = targets(Figures([]), [])
    assert len(found) == 22
    assert {target.verdict for target in found} == {"not measured"}


def test_bound_itself_is_met_and_above_it_missed() -> None:
    """A target is an upper bound, inclusive."""
    assert Target("", 0.8, 0.8).verdict == "met"
    assert Target("", 0.81, 0.8).verdict == "missed"


def test_figures_are_put_to_their_targets() -> None:
    """CPU goes by ratio to the bare proxy, latency by what is added to the tool's own, memory and start by medians."""
    new, replay, one, paced = ("new key", 16), ("replay", 16), ("new key", 1), ("paced", 0)
    figures = Figures(
        [
            Sample(Case("bare", *new), 0, 1, 1.0, 1.0, 1.0, server_cpu_us=100.0),
            Sample(Case("redis", *new), 0, 1, 1.0, 1.0, 1.0, server_cpu_us=70.0, store_calls={"claim": 1, "settle": 1}),
            Sample(Case("redis", *replay), 0, 1, 1.0, 1.0, 1.0, server_cpu_us=50.0, store_calls={}),
            Sample(Case("direct", *one), 0, 1, 1.0, 20.0, 1.0),
            Sample(Case("bare", *one), 0, 1, 1.0, 120.0, 1.0),
            Sample(Case("redis", *one), 0, 1, 1.0, 100.0, 1.0),
            Sample(Case("direct", *paced), 0, 1, 1.0, 20_000.0, 1.0),
            Sample(Case("redis", *paced), 0, 1, 1.0, 23_000.0, 1.0),
        ]
    )
    found = by_name(
        targets(figures, [Start("redis", 0.4, 50 << 20), Start("redis", 1.6, 52 << 20), Start("redis", 0.6, 51 << 20)])
    )
    assert (found["CPU per new key at 16, redis : bare aiohttp"].measured) == 0.7
    assert found["CPU per replay at 16, redis : bare aiohttp"].verdict == "missed"
    assert found["added p50 of a new key at 1, redis : bare aiohttp"].measured == 0.8
    assert found["added p50 with a tool of 20 ms, redis"].measured == 3.0
    assert found["store round trips per new key, redis"].verdict == "met"
    assert found["store round trips per replay, redis"].measured == 0.0
    assert found["store round trips per read, redis"].verdict == "not measured"
    assert found["cold start to ready, redis"].measured == 0.6
    assert found["resident when idle, redis"].measured == 51.0
    assert found["cold start to ready, sqlite"].verdict == "not measured"
