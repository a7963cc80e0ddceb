"""`python -m evaluation.bench.coordinator`: how soon a coordinator acts, what a turn costs, and whether runs ever wait.

Exits with 1 when something could not be measured, or with `--strict` when a target was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path

import aiohttp
import uvloop
from msgspec import Struct
from rich.console import Console

from evaluation.bench import turns
from evaluation.bench.coordinated import TOOL_S, Coordinated, coordinated
from evaluation.bench.environment import look_around
from evaluation.bench.figures import percentile
from evaluation.bench.metrics import read_store_calls, round_trips
from evaluation.bench.rendering import document, draw, preface
from evaluation.bench.report import NOT_MEASURED, Table
from evaluation.bench.systems import choose_cores, programs
from evaluation.bench.targets import Target
from evaluation.child import ChildDied
from evaluation.procfs import cpu_us

COLUMNS_PIPED = 140
STEPS = 4
THINK_S = 0.4
WITHIN_S = 120.0
STALL_S = 5.0
STALLS = "holdfast_requires_action_seconds"


class Effort(Struct, frozen=True):
    """How much is measured: turns one after another for delays, turns of one step for costs, runs at the same time."""

    paced: int = 12
    costed: int = 200
    at_once: int = 200


QUICK = Effort(3, 20, 20)


class Found(Struct, frozen=True):
    """What one stand showed: delays, and the coordinator's own histograms of the same."""

    delays: turns.Delays
    dispatch: dict[float, float]
    lag: dict[float, float]


class Costs(Struct, frozen=True):
    """Of one turn: round trips of the coordinator (all of them, and without what an idle process makes in that time)
    and of the proxy, CPU of both in microseconds."""

    trips: float
    own_trips: float
    proxy_trips: float
    cpu_us: float
    proxy_cpu_us: float


async def paced(now: Coordinated, count: int) -> Found:
    """Have turns made two at a time, and read how long their steps waited."""
    for number in range(count // 2 + count % 2):
        pair = min(2, count - 2 * number)
        await asyncio.gather(*(now.turn(STEPS, 1) for _ in range(pair)))
        await now.taken((2 * number + pair) * STEPS, WITHIN_S)
    told = await now.exposition()
    found = turns.delays(await now.submissions(), await now.effects(), THINK_S)
    return Found(
        found, turns.histogram(told, "holdfast_dispatch_seconds"), turns.histogram(told, "holdfast_submit_lag_seconds")
    )


async def costed(now: Coordinated, count: int, taken: int) -> Costs:
    """Have turns of one step and one call made, sixteen at a time, and read what they cost."""
    loop = asyncio.get_running_loop()
    quiet, quiet_at = _operations(await now.counted(WITHIN_S)), loop.time()
    before, before_at = _operations(await now.counted(WITHIN_S)), loop.time()
    idle_per_s = (before - quiet) / (before_at - quiet_at)
    asked, cpu, proxy_cpu = await _proxy_trips(now), cpu_us((now.pid,)), cpu_us((now.proxy_pid,))
    room = asyncio.Semaphore(16)

    async def one() -> None:
        async with room:
            await now.turn(1, 1)

    await asyncio.gather(*(one() for _ in range(count)))
    await now.taken(taken + count, WITHIN_S)
    after, after_at = _operations(await now.counted(WITHIN_S)), loop.time()
    trips = after - before
    proxy = round_trips(asked, await _proxy_trips(now), count)
    return Costs(
        trips / count, (trips - idle_per_s * (after_at - before_at)) / count, sum(proxy.values()),
        (cpu_us((now.pid,)) - cpu) / count, (cpu_us((now.proxy_pid,)) - proxy_cpu) / count,
    )  # fmt: skip


async def at_once(now: Coordinated, count: int, taken: int) -> dict[float, float]:
    """Have runs of three steps with two calls each go at the same time; return how long their steps waited."""
    before = turns.histogram(await now.exposition(), STALLS)
    await asyncio.gather(*(now.turn(3, 2) for _ in range(count)))
    await now.taken(taken + 3 * count, WITHIN_S)
    return turns.grown(before, turns.histogram(await now.counted(WITHIN_S), STALLS))


async def measure(effort: Effort, directory: Path) -> tuple[str, list[Table], list[Target]]:
    """Start everything twice, with notifications and without, and measure. Raises `ChildDied`, `TimeoutError`."""
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.other})
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async with coordinated(session, directory / "notified", cores, THINK_S, notified=True) as now:
            notified = await paced(now, effort.paced)
            so_far = effort.paced * STEPS
            costs = await costed(now, effort.costed, so_far)
            stalls = await at_once(now, effort.at_once, so_far + effort.costed)
        async with coordinated(session, directory / "polling", cores, THINK_S, notified=False) as now:
            polling = await paced(now, effort.paced)
    found = targets(notified, costs, stalls)
    return preface(look_around(cores, directory, programs())), tables(effort, notified, polling, costs, stalls), found


def targets(notified: Found, costs: Costs, stalls: dict[float, float]) -> list[Target]:
    """Put what was found to the targets."""
    submit = _median_ms(notified.delays.submit)
    dispatch_s = turns.median_bound(notified.dispatch)
    return [
        Target(
            "look that shows a step to its first call, median (bucket)",
            None if dispatch_s is None else dispatch_s * 1_000, 20, "ms",
        ),
        Target("last effect to the outputs' being taken, median", submit, 50, "ms"),
        Target("coordinator's store round trips per turn", costs.own_trips, 6.4),
        Target("steps that waited for longer than 5 s", turns.beyond(stalls, STALL_S), 0),
    ]  # fmt: skip


def tables(effort: Effort, notified: Found, polling: Found, costs: Costs, stalls: dict[float, float]) -> list[Table]:
    """Return what was found as tables."""
    rows = tuple(
        (
            name,
            *_spread(found.delays.dispatch),
            *_spread(found.delays.submit),
            _bound(found.dispatch),
            _bound(found.lag),
        )
        for name, found in (("notifications", notified), ("polling alone", polling))
    )
    columns = (
        "by", "ask to tool, p50 ms", "p95 ms", "effect to taken, p50 ms", "p95 ms", "look to call, p50 ≤ ms",
        "result to attempt, p50 ≤ ms",
    )  # fmt: skip
    waits = Table(
        "How soon it acts", columns, rows,
        f"{effort.paced} turns of {STEPS} steps, two at a time, a tool of {TOOL_S * 1_000:.0f} ms. *Ask to tool*: from "
        "the instant at which the API asks for a step to its call's coming to the tool, through the sidecar. *Effect "
        "to taken*: from the tool's effect to the API's taking the outputs. The last two are the coordinator's own "
        "histograms, by the bound of the median's bucket.",
    )  # fmt: skip
    spent = Table(
        "What a turn costs", ("", "coordinator", "proxy"),
        (
            ("store round trips", f"{costs.own_trips:.2f}", f"{costs.proxy_trips:.2f}"),
            ("with what an idle process asks", f"{costs.trips:.2f}", NOT_MEASURED),
            ("CPU ms", f"{costs.cpu_us / 1_000:.2f}", f"{costs.proxy_cpu_us / 1_000:.2f}"),
        ),
        f"{effort.costed} turns of one step with one call, each in a new thread, sixteen at a time; notified.",
    )  # fmt: skip
    held = Table(
        f"How long steps waited, {effort.at_once} runs at once", ("up to s", "steps"),
        tuple((f"{bound:g}", f"{count:.0f}") for bound, count in stalls.items() if count),
        "Three steps of two calls each on one replica; from its being seen first to its outputs' being taken.",
    )  # fmt: skip
    return [waits, spent, held]


def verdicts(found: list[Target]) -> Table:
    """Return the targets as a table."""
    rows = tuple(
        (one.name, NOT_MEASURED if one.measured is None else f"{one.measured:.2f}", f"{one.at_most:g}", one.unit,
         one.verdict)
        for one in found
    )  # fmt: skip
    return Table("Targets", ("what", "measured", "at most", "unit", ""), rows)


def _operations(exposition: str) -> float:
    return turns.value(exposition, "holdfast_coordinator_store_operations_total")


async def _proxy_trips(now: Coordinated) -> dict[str, float]:
    return await read_store_calls(now.session, now.proxy_health)


def _median_ms(values: tuple[float, ...]) -> float | None:
    return statistics.median(values) * 1_000 if values else None


def _spread(ordered: tuple[float, ...]) -> tuple[str, str]:
    if not ordered:
        return NOT_MEASURED, NOT_MEASURED
    low, high = (percentile(list(ordered), share) * 1_000 for share in (0.5, 0.95))
    return f"{low:.1f}", f"{high:.1f}"


def _bound(counts: dict[float, float]) -> str:
    bound = turns.median_bound(counts)
    return NOT_MEASURED if bound is None else f"{bound * 1_000:g}"


def main() -> int:
    """Run the bench and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.bench.coordinator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute, and as much less sure")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables for a document")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target was missed")
    parser.add_argument("--directory", type=Path, help="on the disk that the stores are to use")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=arguments.directory) as directory:
            effort = QUICK if arguments.quick else Effort()
            first, drawn, found = uvloop.run(measure(effort, Path(directory)))
    except (ChildDied, TimeoutError, aiohttp.ClientError) as error:
        sys.stderr.write(f"the bench gave up: {error!r}\n")
        return 1
    drawn.append(verdicts(found))
    draw(Console(width=None if sys.stdout.isatty() else COLUMNS_PIPED, highlight=False), first, drawn)
    if arguments.markdown:
        arguments.markdown.write_text(document(first, drawn))
    return int(arguments.strict and any(target.verdict == "missed" for target in found))


if __name__ == "__main__":
    sys.exit(main())
