"""`holdfast demo`: the incident of the two tickets, replayed without Holdfast and with it."""

from __future__ import annotations

import asyncio
import signal
import sys

import click

from cli.exits import Exit, Unreachable


@click.command()
@click.option(
    "--speed", type=click.FloatRange(0.5, 50), default=5.0, show_default=True, help="How much faster than the incident."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def demo(speed: float, output: str) -> None:
    """Replay the incident of the two tickets, without Holdfast and with it.

    Starts a tool server and a proxy of its own on loopback, ends both, and leaves nothing behind. Exits with 1 if the
    tools' audits do not show two tickets without Holdfast and one with it.
    """
    import msgspec

    from evaluation import demo as story
    from evaluation import demo_report
    from evaluation.child import ChildDied

    async def until_told() -> story.Replay:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await story.replay(speed, lambda line: click.echo(line, err=True))

    try:
        found = asyncio.run(until_told())
    except asyncio.CancelledError:
        raise click.Abort from None
    except (ChildDied, TimeoutError) as error:
        raise Unreachable(str(error) or "the demo took far too long and was given up") from error
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        demo_report.show(demo_report.console(), found)
    sys.exit(Exit.OK if found.holds else Exit.FINDINGS)
