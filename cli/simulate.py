"""`holdfast simulate`: the world around Holdfast, to try it and to test it: an Assistants-style API, and tools."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path

import click
from msgspec.structs import replace

from cli.exits import Conflict
from evaluation.address import Address, parse_address


class ListenAt(click.ParamType[Address]):
    """`HOST:PORT`; port 0 takes a free one."""

    name = "host:port"

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Read it, or fail as click does."""
        if isinstance(value, Address):
            return value
        try:
            return parse_address(value)
        except argparse.ArgumentTypeError as error:
            self.fail(str(error), param, ctx)


@click.group()
def simulate() -> None:
    """Simulate what Holdfast works with."""


scripted = click.option(
    "--script", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What goes wrong, and how often."
)
seeded = click.option("--seed", type=int, help="Of what goes wrong; the script's own, if not given.")


far_listen = click.option(
    "--far-listen", type=ListenAt(), help="Listen here too, for a region that is far away: see --far-delay."
)
far_delay = click.option(
    "--far-delay", type=click.FloatRange(0), default=0.03, show_default=True, metavar="SECONDS",
    help="How long each way takes to and from there.",
)  # fmt: skip


@simulate.command()
@click.option("--listen", type=ListenAt(), default="127.0.0.1:8200", show_default=True)
@scripted
@seeded
@click.option("--webhook-url", metavar="URL", multiple=True, help="Who is told of new statuses of runs; in turn.")
@click.option("--far-webhook-url", metavar="URL", multiple=True, help="Who is told, too, in a region far away.")
@click.option(
    "--webhook-secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What notifications are signed with.",
)
@far_listen
@far_delay
def assistants(
    listen: Address, script: Path | None, seed: int | None, webhook_url: tuple[str, ...],
    far_webhook_url: tuple[str, ...], webhook_secret_file: Path | None, far_listen: Address | None, far_delay: float,
) -> None:  # fmt: skip
    """Serve threads and runs as the Assistants API does, with a model that finds its tool calls in messages.

    A message like {"steps": [[{"tool": "create_ticket", "arguments": {"subject": "printer"}}]]} is a plan: a list of
    steps, each a list of tool calls. Any other message makes the script's plan, or one create_ticket.
    """
    from evaluation.assistants.script import Script, read_script
    from evaluation.assistants.serving import serve
    from evaluation.assistants.webhooks import Receiver
    from evaluation.scripts import BadScript
    from evaluation.serving import Far

    receivers = [Receiver(url) for url in webhook_url] + [Receiver(url, far_delay) for url in far_webhook_url]
    if (not receivers) != (webhook_secret_file is None):
        raise click.UsageError("--webhook-url and --webhook-secret-file go together")
    try:
        wanted = Script() if script is None else read_script(script)
    except BadScript as error:
        raise click.BadParameter(str(error), param_hint="--script") from None
    wanted = wanted if seed is None else replace(wanted, seed=seed)
    secret = "" if webhook_secret_file is None else webhook_secret_file.read_text().strip()
    far = None if far_listen is None else Far(far_listen, far_delay)

    def started(bound: Address) -> None:
        click.echo(f"assistants simulator on {bound.url} (base URL for clients: {bound.url}/v1)", err=True)

    _run(serve(listen, wanted, receivers, secret, started, far))


@simulate.command()
@click.option("--listen", type=ListenAt(), default="127.0.0.1:9000", show_default=True)
@scripted
@seeded
@click.option(
    "--audit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of effects, a JSON line each; one that is there already goes on. Without it they are in memory.",
)
@click.option(
    "--latency",
    type=click.FloatRange(0),
    multiple=True,
    metavar="SECONDS",
    help="Of every tool, whatever the script says; given again, of a request that comes again. The last one repeats.",
)
@far_listen
@far_delay
def tools(
    listen: Address, script: Path | None, seed: int | None, audit: Path | None, latency: tuple[float, ...],
    far_listen: Address | None, far_delay: float,
) -> None:  # fmt: skip
    """Serve tools that write down whatever they do, and misbehave by a script.

    POST /tools/NAME acts, for create_ticket, send_email and any other name, or reads, for search_kb and what the script
    says. GET /_tools/audit shows every effect, GET /_tools/counts what came to nothing.
    """
    from evaluation.scripts import BadScript
    from evaluation.serving import Far, serve
    from evaluation.tools.api import Api
    from evaluation.tools.audit import Audit, BadAudit
    from evaluation.tools.script import built_in, read_script

    try:
        wanted = built_in() if script is None else read_script(script)
    except BadScript as error:
        raise click.BadParameter(str(error), param_hint="--script") from None
    wanted = wanted if seed is None else replace(wanted, seed=seed)
    if latency:
        named = {name: replace(tool, latencies=latency) for name, tool in wanted.tools.items()}
        wanted = replace(wanted, tools=named)

    def started(bound: Address) -> None:
        click.echo(f"tools simulator on {bound.url}, its audit at {bound.url}/_tools/audit", err=True)

    try:
        truth = Audit(audit)
    except BadAudit as error:
        raise click.BadParameter(str(error), param_hint="--audit") from None
    except OSError as error:
        raise Conflict(str(error)) from None
    with contextlib.closing(truth):
        far = None if far_listen is None else Far(far_listen, far_delay)
        _run(serve(listen, Api(wanted, truth).application(), started, far))


def _run(serving: Coroutine[None, None, None]) -> None:
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving)
    except OSError as error:
        raise Conflict(str(error)) from None
