"""`holdfast evaluate`: turns replayed while things go wrong, against systems without Holdfast and with it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exits import Conflict, Exit, Unreachable

if TYPE_CHECKING:
    from evaluation.replay.plan import FaultsPlan
    from evaluation.replay.turns import Turn
    from evaluation.run.matrix import Matrix, Progress

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TURNS = 2_000
PACE = 4.5
"""At which the costliest variant takes some three quarters of two cores; the seed's 90 s take 20 then."""
PIPE_COLUMNS = 200
"""Of tables where stdout is no terminal: none is folded then."""

gated = click.option("--gate", type=FILE, help="What a variant has to show; Holdfast's own, if not given.")
shown = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Tables or JSON."
)


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them, each of which is known and comes once."""

    name = "names"

    def __init__(self, known: Callable[[], Sequence[str]]) -> None:
        self._known = known

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read them, or fail as click does."""
        if isinstance(value, tuple):
            return value
        names, known = tuple(value.split(",")), self._known()
        if len(set(names)) != len(names) or not set(names) <= set(known):
            self.fail(f"{value!r} is not a list of {', '.join(known)}, each once", param, ctx)
        return names


def _variants() -> list[str]:
    from evaluation.variants.table import VARIANTS

    return [variant.name for variant in VARIANTS]


def _environments() -> list[str]:
    from evaluation.run.environments import ENVIRONMENTS

    return list(ENVIRONMENTS)


@click.group(invoke_without_command=True)
@click.option(
    "--turns", type=click.IntRange(1), help=f"Of each variant, shared out over the environments.  [default: {TURNS}]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the turns, and of when processes go.")
@click.option("--variants", type=Names(_variants), default="A,B,C,D,E", show_default=True)
@click.option("--environments", type=Names(_environments), default="staging,pre-prod", show_default=True)
@click.option(
    "--pace", type=click.FloatRange(0, min_open=True), default=PACE, show_default=True,
    help="How much closer together turns come than their users say them: 12 a second, at 1.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default="evaluation-results", show_default=True,
    help="The folder for records and report.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with what --out holds, under the same plan.")
@click.option("--trace", type=FILE, help="Turns of yours, in JSON lines; see docs/evaluation.md.")
@click.option("--faults", type=FILE, help="What goes wrong, and how often; Holdfast's own, if not given.")
@gated
@shown
@click.pass_context
def evaluate(
    ctx: click.Context, turns: int | None, seed: int, variants: tuple[str, ...], environments: tuple[str, ...],
    pace: float, out: Path, resume: bool, trace: Path | None, faults: Path | None, gate: Path | None, output: str,
) -> None:  # fmt: skip
    """Replay user turns while things go wrong, and count what was done in the tools' own audit.

    A and B are an agent platform's coordinators without Holdfast, C is B with its tools behind the proxy, D has effect
    keys as well, E is Holdfast whole. Everything runs on this machine, on loopback, in processes that end with it; a
    redis-server is needed. What was cut off is gone on with: --resume. Ends with 1 if the gate says anything but ship.
    """
    if ctx.invoked_subcommand is not None:
        return
    from aiohttp import ClientError

    from evaluation.child import ChildDied
    from evaluation.run.matrix import Matrix, OtherPlan, enter, make_plan, shares_of

    plan_of_faults = _faults(faults)
    _gate(gate)
    try:
        shares = shares_of(_turns(trace, turns, seed), environments)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    plan = make_plan(shares, plan_of_faults, seed=seed, pace=pace, variants=variants, pair={"B", "C"} <= set(variants))
    try:
        enter(out, plan, shares, resume=resume)
        with _progress() as told:
            _run(Matrix(out, plan, shares, plan_of_faults, told))
    except OtherPlan as error:
        raise Conflict(str(error)) from None
    except (ChildDied, ClientError, OSError) as error:
        raise Unreachable(f"{error}\nGo on with --resume once that is mended.") from error
    _report(out, gate, output)


@evaluate.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@gated
@shown
def report(directory: Path, gate: Path | None, output: str) -> None:
    """Report on a replay's records anew, without replaying: tables, report.json and report.html.

    Ends with 1 if the gate says anything but ship.
    """
    _gate(gate)
    _report(directory, gate, output)


def _gate(path: Path | None) -> None:
    """Fail as click does for a gate that cannot be used, before hours are spent on what it is to decide. All that
    reports is imported, too: it may be replaced meanwhile."""
    from evaluation.report import reporting, text  # noqa: F401
    from evaluation.report.gate import BUILT_IN, read_gate
    from evaluation.scripts import BadScript

    try:
        read_gate(path or BUILT_IN)
    except BadScript as error:
        raise click.BadParameter(str(error), param_hint="--gate") from None


def _report(directory: Path, gate: Path | None, output: str) -> None:
    """Write the report beside the records, print it, and end with the gate's answer."""
    from evaluation.replay.lines import BadLine
    from evaluation.report.gate import BUILT_IN
    from evaluation.report.reporting import BadResults, findings_of, write
    from evaluation.report.text import show
    from evaluation.tools.audit import BadAudit

    try:
        findings = findings_of(directory, gate or BUILT_IN, lambda name: click.echo(f"reading {name}", err=True))
    except (BadResults, BadLine, BadAudit) as error:
        raise click.UsageError(str(error)) from None
    data, page = write(directory, findings)
    if output == "json":
        click.echo(data.read_text(), nl=False)
    else:
        from rich.console import Console

        show(Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS), findings)
    click.echo(f"the report is in {page} and {data}", err=True)
    sys.exit(Exit.OK if findings.passed else Exit.FINDINGS)


def _faults(path: Path | None) -> FaultsPlan:
    from evaluation.replay.plan import BUILT_IN, read_plan
    from evaluation.scripts import BadScript

    try:
        return read_plan(path or BUILT_IN)
    except BadScript as error:
        raise click.BadParameter(str(error), param_hint="--faults") from None


def _turns(trace: Path | None, turns: int | None, seed: int) -> list[Turn]:
    """Return what is replayed. Raises `ValueError` (`BadTrace`)."""
    from itertools import islice

    from evaluation.replay.trace import read_trace
    from evaluation.replay.workload import Shape, workload

    if trace is None:
        return workload(Shape(seed=seed), turns or TURNS)
    return list(islice(read_trace(trace), turns))


def _run(matrix: Matrix) -> None:
    """Run it until it is done or somebody has had enough; every process has ended then."""
    import uvloop

    async def until_told() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await matrix.run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_told())
    except asyncio.CancelledError:
        raise click.Abort from None


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show on stderr how far it is: a bar where that is a terminal, else a line for each variant."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def line(progress: Progress) -> None:
            if progress.name not in seen:
                seen.add(progress.name)
                click.echo(f"{progress.name} ({progress.over - 1} of {progress.of} turns are over)", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        bar = shown.add_task("starting", total=None)
        yield lambda told: shown.update(bar, description=told.name, completed=told.over, total=told.of)
