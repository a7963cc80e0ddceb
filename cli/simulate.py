"""`holdfast simulate`: the world around Holdfast, for trying it out and for tests: an Assistants-style API."""

from __future__ import annotations

import argparse
import asyncio
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


@simulate.command()
@click.option("--listen", type=ListenAt(), default="127.0.0.1:8200", show_default=True)
@click.option(
    "--script", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What goes wrong, and how often."
)
@click.option("--seed", type=int, help="Of what goes wrong; the script's own, if not given.")
@click.option("--webhook-url", metavar="URL", help="Who is told of each new status of a run.")
@click.option(
    "--webhook-secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What notifications are signed with.",
)
def assistants(
    listen: Address, script: Path | None, seed: int | None, webhook_url: str | None, webhook_secret_file: Path | None
) -> None:
    """Serve threads and runs as the Assistants API does, with a model that finds its tool calls in messages.

    A message like {"steps": [[{"tool": "create_ticket", "arguments": {"subject": "printer"}}]]} is a plan: a list of
    steps, each a list of tool calls. Any other message makes the script's plan, or one create_ticket.
    """
    from evaluation.assistants.script import BadScript, Script, read_script
    from evaluation.assistants.serving import serve

    if (webhook_url is None) != (webhook_secret_file is None):
        raise click.UsageError("--webhook-url and --webhook-secret-file go together")
    try:
        wanted = Script() if script is None else read_script(script)
    except BadScript as error:
        raise click.BadParameter(str(error), param_hint="--script") from None
    wanted = wanted if seed is None else replace(wanted, seed=seed)
    webhook = None
    if webhook_url is not None and webhook_secret_file is not None:
        webhook = (webhook_url, webhook_secret_file.read_text().strip())

    def started(bound: Address) -> None:
        click.echo(f"assistants simulator on {bound.url} (base URL for clients: {bound.url}/v1)", err=True)

    try:
        asyncio.run(serve(listen, wanted, webhook, started))
    except OSError as error:
        raise Conflict(str(error)) from None
