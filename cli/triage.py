"""`holdfast triage`: what an incident's logs say about calls that ran more than once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from cli.exits import Exit
from cli.output import Form, output_option
from cli.parameters import Duration


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="FILE…"
)
@click.option(
    "--window", type=Duration(), default="90s", show_default=True,
    help="The same effect under other ids within this is called one call.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=50, show_default=True,
    help="Findings that are told one by one; all are counted.",
)  # fmt: skip
@click.option(
    "--spill-gib", type=click.IntRange(1), default=8, show_default=True,
    help="Space that may be taken below TMPDIR while it works.",
)  # fmt: skip
@output_option
def triage(files: tuple[str, ...], window: int, limit: int, spill_gib: int, form: Form) -> None:
    """Say which calls ran more than once, by which mechanism, on what evidence, and what the logs lack to tell.

    Reads logs and audit lines of any mixture: key=value, JSON over one line or many, audit records, metric snapshots,
    Holdfast's own; gzip too, and - for stdin. What is no log line is skipped. Ends with 1 if a call ran more than once.
    """
    from evaluation.triage.accounting import account_of
    from evaluation.triage.report import report
    from evaluation.triage.spill import SpillFull

    if files.count("-") > 1:
        raise click.UsageError("stdin can be read once")
    try:
        with _progress(files) as advance:
            account = account_of(
                files, window_ms=window, findings_max=limit, spill_bytes_max=spill_gib * 1024**3, advance=advance
            )
    except SpillFull:
        raise click.UsageError(
            f"what these logs tell does not fit into {spill_gib} GiB: raise --spill-gib, or give its hours alone"
        ) from None
    except OSError as error:
        raise click.UsageError(str(error)) from None
    match form:
        case "table":
            for line in report(account):
                click.echo(line)
        case "json":
            click.echo(msgspec.json.format(msgspec.json.encode(account), indent=2))
        case "jsonl":
            for name, rows in msgspec.to_builtins(account).items():
                for row in rows if isinstance(rows, list | tuple) else [rows]:
                    click.echo(msgspec.json.encode({"is": name, **(row if isinstance(row, dict) else {"says": row})}))
    if account.counts.calls_run_twice:
        sys.exit(Exit.FINDINGS)


@contextlib.contextmanager
def _progress(files: tuple[str, ...]) -> Iterator[Callable[[int], None]]:
    """Show how much was read, on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    total = None if "-" in files else sum(Path(name).stat().st_size for name in files)
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("reading", total=total)
        yield lambda count: progress.advance(bar, count)
